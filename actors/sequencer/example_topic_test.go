package sequencer_test

import (
	"fmt"

	"sluice/actors"
	"sluice/actors/internal/run"
	"sluice/actors/sequencer"
	"sluice/mailbox"
	"sluice/transport/wire"
)

// counter is a total that clients can follow: topic 1 has the sum after each event.
type counter struct{ total }

func (c *counter) Apply(ev *sequencer.Event, out sequencer.Emitter[uint64, struct{}]) {
	c.total.Apply(ev, out)
	*out.Publish(1, 0) = c.sum
}

func (c *counter) Describe(ev *sequencer.Event, topic uint64, out sequencer.Emitter[uint64, struct{}]) bool {
	if topic == 1 {
		*out.Report(ev.Conn) = c.sum
	}
	return topic == 1
}

// A client subscribes between two events: it gets the sum after the first one, and is a subscriber when
// the second one publishes.
func Example_topic() {
	queue, requests := sequencer.NewQueue(1 << 12)
	ring, _ := mailbox.NewBytes(1 << 12)
	slots, gate := mailbox.NewSPSC[actors.Slot[uint64, struct{}]](16)
	_, feedback := actors.NewFeedback(1) // the other end is for the shards of the pipeline
	s, err := sequencer.New(sequencer.Config[uint64, struct{}]{
		Application: &counter{}, Requests: requests, Journal: ring, Slots: slots,
		Signal: mailbox.NewSignal(run.NewAdaptive()), Now: func() int64 { return 0 },
		Wall: func() int64 { return 0 }, State: sequencer.NewState(), Encoder: frames{},
		Topics: sequencer.Topics{Feedback: feedback, Epoch: 500},
	})
	if err != nil {
		panic(err)
	}
	trader := sequencer.Identity{Role: sequencer.RoleTrader}
	for _, req := range []sequencer.Event{
		{Conn: 5, Identity: trader, Tag: 0x10, Body: []byte("\x01\x02")},
		{Conn: 6, Identity: trader, Tag: wire.TagExtended,
			Body: wire.AppendSubscribeBody(nil, wire.Subscribe{Topic: 1})},
		{Conn: 5, Identity: trader, Tag: 0x10, Body: []byte("\x03")},
	} {
		if err := queue.Put(&req, nil, 0); err != nil {
			panic(err)
		}
	}
	s.Step(0) // which a runner does, in a program
	for _, slot := range gate.Batch(16) {
		switch slot.Kind {
		case actors.KindReport:
			fmt.Printf("event %d: report %d to connection %d\n", slot.Seq, slot.Report, slot.Conn)
		case actors.KindSnapshotBegin, actors.KindSnapshotEnd:
			fmt.Printf("event %d: kind %d to connection %d\n", slot.Seq, slot.Kind, slot.Conn)
		case actors.KindTopic:
			fmt.Printf("event %d: report %d to the subscribers of topic %d\n", slot.Seq, slot.Report, slot.Conn)
		}
	}
	fmt.Println(s.Counts().Topics, "topic with subscribers")
	// Output:
	// event 1: report 3 to connection 5
	// event 1: kind 5 to connection 6
	// event 1: report 3 to connection 6
	// event 1: kind 6 to connection 6
	// event 2: report 6 to connection 5
	// event 2: report 6 to the subscribers of topic 1
	// 1 topic with subscribers
}
