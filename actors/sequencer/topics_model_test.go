package sequencer

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"sluice/actors"
)

// audience is a model of shards and clients: it follows the slots and checks what each subscriber sees.
type audience struct {
	t     testing.TB
	d     *desk
	subs  map[[2]uint64]*seen  // by connection and topic
	last  map[uint64]frame     // by topic: its last frame
	epoch map[uint64]uint64    // by topic
	lacks map[[2]uint64]uint64 // by topic and shard: the last frame that was not for that shard
	open  *seen                // whose snapshot is under way
	gone  map[uint64]bool      // connections that the shards have closed
	stats struct{ begun, resumed, left, refused, frames, resynced int }
}

// seen is what a client knows of a topic.
type seen struct {
	conn, topic, seq, value uint64
	mode                    actors.Mode
	follows                 bool
}

type frame struct{ seq, value uint64 }

func newAudience(d *desk) *audience {
	return &audience{t: d.t, d: d, subs: map[[2]uint64]*seen{}, last: map[uint64]frame{},
		epoch: map[uint64]uint64{}, lacks: map[[2]uint64]uint64{}, gone: map[uint64]bool{}}
}

func (a *audience) hear(slots []actors.Slot[report, report]) {
	a.t.Helper()
	for i := range slots {
		a.slot(&slots[i])
	}
}

func (a *audience) slot(s *actors.Slot[report, report]) {
	a.t.Helper()
	at := addressOf(s)
	if a.open != nil && s.Kind != actors.KindQuery && s.Kind != actors.KindReport && s.Kind != actors.KindSnapshotEnd {
		a.t.Fatalf("a slot of kind %d within a snapshot", s.Kind)
	}
	switch s.Kind {
	case actors.KindQuery:
		if a.open == nil || s.Conn != a.open.conn {
			a.t.Fatalf("an answer to %d outside of a snapshot", s.Conn)
		}
	case actors.KindReport:
		if a.open != nil {
			a.open.value = s.Report.N
		}
	case actors.KindEngineError:
		a.stats.refused++
	case actors.KindTopic:
		a.frame(at, s.Report.N)
	case actors.KindSnapshotBegin, actors.KindSnapshotEnd:
		a.snapshot(s, at)
	case actors.KindResume:
		a.stats.resumed++
		a.resume(at)
	case actors.KindLeave:
		a.stats.left++
		delete(a.subs, [2]uint64{at.conn, at.topic})
	}
}

// frame checks a topic frame against all that follow the topic.
func (a *audience) frame(at address, value uint64) {
	a.t.Helper()
	a.stats.frames++
	last := a.last[at.topic]
	if at.seq != last.seq+1 && at.seq != 1 {
		a.t.Fatalf("topic %d: frame %d follows frame %d", at.topic, at.seq, last.seq)
	}
	a.last[at.topic] = frame{at.seq, value}
	for shard := range uint64(len(a.d.reports)) {
		if at.shards>>shard&1 == 0 {
			a.lacks[[2]uint64{at.topic, shard}] = at.seq
		}
	}
	for _, s := range a.subs {
		if s.topic != at.topic || !s.follows {
			continue
		}
		if at.shards>>actors.ShardOf(s.conn, len(a.d.reports))&1 == 0 {
			a.t.Fatalf("topic %d: frame %d is not for the shard of subscriber %d", at.topic, at.seq, s.conn)
		}
		if at.seq != s.seq+1 || value != s.value+1 {
			a.t.Fatalf("topic %d: subscriber %d gets frame %d with value %d after frame %d with %d", at.topic,
				s.conn, at.seq, value, s.seq, s.value)
		}
		s.seq, s.value = at.seq, value
	}
}

