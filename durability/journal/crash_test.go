package journal

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"

	"sluice/durability"
)

// crashEnv makes the test binary run as the server that is killed.
const crashEnv = "SLUICE_JOURNAL_CRASH_DIR"

// chain is an application whose state depends on every event in order: a missing or an extra event
// changes it.
func chain(state uint64, payload []byte) uint64 {
	return state*1099511628211 + uint64(checksum(payload)) + 1
}

// recoverChain restores the snapshot and replays the events.
func recoverChain(r *Recovery) (state uint64, err error) {
	err = r.Restore(func(in io.Reader) error { return binary.Read(in, binary.LittleEndian, &state) })
	if err != nil {
		return 0, err
	}
	for e, err := range r.Events() {
		if err != nil {
			return 0, err
		}
		state = chain(state, e.Payload)
	}
	return state, nil
}

// TestCrashChild is the server: it commits batches until it is killed, takes snapshots at
// intervals, and prints every event number that Commit returned.
func TestCrashChild(t *testing.T) {
	dir := os.Getenv(crashEnv)
	if dir == "" {
		t.Skip("runs only as the child of TestKillLosesNoAcknowledgedEvent")
	}
	j, r, err := Open(testOptions(dir))
	if err != nil {
		fmt.Println("error:", hex.EncodeToString([]byte(err.Error())))
		return
	}
	state, err := recoverChain(r)
	if err != nil {
		fmt.Println("error:", hex.EncodeToString([]byte(err.Error())))
		return
	}
	fmt.Println("acknowledged", r.Last, r.Incarnation)
	w := j.Writer()
	for round := 1; ; round++ {
		for range 1 + round%5 {
			p := payloadOf(w.Persisted() + durability.Seq(w.count) + 1)
			if _, err := w.Append(p); err != nil {
				panic(err)
			}
			state = chain(state, p)
		}
		last, err := w.Commit()
		if err != nil {
			panic(err)
		}
		fmt.Println("acknowledged", last, r.Incarnation)
		if round%20 == 0 {
			s, err := j.PrepareSnapshot(last,
				func(out io.Writer) error { return binary.Write(out, binary.LittleEndian, state) })
			if err == nil {
				err = w.Install(s)
			}
			if err != nil {
				panic(err)
			}
		}
	}
}

func TestKillLosesNoAcknowledgedEvent(t *testing.T) {
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(5, 5))
	var acknowledged durability.Seq
	cycles := 20
	if testing.Short() {
		cycles = 3
	}
	for cycle := 1; cycle <= cycles; cycle++ {
		last := runAndKill(t, dir, 1+rng.IntN(120), uint64(2*cycle-1))
		if last < acknowledged {
			t.Fatalf("cycle %d: began at event %d, acknowledged was %d", cycle, last, acknowledged)
		}
		acknowledged = last
		j, r := mustOpen(t, dir)
		if r.Last < acknowledged {
			t.Fatalf("cycle %d: recovered up to event %d, acknowledged was %d", cycle, r.Last,
				acknowledged)
		}
		got, err := recoverChain(r)
		if err != nil {
			t.Fatal(err)
		}
		want := uint64(0)
		for seq := durability.Seq(1); seq <= r.Last; seq++ {
			want = chain(want, payloadOf(seq))
		}
		if got != want {
			t.Fatalf("cycle %d: state after %d events (snapshot %d) is wrong", cycle, r.Last,
				r.SnapshotSeq)
		}
		acknowledged = r.Last
		mustClose(t, j)
	}
	t.Logf("%d kills, %d events", cycles, acknowledged)
}

// runAndKill starts the server, reads that many acknowledgements, kills it and returns the last one
// it printed.
func runAndKill(t *testing.T, dir string, acknowledgements int,
	incarnation uint64) (last durability.Seq) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestCrashChild$")
	child.Env = append(os.Environ(), crashEnv+"="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = child.Process.Kill() // a second time, if the test failed in between
		_ = child.Wait()
	}()
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		var seq, from uint64
		if _, err := fmt.Sscanf(lines.Text(), "acknowledged %d %d", &seq, &from); err != nil {
			if n <= acknowledgements {
				t.Fatalf("child says %q", lines.Text())
			}
			break // the line that the kill truncated
		}
		if from != incarnation {
			t.Fatalf("incarnation %d, want %d", from, incarnation)
		}
		last = durability.Seq(seq)
		if n == acknowledgements {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = child.Wait() // "signal: killed" is expected
	return last
}
