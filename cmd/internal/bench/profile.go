package bench

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sluice/cmd/internal/config"
	"sluice/transport"
)

// section is a table of a profile. Its flags make the same table with `sluice bench`.
type section struct {
	name  string
	flags string
}

// plan returns the plan of the flags.
func (s *section) plan() (*Plan, error) {
	plan := DefaultPlan()
	_, err := config.NewSet("", plan.settings()...).Load(strings.Fields(s.flags), nil)
	return &plan, err
}

func profile(name string) ([]section, error) {
	switch name {
	case "quick":
		return []section{
			{"whole", "--rate 20000,0 --io uring --runs 3 --seconds 1s --warm 300ms"},
			{"stalled",
				"--connections 100 --stalled 0,10 --peer sluice --io uring --runs 3 --seconds 1s --warm 300ms"},
		}, nil
	case "full":
		const short, long = " --runs 3 --seconds 1s --warm 300ms", " --runs 5 --seconds 1s --warm 300ms"
		return []section{
			{"limit",
				"--peer sluice,bare --io uring --shards 1,2 --connections 256 --pick turn " +
					"--burst 256 --rate 20000" + long},
			{"limit8",
				"--peer sluice,bare8 --io uring --shards 1,2 --connections 256 --pick turn " +
					"--burst 2048 --repeat 8 --rate 100000" + long},
			{"goroutines",
				"--connections 1000 --rate 100000 --io uring --shards 1,2 --runs 5 --seconds 2s --warm 500ms"},
			{"peers", "--peer sluice,goroutines,single,netpoll,gnet,classic --connections " +
				"1,64,1000 --rate 100000,0 --io uring --shards 1,2" + short},
			{"throughput",
				"--connections 256 --rate 0 --peer sluice --io uring --shards 1,2 --runs 5 " +
					"--seconds 2s --warm 500ms"},
			{"pair",
				"--peer sluice,raw --connections 1 --rate 1000 --io uring --shards 1,2 --runs 5 " +
					"--seconds 2s --warm 500ms"},
			{"stalled", "--peer sluice --connections 200 --rate 50000 --stalled 0,1,10 --io " +
				"uring,poll --hiccups --runs 10 --seconds 1s --warm 300ms"},
			{"shards",
				"--peer sluice --connections 256 --rate 100000 --shards 1,2,4 --io uring" + long},
			{"many",
				"--peer sluice --connections 10000 --pick turn --rate 100000 --io uring --runs 3 " +
					"--seconds 3s --warm 1s"},
			{"durable", "--durable --io uring" + long},
			{"latency",
				"--peer sluice,goroutines,single --rate 1000,20000,100000,300000 --io uring " +
					"--shards 1,2" + short},
			{"unix", "--net unix --rate 20000,0 --io uring,poll" + short},
			{"placement",
				"--peer sluice --rate 20000,0 --io uring --placement fused,front,spread" + short},
			{"policy", "--peer sluice --policy local,hybrid --lag 0s,1ms --io uring" + short},
			{"churn", "--churn 0,200 --io uring" + short},
		}, nil
	}
	switch name {
	case "topics":
		return topicSections(), nil
	case tlsNet:
		return tlsSections(), nil
	}
	return nil, config.Usagef("--profile is %q; use quick, full, topics or tls", name)
}

// chosen returns the sections with the given names, or all of them without names.
func chosen(sections []section, names []string) (some []section, err error) {
	known := []string{}
	for _, s := range sections {
		known = append(known, s.name)
		if len(names) == 0 || slices.Contains(names, s.name) {
			some = append(some, s)
		}
	}
	if len(names) > 0 {
		err = words("section", names, known...)
	}
	return some, err
}

// without removes engines and peers from the plan that are not available, and returns a note about
// it. It reports false if nothing is left to compare.
func (p *Plan) without(r *Runner) (note string, ok bool) {
	ring, diagnosis, err := transport.Open(transport.ModeUring,
		transport.RingConfig{Entries: 8, Wake: func() {}})
	if err == nil {
		_ = ring.Close() // opened only to check
	} else {
		p.IO, note = []string{"poll"}, fmt.Sprintf("Without io_uring: %s\n\n", diagnosis.Text)
	}
	var some []string
	for _, name := range p.Peer {
		_, missing := r.serverCommand(&Spec{Server: name})
		switch {
		case err != nil && slices.Contains([]string{"bare", "bare8", "classic", "tape"}, name):
			note += fmt.Sprintf("Without %s, which needs io_uring.\n\n", name)
		case missing != nil:
			note += fmt.Sprintf("Without %s: the program with the peers is missing; `make peers` "+
				"builds it.\n\n", name)
		default:
			some = append(some, name)
		}
	}
	alone := len(some) < len(p.Peer) && len(some) < 2
	p.Peer = some
	return note, !alone
}

// commandLine returns the command that makes a table.
func commandLine(args []string) string {
	return "    sluice bench " + strings.Join(args, " ")
}

// describe describes the machine.
func describe() string {
	var name unix.Utsname
	kernel := "unknown"
	if unix.Uname(&name) == nil {
		kernel = unix.ByteSliceToString(name.Release[:])
	}
	model := "unknown processor"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, ok := strings.Cut(string(text), "model name"); ok {
			line, _, _ := strings.Cut(rest, "\n")
			model = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), ":"))
		}
	}
	load := "unknown"
	if text, err := os.ReadFile("/proc/loadavg"); err == nil && len(strings.Fields(string(text))) > 2 {
		load = strings.Join(strings.Fields(string(text))[:3], " ")
	}
	return fmt.Sprintf("%s, %d cores visible; Linux %s; %s, GOMAXPROCS %d in each process; %s; "+
		"load average before: %s.",
		model, runtime.NumCPU(), kernel, runtime.Version(), runtime.GOMAXPROCS(0), time.Now().UTC().Format("2006-01-02 15:04 UTC"), load)
}
