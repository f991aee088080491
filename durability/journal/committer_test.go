package journal

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"sluice/durability"
)

// queue is an Input for tests: any goroutine pushes, the committer's goroutine takes.
type queue struct {
	mu       sync.Mutex
	changed  *sync.Cond
	events   [][]byte
	taken    int // returned by Next, not released
	released int
	closed   bool
	woken    bool
}

func newQueue() *queue {
	q := &queue{}
	q.changed = sync.NewCond(&q.mu)
	return q
}

func (q *queue) push(events ...[]byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.events = append(q.events, events...)
	q.changed.Broadcast()
}

func (q *queue) close() { q.mu.Lock(); q.closed = true; q.changed.Broadcast(); q.mu.Unlock() }
func (q *queue) wake()  { q.mu.Lock(); q.woken = true; q.changed.Broadcast(); q.mu.Unlock() }

func (q *queue) Next() ([]byte, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.taken == len(q.events) {
		return nil, false
	}
	q.taken++
	return q.events[q.taken-1], true
}

func (q *queue) Release() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range q.events[:q.taken] {
		clear(e) // the ring reuses the space, so the use of a kept slice is noticed
	}
	q.events = q.events[q.taken:]
	q.released += q.taken
	q.taken = 0
}

func (q *queue) Done() bool { q.mu.Lock(); defer q.mu.Unlock(); return q.closed && len(q.events) == 0 }

func (q *queue) wait() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.events) == 0 && !q.closed && !q.woken {
		q.changed.Wait()
	}
	q.woken = false
}

func payloads(from, to durability.Seq) (out [][]byte) {
	for seq := from; seq <= to; seq++ {
		out = append(out, payloadOf(seq))
	}
	return out
}

// orderedLog records the end of each write among the persisted positions reported.
type orderedLog struct {
	appendLog
	steps *[]string
}

func (o orderedLog) Save(st *raftpb.HardState, e []*raftpb.Entry) error {
	*o.steps = append(*o.steps, "write begins")
	err := o.appendLog.Save(st, e)
	*o.steps = append(*o.steps, "synced")
	return err
}

func TestPersistedMovesOnlyAfterSync(t *testing.T) {
	var steps []string
	var persisted durability.Seq
	dir := t.TempDir()
	o := testOptions(dir)
	o.BeforeSync = func() {
		log, err := Inspect(dir)
		if err != nil || log.Last != persisted {
			t.Errorf("before the sync of the next batch the disk holds event %v (%v), "+
				"persisted is %d", log, err, persisted)
		}
	}
	j, _, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	j.writer.log = orderedLog{j.writer.log, &steps}
	q := newQueue()
	q.push(payloads(1, 30)...)
	q.close()
	c := NewCommitter(CommitterOptions{Writer: j.Writer(), Input: q, Wait: q.wait, MaxBatchBytes: 2000,
		OnPersisted: func(seq durability.Seq) {
			steps = append(steps, "persisted")
			if log, err := Inspect(dir); err != nil || log.Last != seq {
				t.Errorf("%d reported as persisted, the disk has %v (%v)", seq, log, err)
			}
			if q.released != int(seq) {
				t.Errorf("%d events released when %d were persisted", q.released, seq)
			}
			persisted = seq
		}})
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	if persisted != 30 || len(steps) < 9 {
		t.Fatalf("persisted %d in %d steps", persisted, len(steps))
	}
	for cycle := range slices.Chunk(steps, 3) {
		if got := strings.Join(cycle, ", "); got != "write begins, synced, persisted" {
			t.Fatalf("order: %s", got)
		}
	}
	mustClose(t, j)
	j, r := mustOpen(t, dir)
	checkEvents(t, r.Events(), 1, 30)
	mustClose(t, j)
}

func TestEventsArrivingDuringASyncShareTheNextOne(t *testing.T) {
	held, release := make(chan bool), make(chan bool)
	o := testOptions(t.TempDir())
	o.BeforeSync = func() { held <- true; <-release }
	j, _, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	q := newQueue()
	persisted := make(chan durability.Seq, 10)
	c := NewCommitter(CommitterOptions{Writer: j.Writer(), Input: q, Wait: q.wait,
		OnPersisted: func(s durability.Seq) { persisted <- s }})
	done := make(chan error, 1)
	go func() { done <- c.Run() }()
	q.push(payloads(1, 1)...)
	<-held
	q.push(payloads(2, 500)...) // while the first sync runs
	if len(persisted) != 0 {
		t.Error("persisted moved while the sync was held back")
	}
	release <- true
	<-held
	q.close()
	release <- true
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if first, second := <-persisted, <-persisted; first != 1 || second != 500 || len(persisted) != 0 {
		t.Fatalf("persisted %d, %d and %d more; want 1, then 500 in one go", first, second,
			len(persisted))
	}
	mustClose(t, j)
}

