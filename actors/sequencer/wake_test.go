package sequencer

import (
	"testing"

	"sluice/durability"
	"sluice/durability/journal"
	"sluice/mailbox"
)

// wakes counts the wake-ups of a goroutine. They come from several goroutines, one after the other.
type wakes int

func (w *wakes) Wake() { *w++ }

// A durable round trip wakes the sequencer once, for the request. What the committer and the
// pipeline release wakes it only if it waits for room.
func TestDurableRoundTripWakesSequencerOnce(t *testing.T) {
	var woken wakes
	signal := mailbox.NewSignal(&woken)
	st := newStage(t, 4, func(c *Config[report, report]) { c.Signal = signal })
	expect := func(n wakes, after string) {
		t.Helper()
		if woken != n {
			t.Fatalf("%d wake-ups after %s, want %d", woken, after, n)
		}
	}
	sleep := func() {
		t.Helper()
		signal.Prepare()
		if st.seq.Step(1) != 0 {
			t.Fatal("the sequencer has work")
		}
	}
	waits, commits, persisted := st.journal()
	<-waits
	st.seq.Step(1) // the checkpoint of the start
	commits <- struct{}{}
	<-waits
	for trip := range wakes(20) {
		sleep()
		st.put(1, tagEvent, 1)
		expect(trip+1, "a request")
		if st.seq.Step(1) == 0 {
			t.Fatal("the sequencer did nothing")
		}
		sleep()
		commits <- struct{}{}
		<-waits
		if last := st.seq.Sequenced(); *persisted != last {
			t.Fatalf("%d events are persisted, want %d", *persisted, last)
		}
		expect(trip+1, "the journal's release")
		for b := st.slots.Batch(4); len(b) > 0; b = st.slots.Batch(4) {
			st.slots.Release(len(b))
		}
		expect(trip+1, "the pipeline's release")
	}

	for range 5 { // one more than the slots
		st.put(1, tagEvent, 1)
	}
	for st.seq.Step(1) > 0 {
	}
	woken = 0
	sleep()
	st.slots.Batch(1)
	st.slots.Release(1)
	expect(1, "the pipeline's release of room that is awaited")
}

// journal runs the committer of a real journal. It sends before each wait, which ends with a value of
// commits, and keeps the last event on disk in persisted, to be read while it waits.
func (st *stage) journal() (waits, commits chan struct{}, persisted *durability.Seq) {
	st.t.Helper()
	waits, commits, persisted = make(chan struct{}), make(chan struct{}), new(durability.Seq)
	j, _, err := journal.Open(journal.Options{Dir: st.t.TempDir(), SegmentBytes: journal.MinSegmentBytes})
	if err != nil {
		st.t.Fatal(err)
	}
	over, ended := make(chan struct{}), make(chan error, 1)
	c := journal.NewCommitter(journal.CommitterOptions{
		Writer: j.Writer(), Input: st.log,
		Wait: func() {
			select {
			case waits <- struct{}{}:
			case <-over:
				return
			}
			select {
			case <-commits:
			case <-over:
			}
		},
		OnPersisted: func(last durability.Seq) { *persisted = last },
	})
	go func() { ended <- c.Run() }()
	st.t.Cleanup(func() {
		st.queue.Close()
		st.seq.Stop()
		_ = st.seq.Close() // the committer's input ends
		close(over)
		if err := <-ended; err != nil {
			st.t.Error(err)
		}
		if err := j.Close(); err != nil {
			st.t.Error(err)
		}
	})
	return waits, commits, persisted
}
