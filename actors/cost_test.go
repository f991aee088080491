package actors

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/actors/internal/run"
	"sluice/actors/internal/shard"
	"sluice/durability"
	"sluice/telemetry"
	"sluice/transport"
)

// The cost of telemetry, and of the assertions that are always on, is measured with two programs:
// these tests, and the same tests compiled from sources without that part (.ci/bench-without). Both
// run at once and take turns every few milliseconds, so that other load on the machine affects
// both; each counts the CPU time of its own thread. docs/telemetry.md describes the method.

// costBatches are the numbers of slots that each actor finds in a step.
var costBatches = [...]int{1, 4, 16, 64, 256}

const (
	costConns  = 64
	costSize   = 64   // bytes of a frame
	costSlots  = 4096 // slots that are published before the clock is started
	costTurn   = 1e6  // ns of CPU that a turn takes, about
	costBlocks = 5
	otherEnv   = "SLUICE_COST_WITHOUT" // path of the program without the part
	turnsEnv   = "SLUICE_COST_TURNS"   // of each case
	partEnv    = "SLUICE_COST_PART"    // name of the part
	childEnv   = "SLUICE_COST_CHILD"
)

// costRig is a pipeline whose actors find batch slots in each step, because gate and encoder take
// no more at a time. The runner's own round steps them, with its clock readings and counts.
type costRig struct {
	*bench
	peers []int32 // read outside the measured time; none on a null ring
	drain [16 << 10]byte
	ring  string
}

func newCostRig(t testing.TB, ring string, batch int) *costRig {
	r := &costRig{ring: ring}
	rules := telemetry.NewRules(1e-4, 10*time.Millisecond)
	cfg := Config{
		Policy: durability.Local(), Shards: 1, Placement: PlacementFused, Batch: batch,
		Sampler: telemetry.NewSampler(rules),
		Egress:  EgressConfig{FlushSlots: 1, DrainMax: batch}, // a flush for each batch, as if the inbox were empty
	}
	if ring == "null" {
		cfg.OpenRing = func(int, transport.RingConfig) (transport.Ring, error) {
			return &nullRing{entries: 256, pending: make([]transport.Completion, 0, 256)}, nil
		}
	}
	if os.Getenv(childEnv) != "" {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cursors := durability.NewCursors(0)
	p, err := newPipeline(cfg, tickEncoder{}, cursors)
	if err != nil {
		t.Fatal(err)
	}
	r.bench = &bench{Pipeline: p, cursors: cursors,
		actors: run.Members(p.runner.Groups()[0].Actors)}
	for id := uint64(1); id <= costConns; id++ {
		fd := int32(1)
		if ring != "null" {
			pair, err := unix.Socketpair(unix.AF_UNIX,
				unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
			if err != nil {
				t.Fatal(err)
			}
			fd = int32(pair[0])
			r.peers = append(r.peers, int32(pair[1]))
		}
		acked := false
		p.permit.Add(1)
		p.mail.events.TrySend(shard.Event{Kind: shard.EventConnect, Conn: id,
			Hash: transport.Hash(id), FD: fd, WriteOnly: true, Ack: func(err error) { acked = err == nil }})
		r.step()
		if !acked {
			t.Fatal("connect refused")
		}
	}
	return r
}

// turn processes n times costSlots slots and returns the CPU time of this thread, in ns for each
// slot.
func (r *costRig) turn(n int) float64 {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	live, spent := r.actors, int64(0)
	for i := range n + 1 {
		r.fill(costSlots, costConns, costSize)
		r.cursors.SetPersisted(durability.Seq(r.seq))
		now := r.Now()
		began := threadTime()
		for work := 1; work > 0; {
			live, work, now = r.runner.Round(live, now)
		}
		if i > 0 { // the first one warms the caches after the other program's turn
			spent += threadTime() - began
		}
		r.drainPeers()
	}
	if len(live) != len(r.actors) {
		panic("an actor ended")
	}
	return float64(spent) / float64(n*costSlots)
}

func (r *costRig) drainPeers() {
	for _, fd := range r.peers {
		for {
			if n, err := unix.Read(int(fd), r.drain[:]); n <= 0 || err != nil {
				break
			}
		}
	}
}

func threadTime() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		panic(err)
	}
	return ts.Nano()
}

// BenchmarkTelemetry is a step of the whole pipeline by number of slots, on a ring that costs
// nothing, with telemetry. TestCost has the comparison.
func BenchmarkTelemetry(b *testing.B) {
	for _, batch := range costBatches {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			r := newCostRig(b, "null", batch)
			r.turn(1)
			var sum float64
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				sum += r.turn(1)
				n++
			}
			b.ReportMetric(sum/float64(n), "cpu-ns/slot")
		})
	}
}

