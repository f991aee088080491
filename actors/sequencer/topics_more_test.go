package sequencer

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"sluice/actors"
	"sluice/durability"
	"sluice/encode"
	"sluice/mailbox"
	"sluice/transport/wire"
)

// A snapshot that the slot ring has no room for is written as it gets room, and nothing between.
func TestRingFillsUpWithinSnapshot(t *testing.T) {
	d := newDesk(t, 4, 1, nil)
	d.board.size = 20
	d.put(9, tagPublish, 1)
	d.subscribe(2, 1, actors.ModeRecover, 0, 0)
	d.put(9, tagPublish, 1)
	d.seq.Step(1)
	if n := d.slots.Len(); n != 4 || d.seq.Counts().Events != 1 {
		t.Fatalf("%d slots and %d events while the snapshot has no room", n, d.seq.Counts().Events)
	}
	a := newAudience(d)
	got := d.drain()
	a.hear(got)
	// report, begin, 20 answers and 20 reports, end, frame, report
	if len(got) != 45 || got[1].Kind != actors.KindSnapshotBegin || got[42].Kind != actors.KindSnapshotEnd ||
		!got[42].Last || got[43].Kind != actors.KindTopic || got[44].Kind != actors.KindReport {
		t.Errorf("%d slots of kinds %v", len(got), kindsOf(got))
	}
}

// What the application wrote before it refused is gone, also from the spill.
func TestRefusedSnapshotLeavesNothing(t *testing.T) {
	d := newDesk(t, 4, 1, nil)
	d.board.size = 3 * spillKept
	d.subscribe(2, forbidden, actors.ModeRecover, 0, 0)
	got := d.drain()
	if len(got) != 1 || got[0].Refusal != encode.RefusedTopic || !got[0].Last || cap(d.seq.out.spill) > spillKept {
		t.Errorf("%d slots, the spill keeps %d", len(got), cap(d.seq.out.spill))
	}
}

// A resumed subscription is described too, so that the application can refuse it.
func TestResumedSubscriptionMayBeRefused(t *testing.T) {
	d := newDesk(t, 64, 1, nil)
	d.subscribe(2, 1, actors.ModeRecover, 0, 0)
	d.drain()
	d.board.revoke = map[uint64]bool{1: true}
	d.subscribe(3, 1, actors.ModeRecover, 1001, 0)
	if got := d.drain(); len(got) != 1 || got[0].Refusal != encode.RefusedTopic || d.seq.Counts().Subscriptions != 1 {
		t.Errorf("answered by %+v", got)
	}
}

// Snapshots tell the state of this node, so they wait for a proof that it leads, as queries do.
func TestSubscriptionsDrawTickets(t *testing.T) {
	d := newDesk(t, 64, 1, func(c *Config[report, report]) { c.Topics.MaxSubscriptions = 1 })
	step := func(want ...actors.Barrier) {
		t.Helper()
		if put, _ := d.step(); !slices.Equal(put, want) {
			t.Errorf("barriers %v, want %v", put, want)
		}
	}
	d.put(1, tagEvent, 1)
	d.subscribe(2, 1, actors.ModeRecover, 0, 0) // slots 1 to 4
	step(actors.Barrier{From: 1, Ticket: 1})
	d.subscribe(2, 2, actors.ModeRecover, 0, 0) // refused by the limit: slot 5
	step()
	d.feed(actors.Feedback{Kind: actors.FeedbackResync, Conn: 2, Topic: 1}) // slots 6 to 9
	step(actors.Barrier{From: 6, Ticket: 2})
	d.subscribe(3, forbidden, actors.ModeRecover, 0, 0) // what the application refuses depends on its state: slot 10
	step(actors.Barrier{From: 10, Ticket: 3})
	d.unsubscribe(2, 1) // slot 11
	step()
	d.feed(actors.Feedback{Kind: actors.FeedbackGone, Conn: 2})
	step()
	d.subscribe(4, 1, actors.ModeRecover, 1001, 0) // resumed: slot 12
	step(actors.Barrier{From: 12, Ticket: 4})
}

