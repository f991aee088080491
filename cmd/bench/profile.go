package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sluice/cmd/config"
	"sluice/transport"
)

// section is a table of a profile; its flags are what `sluice bench` takes to make it alone.
type section struct {
	name  string
	flags string
}

// plan is what the flags say.
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
			{"stalled", "--connections 100 --stalled 0,10 --peer sluice --io uring --runs 3 --seconds 1s --warm 300ms"},
		}, nil
	case "full":
		return []section{
			{"latency", "--rate 1000,20000,100000 --io uring,poll --runs 5 --seconds 2s --warm 500ms"},
			{"connections", "--connections 1,1000 --io uring,poll --runs 5 --seconds 2s --warm 500ms"},
			{"full-speed", "--connections 1,64,1000 --rate 0 --io uring,poll --runs 5 --seconds 2s --warm 500ms"},
			{"unix", "--net unix --rate 20000,0 --io uring,poll --runs 5 --seconds 2s --warm 500ms"},
			{"placement", "--peer sluice --rate 20000,0 --io uring --placement fused,front,spread --batch 1024,16384 --runs 3 --seconds 2s --warm 500ms"},
			{"stalled", "--connections 100 --stalled 0,1,10 --io uring,poll --runs 5 --seconds 2s --warm 500ms"},
		}, nil
	}
	return nil, config.Usagef("--profile is %q; use quick or full", name)
}

// chosen are the sections with the names, or all of them without names.
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

// runProfile makes the tables of a profile, and puts them where they belong.
func (o *options) runProfile(ctx context.Context, p Process) error {
	sections, err := profile(o.profile)
	if err != nil {
		return err
	}
	if o.json || o.markdown {
		return config.Usagef("--profile writes Markdown; for JSON give the flags of one section: %s", sections[0].flags)
	}
	if sections, err = chosen(sections, o.section); err != nil {
		return err
	}
	var broken []error
	if err := o.put(p, "environment", describe()+"\n"); err != nil {
		return err
	}
	if o.micro != "" {
		text, err := os.ReadFile(o.micro)
		if err != nil {
			return fmt.Errorf("bench: output of the micro benchmarks: %w", err)
		}
		if err := o.put(p, "micro", "```\n"+strings.TrimSpace(string(text))+"\n```\n"); err != nil {
			return err
		}
	}
	for _, s := range sections {
		plan, err := s.plan()
		if err != nil {
			return err
		}
		note := plan.withoutMissingEngine()
		specs, err := plan.Specs()
		if err != nil {
			return err
		}
		rows, err := (&Runner{Command: p.Command, Peers: o.Peers, Receivers: plan.Receivers, Stderr: p.Stderr}).Rounds(ctx, specs, plan.Runs, p.Stderr)
		if err != nil {
			return err
		}
		text := &strings.Builder{}
		fmt.Fprintf(text, "%s\n\n%s", commandLine(strings.Fields(s.flags)), note)
		writeTable(text, rows)
		if err := o.put(p, s.name, text.String()); err != nil {
			return err
		}
		broken = append(broken, verdict(rows))
	}
	return errors.Join(broken...)
}

// put writes a section: into its place in the file, or to the standard output.
func (o *options) put(p Process, name, text string) error {
	if o.into == "" {
		_, err := fmt.Fprintf(p.Stdout, "## %s\n\n%s\n", name, text)
		return err
	}
	page, err := os.ReadFile(o.into)
	if err != nil {
		return fmt.Errorf("bench: page for the results: %w", err)
	}
	replaced, err := replaceSection(string(page), name, text)
	if err != nil {
		return fmt.Errorf("bench: %s: %w", o.into, err)
	}
	if err := os.WriteFile(o.into, []byte(replaced), 0o644); err != nil {
		return fmt.Errorf("bench: page for the results: %w", err)
	}
	return nil
}

// replaceSection puts text between the markers of the section.
func replaceSection(page, name, text string) (string, error) {
	first, last := "<!-- begin "+name+" -->\n", "<!-- end "+name+" -->"
	head, rest, ok := strings.Cut(page, first)
	_, tail, ok2 := strings.Cut(rest, last)
	if !ok || !ok2 {
		return "", fmt.Errorf("no lines %q and %q; add them where the section %s belongs", strings.TrimSpace(first), last, name)
	}
	return head + first + strings.TrimRight(text, "\n") + "\n" + last + tail, nil
}

// withoutMissingEngine takes io_uring off the list where it is not to be had, and says why.
func (p *Plan) withoutMissingEngine() (note string) {
	ring, diagnosis, err := transport.Open(transport.ModeUring, transport.RingConfig{Entries: 8, Wake: func() {}})
	if err == nil {
		_ = ring.Close() // it was only to see
		return ""
	}
	p.IO = []string{"poll"}
	return fmt.Sprintf("Without io_uring: %s\n\n", diagnosis.Text)
}

// commandLine is the command that makes a table.
func commandLine(args []string) string {
	return "    sluice bench " + strings.Join(args, " ")
}

// describe names the machine.
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
	return fmt.Sprintf("%s, %d cores visible; Linux %s; %s, GOMAXPROCS %d in each process; %s; load average before: %s.",
		model, runtime.NumCPU(), kernel, runtime.Version(), runtime.GOMAXPROCS(0), time.Now().UTC().Format("2006-01-02 15:04 UTC"), load)
}