func (a *audience) snapshot(s *actors.Slot[report, report], at address) {
	a.t.Helper()
	if s.Kind == actors.KindSnapshotBegin {
		if at.epoch == 0 || a.epoch[at.topic] != at.epoch && at.seq != 0 {
			a.t.Fatalf("topic %d begins at frame %d of epoch %d; its epoch was %d", at.topic, at.seq, at.epoch,
				a.epoch[at.topic])
		}
		if a.epoch[at.topic] != at.epoch {
			a.epoch[at.topic], a.last[at.topic] = at.epoch, frame{}
			for shard := range uint64(len(a.d.reports)) {
				delete(a.lacks, [2]uint64{at.topic, shard})
			}
		}
		a.open = &seen{conn: at.conn, topic: at.topic, seq: at.seq}
		return
	}
	if a.open.conn != at.conn || a.open.topic != at.topic || a.open.seq != at.seq {
		a.t.Fatalf("snapshot of topic %d to %d ends as %+v", a.open.topic, a.open.conn, at)
	}
	if last := a.last[at.topic]; last.seq != at.seq || last.seq > 0 && last.value != a.open.value {
		a.t.Fatalf("topic %d: a snapshot at %d with value %d behind frame %d with %d", at.topic, at.seq,
			a.open.value, last.seq, last.value)
	}
	a.last[at.topic] = frame{at.seq, a.open.value}
	a.open.mode, a.open.follows = at.mode, true
	if a.subs[[2]uint64{at.conn, at.topic}] = a.open; s.Request == 0 {
		a.stats.resynced++
	} else {
		a.stats.begun++
	}
	if a.open = nil; a.gone[at.conn] {
		a.leave(at.conn) // the join of a connection that is gone is reported
	}
}

// resume is a subscriber that goes on behind a frame: its shard sends it those up to the last one.
func (a *audience) resume(at address) {
	a.t.Helper()
	last := a.last[at.topic]
	if at.seq > last.seq || at.epoch != a.epoch[at.topic] {
		a.t.Fatalf("topic %d: resumed behind frame %d of epoch %d; the last one is %d of %d", at.topic, at.seq,
			at.epoch, last.seq, a.epoch[at.topic])
	}
	shard := uint64(actors.ShardOf(at.conn, len(a.d.reports)))
	if lacks := a.lacks[[2]uint64{at.topic, shard}]; at.seq < lacks {
		a.t.Fatalf("topic %d: resumed behind frame %d; the shard does not have frame %d", at.topic, at.seq, lacks)
	}
	a.subs[[2]uint64{at.conn, at.topic}] = &seen{conn: at.conn, topic: at.topic, seq: last.seq,
		value: last.value, mode: at.mode, follows: true}
	if a.gone[at.conn] {
		a.leave(at.conn)
	}
}

// leave closes a connection, and the shard reports it.
func (a *audience) leave(conn uint64) {
	a.gone[conn] = true
	for key := range a.subs {
		if key[0] == conn {
			delete(a.subs, key)
		}
	}
	if !a.d.feed(actors.Feedback{Kind: actors.FeedbackGone, Conn: conn}) {
		a.t.Fatal("no room for feedback")
	}
}

// TestSubscribersMissNothing runs random subscriptions against the model, with rings of any size.
func TestSubscribersMissNothing(t *testing.T) {
	total, seeds := audience{}, uint64(400)
	if testing.Short() {
		seeds = 100
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			a, plain := play(t, seed, true), play(t, seed, false)
			if a.stats.frames > 0 && plain.stats.frames > 0 {
				t.Error("frames without subscribers")
			}
			compareRuns(t, a.d, plain.d)
			s := &total.stats
			s.begun, s.resumed, s.left = s.begun+a.stats.begun, s.resumed+a.stats.resumed, s.left+a.stats.left
			s.frames, s.resynced, s.refused = s.frames+a.stats.frames, s.resynced+a.stats.resynced,
				s.refused+a.stats.refused
		})
	}
	if s := total.stats; s.begun == 0 || s.resumed == 0 || s.left == 0 || s.frames == 0 || s.resynced == 0 ||
		s.refused == 0 {
		t.Errorf("not everything occurred: %+v", s)
	}
}