func TestSnapshotWaitsForRoomInListOfBarriers(t *testing.T) {
	var barriers *mailbox.Reader[actors.Barrier]
	d := newDesk(t, 64, 1, func(c *Config[report, report]) {
		c.Barriers, barriers = mailbox.NewSPSC[actors.Barrier](1)
	})
	d.subscribe(2, 1, actors.ModeRecover, 0, 0)
	d.seq.Step(1)
	n := d.slots.Len()
	d.feed(actors.Feedback{Kind: actors.FeedbackResync, Conn: 2, Topic: 1})
	d.seq.Step(2)
	d.seq.Step(3)
	d.subscribe(3, 2, actors.ModeRecover, 0, 0)
	if got := d.slots.Len() - n; got != 0 || d.seq.Counts().Resyncs != 0 {
		t.Fatalf("%d slots while the list is full", got)
	}
	barriers.Release(1)
	d.seq.Step(4)
	if c := d.seq.Counts(); c.Resyncs != 1 || c.Topics != 2 {
		t.Errorf("counts %+v with room for both snapshots, which share a ticket", c)
	}
}

// Until the gate has adopted a policy, no snapshot leaves under the one before.
func TestResyncWaitsForPolicy(t *testing.T) {
	var adopted func()
	d := newDesk(t, 64, 1, func(c *Config[report, report]) {
		c.OnPolicy = func(_ durability.Policy, _ durability.Seq, f func()) { adopted = f }
	})
	d.subscribe(2, 1, actors.ModeRecover, 0, 0)
	d.drain()
	if err := d.queue.Policy(durability.Local()); err != nil {
		t.Fatal(err)
	}
	d.drain()
	d.feed(actors.Feedback{Kind: actors.FeedbackResync, Conn: 2, Topic: 1})
	if got := d.drain(); len(got) != 0 {
		t.Errorf("%d slots before the policy is adopted", len(got))
	}
	if adopted(); len(d.drain()) != 4 {
		t.Error("no snapshot after the policy is adopted")
	}
}

// A step takes a bounded number of entries, in turn from all shards, and requests besides.
func TestFeedbackIsBounded(t *testing.T) {
	for _, busy := range []uint64{2, other(2, 2)} {
		d := newDesk(t, 1024, 2, nil)
		quiet := other(busy, 2)
		for range 3 * feedbackMost {
			d.feed(actors.Feedback{Kind: actors.FeedbackGone, Conn: busy})
		}
		d.feed(actors.Feedback{Kind: actors.FeedbackGone, Conn: quiet})
		d.put(9, tagEvent, 1)
		if work := d.seq.Step(1); work != feedbackMost+1 {
			t.Errorf("a step does work %d, want %d", work, feedbackMost+1)
		}
		if n := d.seq.cfg.Topics.Feedback[actors.ShardOf(quiet, 2)].Len(); n != 0 {
			t.Errorf("the shard of connection %d keeps the other one waiting", busy)
		}
	}
}

func TestFeedbackWakesSequencer(t *testing.T) {
	woken := newToken()
	signal := mailbox.NewSignal(woken)
	d := newDesk(t, 64, 2, func(c *Config[report, report]) { c.Signal = signal })
	for _, conn := range []uint64{2, other(2, 2)} {
		signal.Prepare()
		d.feed(actors.Feedback{Kind: actors.FeedbackGone, Conn: conn})
		select {
		case <-woken:
		default:
			t.Errorf("not woken by the shard of connection %d", conn)
		}
	}
}

// faulty does in each method what only others may do.
type faulty struct{ *board }

func (f faulty) Query(_ *Event, out Emitter[report, report]) { out.Publish(1, 0) }

func (f faulty) Describe(ev *Event, topic uint64, out Emitter[report, report]) bool {
	if topic == 1 {
		out.Publish(1, 0)
	}
	out.Query(ev.Conn + 1)
	return true
}

