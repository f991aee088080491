package shard

import (
	"testing"
	"time"

	"sluice/telemetry"
	"sluice/transport"
)

// A client that subscribes to ever new topics, and unsubscribes, does not make the shard keep them all.
func TestDesertedTopicsAreBounded(t *testing.T) {
	e := &Shard{}
	e.cfg.Topics.Linger = time.Hour
	kept := e.topic(1, 0) // has a subscriber
	most, id := 0, uint64(1)
	for now := int64(1); now <= 40; now++ { // ticks
		for range sweepMany / 2 {
			id++
			e.topic(id, 0).deserted = now
		}
		e.sweepTopics(now)
		most = max(most, len(e.topics.list))
	}
	if most > lingerMost || most < lingerMost/2 {
		t.Errorf("%d topics at most of %d without a subscriber, want about %d", most, id, lingerMost)
	}
	if e.topics.byID[1] != kept || len(e.topics.byID) != len(e.topics.list) {
		t.Errorf("%d topics by number, %d in the list", len(e.topics.byID), len(e.topics.list))
	}
}

// Topics and feeds are many times what a tick looks at, and all of them are looked at.
func TestSweepReachesAllTopicsAndFeeds(t *testing.T) {
	slab, err := transport.NewSlab(1<<20, 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	e := &Shard{slab: slab, rec: telemetry.NewCollector(telemetry.NewClock()).Register("egress", 0)}
	const many = 2 * sweepBatch
	for id := range uint64(many) {
		e.topic(id+1, 0).deserted = 1
		f := &feed{place: len(e.topics.all)}
		e.topics.all = append(e.topics.all, f)
		if !e.growTape(&f.tape, tapeLeast) {
			t.Fatal("no room for a tape")
		}
	}
	e.cfg.Topics.Linger = time.Second
	for now := range int64(3 * many / sweepBatch) { // before the linger time is over
		e.sweepTopics(now + 1)
	}
	if left := len(e.topics.list); left != many || e.topics.held != 0 {
		t.Errorf("%d of %d topics are left, and %d bytes of idle tapes", left, many, e.topics.held)
	}
	for now := range int64(3 * many / sweepBatch) {
		e.sweepTopics(now + int64(time.Minute))
	}
	if left := len(e.topics.list); left != 0 {
		t.Errorf("%d of %d topics without a subscriber are left", left, many)
	}
}

// Feeds keep the newest frames of keys in a part of the shard's budget, however many feeds there are. A
// feed that finds no room has none of them, and gives up what it had.
func TestNewestFramesAreBounded(t *testing.T) {
	slab, err := transport.NewSlab(0, 4<<20)
	if err != nil {
		t.Fatal(err)
	}
	e := &Shard{slab: slab}
	const keys = 2000
	frame := make([]byte, 72)
	var all, without []*feed
	for range 10 {
		f := &feed{latest: map[latestKey]*latestFrame{}}
		all = append(all, f)
		for key := range uint64(keys) {
			e.keepLatest(f, 1, key, frame)
			e.keepLatest(f, 1, key/2, frame)
		}
		if _, ok := f.newest(0, keys*len(frame)); !ok {
			without = append(without, f)
		} else if len(f.latest) != keys {
			t.Errorf("a feed keeps %d keys of %d", len(f.latest), keys)
		}
		if int64(e.topics.latest) > slab.Budget()/4 {
			t.Fatalf("%d bytes of newest frames, with a budget of %d", e.topics.latest, slab.Budget())
		}
	}
	if len(without) != 8 || without[0].latest != nil {
		t.Errorf("%d of %d feeds are without newest frames, want 8", len(without), len(all))
	}
	for _, f := range all {
		e.dropLatest(f)
	}
	if e.topics.latest != 0 {
		t.Errorf("%d bytes are left", e.topics.latest)
	}
}

// A frame that is larger than the one before of its key counts with what it takes.
func TestNewestFramesThatGrowAreBounded(t *testing.T) {
	slab, err := transport.NewSlab(0, 4<<20)
	if err != nil {
		t.Fatal(err)
	}
	e := &Shard{slab: slab}
	small, grown := &feed{latest: map[latestKey]*latestFrame{}}, &feed{latest: map[latestKey]*latestFrame{}}
	e.keepLatest(small, 1, 1, make([]byte, 8))
	alone := e.topics.latest
	const keys = 1000
	for i, size := range []int{8, 400, 8, 800, 8} { // 800 finds no room
		for key := range uint64(keys) {
			e.keepLatest(grown, 1, key, make([]byte, size))
		}
		held := 0
		for _, l := range grown.latest {
			held += cap(l.bytes) + latestCost
		}
		if e.topics.latest != alone+held || int64(e.topics.latest) > slab.Budget()/4 {
			t.Errorf("after frames of %d bytes: %d bytes are counted, %d are held, of a quarter of %d", size,
				e.topics.latest, alone+held, slab.Budget())
		}
		if grown.many != (i >= 3) || (grown.latest == nil) != grown.many {
			t.Errorf("after frames of %d bytes: the feed keeps %d keys", size, len(grown.latest))
		}
	}
	if e.topics.latest != alone || len(small.latest) != 1 {
		t.Errorf("%d bytes are counted at the end, want those of another feed, %d", e.topics.latest, alone)
	}
}

// A topic that had no subscribers for a while begins again with frame 1. If its first new subscriber is gone
// when its join arrives, one that resumes must not get old frames with the numbers of new ones.
func TestJoinOfGoneConnectionRestartsHistory(t *testing.T) {
	rec := telemetry.NewCollector(telemetry.NewClock()).Register("egress", 0)
	slab, err := transport.NewSlab(64<<10, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	e := &Shard{rec: rec, slab: slab, cfg: Config{Topics: TopicConfig{HistoryBytes: 4 << 10}}}
	old := e.topic(7, 0)
	e.keep(&old.history, []byte("old frame"))
	old.seq = 1
	b := make([]byte, RecordBytes+SubscriptionBytes)
	r := RecordIn(b)
	r.Conn, r.Hash, r.Flags = 3, transport.Hash(3), KindSnapshotEnd<<RecordKind
	PutSubscription(b[RecordBytes:], 7, 0, ModeRecover)
	e.follow(7, 1)
	if old.history.Next() != old.history.First()+1 {
		t.Fatal("the history has no frame")
	}
	e.deliver(b, 1)
	if n := old.history.Next() - old.history.First(); n != 0 || old.seq != 0 {
		t.Errorf("%d frames of the earlier life are kept; the last number is %d", n, old.seq)
	}
}
