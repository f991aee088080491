package sequencer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"sluice/durability"
)

// marker is Snapshots that only notes the marks.
type marker struct {
	*Snapshots
	t     testing.TB
	marks []Mark // written while busy
}

func newMarker(t testing.TB) *marker {
	m := &marker{t: t}
	m.Snapshots = NewSnapshots(func(_ context.Context, at Mark) error {
		m.marks = append(m.marks, at)
		return nil
	}, func(err error) { t.Error(err) })
	t.Cleanup(func() { m.Close(); <-m.Done() })
	return m
}

// last waits until every mark is noted, and returns the newest one.
func (m *marker) last() (Mark, bool) {
	for !m.ready() {
		runtime.Gosched()
	}
	if len(m.marks) == 0 {
		return Mark{}, false
	}
	return m.marks[len(m.marks)-1], true
}

// copies makes the snapshot of each mark by turns from event 1 and from the snapshot before.
func (m *marker) copies(st *stage, empty func() Application[report, report],
	made func(at Mark, snapshot []byte)) {
	m.t.Helper()
	var before []byte
	var beforeAt Mark
	for i, at := range m.marks {
		from := recovered{events: st.events[:at.Seq]}
		if i%2 == 1 {
			from.snapshot, from.after = before, beforeAt.Seq
		}
		before, beforeAt = copyOf(m.t, empty(), from, at), at
		made(at, before)
	}
}

func copyOf(t testing.TB, app Application[report, report], from recovered, at Mark) []byte {
	t.Helper()
	write, err := Copy(t.Context(), app, scriptEncoder{}, from, nil, at)
	var b bytes.Buffer
	if err == nil {
		err = write(&b)
	}
	if err != nil {
		t.Fatalf("copy of event %d: %v", at.Seq, err)
	}
	return b.Bytes()
}

// ran is a run of ten events with a snapshot due after the eighth, or the ninth if one is a checkpoint.
func ran(t *testing.T, checkpoints uint64) (*stage, Mark) {
	snapshots := newMarker(t)
	st := newStage(t, 1<<12, func(c *Config[report, report]) {
		c.Snapshots, c.SnapshotEvents, c.CheckpointEvents = snapshots.Snapshots, 8, checkpoints
	})
	for st.seq.state.last < 10 {
		st.put(1, tagEvent, 1, 2)
		st.seq.Step(0)
		st.take()
		st.pass()
	}
	at, _ := snapshots.last()
	if at.Seq != 8 && at.Seq != 9 {
		t.Fatalf("a snapshot of event %d", at.Seq)
	}
	return st, at
}

// A copy whose outputs are not those of the run is no snapshot, whichever way that is noticed.
func TestCopyWithOtherOutputsIsRefused(t *testing.T) {
	for name, checkpoints := range map[string]uint64{"at its mark": 0, "at a checkpoint": 3} {
		t.Run(name, func(t *testing.T) {
			st, at := ran(t, checkpoints)
			from := recovered{events: st.events[:at.Seq]}
			copyOf(t, &script{}, from, at)
			for _, seq := range map[string][]uint64{"at its mark": {1, 8}, "at a checkpoint": {1}}[name] {
				write, err := Copy(t.Context(), &script{}, tampered{from: seq}, from, nil, at)
				if write != nil || !errors.Is(err, ErrDiverged) {
					t.Errorf("other outputs from event %d on: %v", seq, err)
				}
			}
		})
	}
	st, at := ran(t, 0)
	from := recovered{events: st.events[:at.Seq]}
	for what, bad := range map[string]Mark{"digest": {at.Seq, at.Digest + 1, at.Outputs},
		"number": {at.Seq, at.Digest, at.Outputs + 1}} {
		if _, err := Copy(t.Context(), &script{}, scriptEncoder{}, from, nil, bad); !errors.Is(err, ErrDiverged) {
			t.Errorf("another %s: %v", what, err)
		}
	}
}

// A journal that leads past the mark, or not to it, gives no copy.
func TestCopyLeadsToItsMark(t *testing.T) {
	st, at := ran(t, 0)
	for _, n := range []int{7, 9} {
		_, err := Copy(t.Context(), &script{}, scriptEncoder{}, recovered{events: st.events[:n]}, nil, at)
		if err == nil || !strings.Contains(err.Error(), "instead of 8") {
			t.Errorf("%d events: %v", n, err)
		}
	}
}

// Once its context has ended, a copy writes nothing more.
func TestCopyIsCancelledWhileItWrites(t *testing.T) {
	st, at := ran(t, 0)
	ctx, cancel := context.WithCancelCause(t.Context())
	write, err := Copy(ctx, &script{}, scriptEncoder{}, recovered{events: st.events[:8]}, nil, at)
	if err != nil {
		t.Fatal(err)
	}
	cause := errors.New("planted")
	cancel(cause)
	if err := write(io.Discard); !errors.Is(err, cause) {
		t.Errorf("error %v", err)
	}
}

// A snapshot that fails, panics or ends its goroutine is reported; the next one is made.
func TestFailedSnapshotsAreReported(t *testing.T) {
	var made atomic.Int64
	var failures []string
	s := NewSnapshots(func(_ context.Context, at Mark) error {
		switch at.Seq {
		case 1:
			return errors.New("planted error")
		case 2:
			panic("planted panic")
		case 3:
			runtime.Goexit()
		}
		made.Add(1)
		return nil
	}, func(err error) { failures = append(failures, err.Error()) })
	for seq := range durability.Seq(5) {
		s.begin(Mark{Seq: seq})
		for !s.ready() {
			runtime.Gosched()
		}
	}
	s.Close()
	s.Close()
	<-s.Done()
	want := []string{"of event 1: planted error", "of event 2: the copy of the application panicked: " +
		"planted panic", "of event 3: "}
	if made.Load() != 2 || !slices.EqualFunc(failures, want, strings.HasPrefix) {
		t.Errorf("%d made, failures %q", made.Load(), failures)
	}
}

// While a snapshot is being made, the sequencer goes on, and begins no other; what is due meanwhile is
// begun after it. Close ends it without a report.
func TestSequencerDoesNotWaitForSnapshot(t *testing.T) {
	begun, proceed := make(chan Mark), make(chan struct{})
	s := NewSnapshots(func(ctx context.Context, at Mark) error {
		begun <- at
		select {
		case <-proceed:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}, func(err error) { t.Error(err) })
	st := newStage(t, 1<<12, func(c *Config[report, report]) { c.Snapshots, c.SnapshotEvents = s, 2 })
	step := func(n int) {
		for range n {
			st.put(1, tagEvent, 1)
			st.seq.Step(0)
			st.take()
			st.pass()
		}
	}
	step(2)
	if at := <-begun; at.Seq != 2 {
		t.Errorf("snapshot of event %d", at.Seq)
	}
	step(9)
	proceed <- struct{}{}
	for !s.ready() {
		runtime.Gosched()
	}
	st.seq.Step(0)
	if at := <-begun; at.Seq != 11 {
		t.Errorf("snapshot of event %d, want that of the last one", at.Seq)
	}
	s.Close()
	<-s.Done()
}