func TestNothingIsPersistedAfterFailure(t *testing.T) {
	j, _ := mustOpen(t, t.TempDir())
	log := intercept(j)
	q := newQueue()
	q.push(payloads(1, 10)...)
	var persisted []durability.Seq
	c := NewCommitter(CommitterOptions{Writer: j.Writer(), Input: q, Wait: q.wait, MaxBatchBytes: 1,
		OnPersisted: func(s durability.Seq) {
			persisted = append(persisted, s)
			if s == 3 {
				log.save = func() error { return syscall.EIO }
			}
		}})
	err := c.Run()
	if !errors.Is(err, ErrPoisoned) || !errors.Is(err, syscall.EIO) {
		t.Fatalf("Run: %v", err)
	}
	if !slices.Equal(persisted, []durability.Seq{1, 2, 3}) || q.released != 3 {
		t.Fatalf("persisted %v, %d released; want 1 2 3 and the failed batch kept", persisted,
			q.released)
	}
	if again := c.Run(); again != err {
		t.Fatalf("second Run: %v", again)
	}
	mustClose(t, j)
}

// An event that the journal does not take ends the committer for good: what follows it would get its number.
func TestNothingIsPersistedAfterATooLargeEvent(t *testing.T) {
	j, _ := mustOpen(t, t.TempDir())
	q := newQueue()
	q.push([]byte("1"), make([]byte, MaxPayloadBytes+1), []byte("3"))
	q.close()
	c := NewCommitter(CommitterOptions{Writer: j.Writer(), Input: q, Wait: q.wait,
		OnPersisted: func(s durability.Seq) { t.Errorf("event %d is persisted", s) }})
	err := c.Run()
	if again := c.Run(); !errors.Is(err, ErrTooLarge) || again != err {
		t.Errorf("Run: %v; second Run: %v", err, again)
	}
	if q.released != 0 {
		t.Errorf("%d events were released", q.released)
	}
	mustClose(t, j)
}

func TestOfferedSnapshotWaitsForItsEvents(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, dir)
	q := newQueue()
	installed := make(chan durability.Seq, 4)
	persisted := make(chan durability.Seq, 100)
	c := NewCommitter(CommitterOptions{Writer: j.Writer(), Input: q, Wait: q.wait, Wake: q.wake,
		OnPersisted: func(s durability.Seq) { persisted <- s },
		OnSnapshot: func(s durability.Seq, err error) {
			if err != nil {
				t.Errorf("snapshot %d: %v", s, err)
			}
			installed <- s
		}})
	done := make(chan error, 1)
	ahead := takeSnapshot(t, j, 9)
	if err := c.Offer(takeSnapshot(t, j, 8)); err != nil { // replaced before it was taken
		t.Fatal(err)
	}
	if err := c.Offer(ahead); err != nil || !c.Offered() {
		t.Fatal(err, c.Offered())
	}
	q.push(payloads(1, 5)...)
	go func() { done <- c.Run() }()
	for seq := durability.Seq(0); seq < 5; {
		seq = <-persisted
	}
	if n, _ := listSnapshots(j.dir.snap()); len(n) != 0 || len(installed) != 0 {
		t.Fatalf("%v: installed before its events were on disk", n)
	}
	for c.Offered() { // until the committer has taken it
		runtime.Gosched()
	}
	if err := c.Offer(takeSnapshot(t, j, 10)); err != nil { // replaces the one that waits, which is no success
		t.Fatal(err)
	}
	q.push(payloads(6, 9)...)
	for seq := durability.Seq(5); seq < 9; {
		seq = <-persisted
	}
	if len(installed) != 0 {
		t.Fatalf("installed %d before its events were on disk", <-installed)
	}
	q.push(payloads(10, 10)...)
	if s := <-installed; s != 10 {
		t.Fatalf("installed %d", s)
	}
	q.push(payloads(11, 11)...)
	for seq := durability.Seq(9); seq < 11; {
		seq = <-persisted
	}
	if err := c.Offer(takeSnapshot(t, j, 11)); err != nil { // idle: the offer itself must wake the committer
		t.Fatal(err)
	}
	if s := <-installed; s != 11 {
		t.Fatalf("installed %d", s)
	}
	q.close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	mustClose(t, j)
	j, r := mustOpen(t, dir)
	checkRecovery(t, r, 11, 11)
	mustClose(t, j)
}

func TestNewCommitterRejectsInvalidOptions(t *testing.T) {
	j, _ := mustOpen(t, t.TempDir())
	defer mustClose(t, j)
	good := CommitterOptions{Writer: j.Writer(), Input: newQueue(), Wait: func() {},
		OnPersisted: func(durability.Seq) {}}
	missing, huge := good, good
	missing.Wait = nil
	huge.MaxBatchBytes = maxBatchLimit + 1
	for _, o := range []CommitterOptions{missing, huge} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("unusable options were accepted")
				}
			}()
			NewCommitter(o)
		}()
	}
}