// compareRuns compares journal, digest and snapshot of two runs with the same events.
func compareRuns(t *testing.T, a, b *desk) {
	t.Helper()
	if len(a.events) != len(b.events) {
		t.Fatalf("%d events with subscribers, %d without", len(a.events), len(b.events))
	}
	digest, outputs := a.seq.state.Digest()
	if d, n := b.seq.state.Digest(); d != digest || n != outputs {
		t.Errorf("digest %x of %d outputs with subscribers, %x of %d without", digest, outputs, d, n)
	}
	if !bytes.Equal(snapshotOf(t, &a.board.script), snapshotOf(t, &b.board.script)) ||
		a.board.counts != b.board.counts || !bytes.Equal(sectionOf(t, a.seq.state), sectionOf(t, b.seq.state)) {
		t.Error("the states differ")
	}
	app := &board{}
	state, _, err := Replay(t.Context(), app, scriptEncoder{}, recovered{events: a.events}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if d, n := state.Digest(); d != digest || n != outputs || app.counts != a.board.counts {
		t.Errorf("digest %x of %d outputs in a replay, %x of %d in the run", d, n, digest, outputs)
	}
}

// play makes random requests; the events are the same with and without subscriptions.
func play(t *testing.T, seed uint64, subscribes bool) *audience {
	events, r := rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 2))
	d := newDesk(t, 1<<(1+r.IntN(6)), 1+r.IntN(3), func(c *Config[report, report]) {
		c.Topics.MaxSubscriptions, c.Topics.MaxTopics = 1+r.IntN(4), 2+r.IntN(4)
		c.Topics.Linger = 30
		c.CheckpointEvents = 1 << 40
	})
	d.board.size = 1 + r.IntN(9)
	a := newAudience(d)
	next, conns := uint64(8), []uint64{1, 2, 3, 4, 5, 6, 7}
	for range 400 {
		if events.IntN(3) == 0 {
			body := make([]byte, events.IntN(5))
			for i := range body {
				body[i] = byte(events.IntN(6))
			}
			d.put(50, tagPublish, body...)
		}
		if subscribes {
			i := r.IntN(len(conns))
			conn, topic := conns[i], uint64(r.IntN(6))
			switch r.IntN(8) {
			case 0, 1:
				mode := actors.Mode(r.IntN(3))
				after := a.last[topic].seq
				d.subscribe(conn, topic, mode, a.epoch[topic]*uint64(r.IntN(2)), after-min(after, uint64(r.IntN(3))))
			case 2:
				d.unsubscribe(conn, topic)
			case 3:
				d.subscribe(conn, forbidden+topic, actors.ModeRecover, 0, 0)
			case 4:
				if s := a.subs[[2]uint64{conn, topic}]; s != nil && s.follows {
					s.follows = false // until the snapshot
					d.feed(actors.Feedback{Kind: actors.FeedbackResync, Conn: conn, Topic: topic})
				}
			case 5:
				a.leave(conn)
				conns[i], next = next, next+1
			}
		}
		d.now++
		if r.IntN(2) == 0 {
			d.seq.Step(d.now)
		}
		d.take()
		if r.IntN(2) == 0 {
			a.hear(d.pass())
			d.barriers.Release(d.barriers.Len())
		}
	}
	a.finish()
	return a
}

// drain hears until there is nothing to hear.
func (a *audience) drain() {
	a.t.Helper()
	for slots := a.d.drain(); len(slots) > 0; slots = a.d.drain() {
		a.hear(slots)
	}
}

// finish ends all subscriptions: nothing is left of them.
func (a *audience) finish() {
	a.t.Helper()
	a.drain()
	topics := map[uint64]bool{}
	for key, s := range a.subs {
		topics[key[1]] = true
		if sub := a.d.seq.out.topics.find(key[0], key[1]); sub == nil || sub.mode != s.mode {
			a.t.Errorf("subscription of %d to %d is %+v, its mode is %v", key[0], key[1], sub, s.mode)
		}
	}
	if c := a.d.seq.Counts(); c.Subscriptions != uint64(len(a.subs)) || c.Topics != uint64(len(topics)) {
		a.t.Errorf("%d subscriptions to %d topics are counted, there are %d to %d", c.Subscriptions, c.Topics,
			len(a.subs), len(topics))
	}
	for key := range a.subs {
		a.leave(key[0])
	}
	for range 3 {
		a.drain()
		a.d.now += int64(a.d.seq.out.topics.Linger)
	}
	t := a.d.seq.out.topics
	if len(t.live)+len(t.conns)+t.subscribed+t.subscriptions+len(t.lingering) != 0 {
		a.t.Errorf("%d topics, %d subscribers, %d subscriptions, %d lingering places are left", len(t.live),
			len(t.conns), t.subscriptions, len(t.lingering))
	}
}