func TestOnlyEventsPublish(t *testing.T) {
	for want, request := range map[string]func(*desk){
		publishedByQuery:       func(d *desk) { d.put(1, tagQuery) },
		publishedByQuery + " ": func(d *desk) { d.subscribe(1, 1, actors.ModeRecover, 0, 0) },
		describedToOther:       func(d *desk) { d.subscribe(1, 2, actors.ModeRecover, 0, 0) },
	} {
		d := newDesk(t, 64, 1, func(c *Config[report, report]) { c.Application = faulty{&board{}} })
		d.put(1, tagEvent, 1)
		request(d)
		got := d.drain()
		var p *PanicError
		if err := d.seq.Close(); !errors.As(err, &p) || p.Value != string(bytes.TrimSpace([]byte(want))) || len(got) != 1 {
			t.Errorf("ended with %v and %d slots, want %q and that of the event", err, len(got), want)
		}
	}
}

// A subscription that makes the application panic is refused the next time.
func TestPoisonedSubscriptionIsRefused(t *testing.T) {
	body := wire.AppendSubscribeBody(nil, wire.Subscribe{Topic: 1})
	ev := Event{Kind: KindRequest, Tag: wire.TagExtended, Body: body}
	d := newDesk(t, 64, 1, func(c *Config[report, report]) {
		c.Poisoned = map[uint64]struct{}{hashOf(&ev): {}}
	})
	d.extended(1, RoleReadonly, body)
	if got := d.drain(); len(got) != 1 || got[0].Refusal != encode.RefusedMalformed {
		t.Errorf("answered by %+v", got)
	}
}

func TestPublishAllocatesNothing(t *testing.T) {
	d := newDesk(t, 256, 2, nil)
	ev := trades(9, tagPublish, 1, 2, 3, 4)
	settle := func() {
		for d.now++; d.seq.Step(d.now) > 0; d.now++ {
			for _, ok := d.log.Next(); ok; _, ok = d.log.Next() {
			}
			d.log.Release()
			for b := d.slots.Batch(256); len(b) > 0; b = d.slots.Batch(256) {
				d.slots.Release(len(b))
			}
			d.barriers.Release(d.barriers.Len())
		}
	}
	round := func() {
		if err := d.queue.Put(&ev, nil, 5); err != nil {
			t.Fatal(err)
		}
		settle()
	}
	before := d.slots.Position()
	for range 10 {
		round()
	}
	if n := d.slots.Position() - before; n != 10 {
		t.Errorf("%d slots of 10 events without subscribers, want only their reports", n)
	}
	if n := testing.AllocsPerRun(200, round); n != 0 {
		t.Errorf("%v allocations without subscribers", n)
	}
	for conn := range uint64(20) {
		d.subscribe(conn+1, conn%3, actors.ModeRecover, 0, 0)
	}
	settle()
	before = d.slots.Position()
	round()
	if n := d.slots.Position() - before; n != 3 {
		t.Errorf("%d slots of an event with frames of two topics that have subscribers, want 3", n)
	}
	if n := testing.AllocsPerRun(200, round); n != 0 {
		t.Errorf("%v allocations with subscribers", n)
	}
}

// FuzzSubscription carries out any body with the tag of topics; whatever it is, it gets one end, and the
// subscriptions that are counted are those that the slots begin and end.
func FuzzSubscription(f *testing.F) {
	sub := wire.AppendSubscribeBody(nil, wire.Subscribe{Topic: 1, Mode: wire.TopicEvery, Epoch: 1001})
	f.Add(sub, wire.AppendUnsubscribeBody(nil, 1), uint8(2))
	f.Add(sub, sub, uint8(1))
	f.Add([]byte{}, []byte{1, 2}, uint8(0))
	f.Fuzz(func(t *testing.T, first, second []byte, role uint8) {
		d := newDesk(t, 64, 2, nil)
		a := newAudience(d)
		for _, body := range [][]byte{first, second, sub, first} {
			if len(body) > 1024 {
				return
			}
			d.extended(2, role, body)
			d.put(9, tagPublish, 0, 1, 2)
			got := d.drain()
			ends := 0
			for i := range got {
				if got[i].Last && got[i].Conn == 2 && got[i].Kind != actors.KindTopic {
					ends++
				}
			}
			if ends != 1 {
				t.Fatalf("%x is answered with %d ends", body, ends)
			}
			a.hear(got)
		}
		a.finish()
		if c := d.seq.Counts(); c.Events != 4 || len(d.events) != 4 {
			t.Errorf("%d events, want the 4 that publish", c.Events)
		}
	})
}
