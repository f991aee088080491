package sequencer

import (
	"encoding/binary"
	"testing"

	"sluice/actors"
	"sluice/mailbox"
	"sluice/transport/wire"
)

const tagPublish = 0x14 // a frame of the topic of each byte of the body, and a report to the sender

// forbidden is a topic that no client may subscribe to, and from which on there are none.
const forbidden = 200

// board is an application with topics: each has a count of its frames, which is its state.
type board struct {
	script
	counts [forbidden]uint64
	revoke map[uint64]bool // topics that are not described any more
	size   int             // answers that describe a topic; default 1
	asked  []Event         // events of Describe
}

func (b *board) Requests() []RequestType {
	return append(b.script.Requests(), RequestType{Tag: tagPublish, Name: "publish", Size: -1, Role: RoleTrader})
}

func (b *board) Apply(ev *Event, out Emitter[report, report]) {
	if ev.Tag != tagPublish {
		b.script.Apply(ev, out)
		return
	}
	for i, topic := range ev.Body {
		r := out.Publish(uint64(topic), uint64(i))
		if *r != (report{}) {
			panic("the slot of a topic is not empty")
		}
		*r = report{Seq: ev.Seq, Sum: ev.Seq}
		if topic < forbidden {
			b.counts[topic]++
			r.N = b.counts[topic]
		}
	}
	*out.Report(ev.Conn) = report{Seq: ev.Seq}
}

func (b *board) Describe(ev *Event, topic uint64, out Emitter[report, report]) bool {
	if b.asked != nil {
		b.asked = append(b.asked, *ev)
	}
	n := max(b.size, 1)
	for i := range n {
		*out.Query(ev.Conn) = report{Seq: topic, N: uint64(n - 1 - i)}
		if topic < forbidden {
			out.Report(ev.Conn).N = b.counts[topic]
		}
	}
	return topic < forbidden && !b.revoke[topic]
}

// desk is a stage of a board, with the shards' ends of feedback.
type desk struct {
	*leader
	board   *board
	reports []*mailbox.Writer[actors.Feedback]
}

func newDesk(t testing.TB, slots, shards int, change func(*Config[report, report])) *desk {
	d := &desk{board: &board{}, leader: &leader{}}
	d.stage = newStage(t, slots, func(c *Config[report, report]) {
		c.Application = d.board
		c.Topics.Epoch = 1000
		d.reports, c.Topics.Feedback = actors.NewFeedback(shards)
		c.Barriers, d.barriers = mailbox.NewSPSC[actors.Barrier](1024)
		c.Prove = func(ticket uint64) { d.asked = append(d.asked, ticket) }
		if change != nil {
			change(c)
		}
	})
	return d
}

func (d *desk) extended(conn uint64, role uint8, body []byte) {
	d.t.Helper()
	ev := Event{Conn: conn, Request: 7, Tag: wire.TagExtended, Body: body, Identity: Identity{Role: role}}
	if err := d.queue.Put(&ev, nil, 5); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) subscribe(conn, topic uint64, mode actors.Mode, epoch, after uint64) {
	d.t.Helper()
	d.extended(conn, RoleReadonly, wire.AppendSubscribeBody(nil,
		wire.Subscribe{Topic: topic, Mode: wire.TopicMode(mode), Epoch: epoch, After: after}))
}

func (d *desk) unsubscribe(conn, topic uint64) {
	d.t.Helper()
	d.extended(conn, RoleReadonly, wire.AppendUnsubscribeBody(nil, topic))
}

// feed reports something, as the shard of the connection does.
func (d *desk) feed(f actors.Feedback) bool {
	w := d.reports[actors.ShardOf(f.Conn, len(d.reports))]
	slot := w.Claim(1)
	if slot == nil {
		return false
	}
	slot[0] = f
	w.Commit(1)
	w.Publish()
	return true
}

// drain steps until there is nothing to do and returns copies of all slots.
func (d *desk) drain() (all []actors.Slot[report, report]) {
	d.t.Helper()
	for {
		d.now++
		work := d.seq.Step(d.now)
		d.take()
		got := d.pass()
		d.barriers.Release(d.barriers.Len())
		all = append(all, got...)
		if work == 0 && len(got) == 0 {
			return all
		}
	}
}

// address is what a slot of a topic or a subscription says, in the layout of actors/topic.go.
type address struct {
	conn, topic, seq, epoch, shards uint64
	mode                            actors.Mode
}

func addressOf(s *actors.Slot[report, report]) address {
	le := binary.LittleEndian
	if s.Kind == actors.KindTopic {
		return address{topic: s.Conn, seq: s.Request, shards: le.Uint64(s.Parent.TraceID[8:])}
	}
	return address{conn: s.Conn, topic: le.Uint64(s.Parent.TraceID[:]), seq: le.Uint64(s.Parent.TraceID[8:]),
		epoch: le.Uint64(s.Parent.Span[:]), mode: actors.Mode(s.Refusal)}
}

// kindsOf are the kinds of slots.
func kindsOf(slots []actors.Slot[report, report]) (kinds []actors.Kind) {
	for i := range slots {
		kinds = append(kinds, slots[i].Kind)
	}
	return kinds
}