// The measured step must not allocate; otherwise the comparison would be one of garbage collectors.
func TestMeasuredStepDoesNotAllocate(t *testing.T) {
	for _, batch := range costBatches {
		r := newCostRig(t, "null", batch)
		r.turn(2)
		if n := testing.AllocsPerRun(5, func() { r.turn(1) }); n != 0 {
			t.Errorf("batch %d: %.1f allocations for %d slots", batch, n, 2*costSlots)
		}
		if got := r.total(telemetry.EgressFramesSent); got != r.seq && os.Getenv(childEnv) == "" {
			t.Errorf("batch %d: %d of %d slots were sent", batch, got, r.seq)
		}
	}
}

// TestCost compares; make bench-telemetry and make bench-assertions run it.
func TestCost(t *testing.T) {
	if os.Getenv(childEnv) != "" {
		costChild(t)
		return
	}
	other := os.Getenv(otherEnv)
	if other == "" {
		t.Skipf("%s does not name a program to compare with; make bench-telemetry and make bench-assertions do all that", otherEnv)
	}
	turns := 200
	if v := os.Getenv(turnsEnv); v != "" {
		if _, err := fmt.Sscan(v, &turns); err != nil || turns < costBlocks {
			t.Fatalf("%s is %q; write a number from %d up", turnsEnv, v, costBlocks)
		}
	}
	on, off := startCostChild(t, os.Args[0]), startCostChild(t, other)
	fmt.Printf("CPU time of a slot through gate, encoder and shard, %d turns each: first deciles of %d blocks, median (least-most)\n\n", turns, costBlocks)
	fmt.Println("| ring | batch | without, ns | with, ns | " + os.Getenv(partEnv) + ", ns | throughput with / without |")
	fmt.Println("|---|---|---|---|---|---|")
	for _, ring := range []string{"null", "real"} {
		for _, batch := range costBatches {
			compare(t, on, off, ring, batch, turns)
		}
	}
}

// compare lets the two programs take turns, alternating which one is first, and prints a line. A
// disturbance makes a turn longer and never shorter, so a block of turns counts as its first
// decile; the spread is that of the blocks.
func compare(t *testing.T, on, off *costProgram, ring string, batch, turns int) {
	n := max(1, int(costTurn/(costSlots*off.turn(t, ring, batch, 1))))
	with, without, diff, ratio := []float64{}, []float64{}, []float64{}, []float64{}
	for range costBlocks {
		a, b := make([]float64, turns/costBlocks), make([]float64, turns/costBlocks)
		for i := range a {
			if i%2 == 0 {
				a[i], b[i] = on.turn(t, ring, batch, n), off.turn(t, ring, batch, n)
			} else {
				b[i], a[i] = off.turn(t, ring, batch, n), on.turn(t, ring, batch, n)
			}
		}
		slices.Sort(a)
		slices.Sort(b)
		x, y := a[len(a)/10], b[len(b)/10]
		with, without, diff, ratio = append(with, x), append(without, y), append(diff,
			x-y), append(ratio, y/x)
	}
	show := func(v []float64, digits int) string {
		slices.Sort(v)
		return fmt.Sprintf("%.*f (%.*f-%.*f)", digits, v[len(v)/2], digits, v[0], digits,
			v[len(v)-1])
	}
	fmt.Printf("| %s | %d | %s | %s | %s | %s |\n", ring, batch, show(without, 1), show(with, 1),
		show(diff, 1), show(ratio, 3))
}

// costProgram is one of the two programs.
type costProgram struct {
	in  io.Writer
	out *bufio.Reader
}

func startCostChild(t *testing.T, path string) *costProgram {
	cmd := exec.Command(path, "-test.run=^TestCost$", "-test.timeout=1h")
	cmd.Env = append(os.Environ(), childEnv+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	return &costProgram{in, bufio.NewReader(out)}
}

func (p *costProgram) turn(t *testing.T, ring string, batch, n int) (ns float64) {
	t.Helper()
	fmt.Fprintln(p.in, ring, batch, n)
	line, err := p.out.ReadString('\n')
	if err == nil {
		_, err = fmt.Sscan(line, &ns)
	}
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return ns
}

// costChild takes a turn for each line of its input.
func costChild(t *testing.T) {
	rigs := map[string]*costRig{}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var ring string
		var batch, n int
		if _, err := fmt.Sscan(lines.Text(), &ring, &batch, &n); err != nil {
			t.Fatal(err)
		}
		key := fmt.Sprint(ring, batch)
		if rigs[key] == nil {
			rigs[key] = newCostRig(t, ring, batch)
			rigs[key].turn(1)
		}
		fmt.Println(strings.TrimSpace(fmt.Sprintf("%.4f", rigs[key].turn(n))))
	}
}
