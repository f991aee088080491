package cluster

import (
	"bytes"
	"encoding/binary"
	"slices"

	"sluice/actors"
	"sluice/actors/sequencer"
	"sluice/cmd/orderbook"
	"sluice/cmd/orderbook/marketdata"
	"sluice/durability"
	"sluice/mailbox"
	"sluice/transport/wire"
)

// simTopicCounts are events of subscribers.
type simTopicCounts struct {
	Subscribed, Unsubscribed  int
	TopicFrames, TopicGaps    int // that reached a subscriber; gaps of which it was told
	TopicSnapshots, Described int // that reached a subscriber whole; of those, compared with the log
}

// simShard sends the frames of topics to the subscribers of an office, as a shard does. Some do not read in time:
// they miss frames, are told so, and get a snapshot.
type simShard struct {
	o       *simOffice
	reports *mailbox.Writer[actors.Feedback]
}

func newSimShard(o *simOffice) (*simShard, sequencer.Topics) {
	if o.w.topics == nil {
		return &simShard{o: o}, sequencer.Topics{}
	}
	reports, producer := actors.NewFeedback(1)
	producer[0].SetSignal(mailbox.NewSignal(simNobody{}))
	return &simShard{o, reports[0]}, sequencer.Topics{Feedback: producer, Epoch: o.w.topics.Uint64()}
}

// deliver sends a slot to its client, or to the subscribers of its topic.
func (h *simShard) deliver(s *simSlot) {
	for _, c := range h.o.conns {
		m := simMessage{slot: *s}
		switch {
		case c.left:
			continue
		case s.Kind != actors.KindTopic:
			if c.id != s.Conn {
				continue
			}
			c.join(s)
		case !slices.Contains(c.topics, s.Conn):
			continue
		case !h.o.w.Calm && h.o.w.topics.IntN(5) == 0 &&
			h.report(actors.Feedback{Kind: actors.FeedbackResync, Conn: c.id, Topic: s.Conn}):
			m.gap = true
			c.leaves(s.Conn)
		}
		c.down = append(c.down, m)
	}
}

// report reports to the sequencer; false if the list is full.
func (h *simShard) report(f actors.Feedback) bool {
	place := h.reports.Claim(1)
	if len(place) == 0 {
		return false
	}
	place[0] = f
	h.reports.Commit(1)
	h.reports.Publish()
	return true
}

// join makes a connection a subscriber, or not any more.
func (c *simConn) join(s *simSlot) {
	topic, _ := simSubscription(s)
	switch s.Kind {
	case actors.KindSnapshotEnd:
		c.leaves(topic)
		c.topics = append(c.topics, topic)
	case actors.KindLeave:
		c.leaves(topic)
	}
}

func (c *simConn) leaves(topic uint64) {
	c.topics = slices.DeleteFunc(c.topics, func(t uint64) bool { return t == topic })
}

// simSubscription is topic and number of a slot of a subscription, by its layout.
func simSubscription(s *simSlot) (topic, number uint64) {
	le := binary.LittleEndian
	return le.Uint64(s.Parent.TraceID[:]), le.Uint64(s.Parent.TraceID[8:])
}

// subscribe draws a request to subscribe to a topic, or to leave it.
func (c *simClient) subscribe() simRequest {
	kinds := []marketdata.Kind{marketdata.KindTop, marketdata.KindDepth, marketdata.KindTrades}
	topic := kinds[c.w.topics.IntN(len(kinds))].Topic(uint32(1 + c.w.topics.IntN(2)))
	if c.w.topics.IntN(4) == 0 {
		return simRequest{body: wire.AppendUnsubscribeBody(nil, topic)}
	}
	return simRequest{body: wire.AppendSubscribeBody(nil, wire.Subscribe{Topic: topic,
		Mode: wire.TopicMode(c.w.topics.IntN(3))})}
}

// frame takes a frame of a topic, or the gap in its place.
func (c *simClient) frame(m *simMessage) {
	c.conn.told = append(c.conn.told, simTold{slot: m.slot, gap: m.gap})
	if m.gap {
		c.w.counts.TopicGaps++
		return
	}
	c.w.counts.TopicFrames++
	c.w.oracle.received(&m.slot, nil)
}

// simFrame is a frame of a topic to which the log leads.
type simFrame struct {
	seq    durability.Seq
	report orderbook.Report
}

// simDescribed is a snapshot of a topic that a client received.
type simDescribed struct {
	conn, topic uint64
	frames      []*orderbook.Answer
}

// descriptions enters the snapshots that a client received, by the event of the state that they describe.
func (r *simReference) descriptions(conn *simConn) {
	var d *simDescribed
	for i := range conn.told {
		s := &conn.told[i].slot
		switch {
		case s.Kind == actors.KindSnapshotBegin:
			topic, _ := simSubscription(s)
			d = &simDescribed{conn: conn.id, topic: topic}
		case d != nil && s.Kind == actors.KindQuery:
			d.frames = append(d.frames, &s.Query)
		case d != nil && s.Kind == actors.KindSnapshotEnd:
			r.described[s.Seq] = append(r.described[s.Seq], d)
			r.c.w.counts.TopicSnapshots++
			d = nil
		}
	}
}

// describe compares the snapshots of topics at the last event with what the log leads to.
func (r *simReference) describe() {
	for _, d := range r.described[r.seq] {
		var want simAnswers
		r.book.Describe(&sequencer.Event{Seq: uint64(r.seq), Conn: d.conn}, d.topic, &want)
		same := slices.EqualFunc(want, d.frames,
			func(x, y *orderbook.Answer) bool { return bytes.Equal(x.Frame(), y.Frame()) })
		if !same {
			r.fail("connection %#x received %d frames of a snapshot of topic %#x after event %d, the log leads to %d (C3)",
				d.conn, len(d.frames), d.topic, r.seq, len(want))
		}
		r.c.w.counts.Described++
	}
}

// simPlace is where a subscriber is in a topic.
type simPlace struct {
	live   bool
	at     int // next of the reference's frames
	number uint64
}

// follow compares what a client received of topics with the frames to which the log leads: from each snapshot on,
// all of them, in order, until a gap of which it was told.
func (r *simReference) follow(conn *simConn) {
	places := map[uint64]*simPlace{}
	for i := range conn.told {
		t := &conn.told[i]
		s := &t.slot
		switch s.Kind {
		case actors.KindSnapshotEnd, actors.KindLeave:
			topic, number := simSubscription(s)
			frames := r.frames[topic]
			at, _ := slices.BinarySearchFunc(frames, s.Seq+1,
				func(f simFrame, seq durability.Seq) int { return int(f.seq) - int(seq) })
			if p := places[topic]; p != nil && p.live && s.Kind == actors.KindSnapshotEnd &&
				(p.at != at || p.number != number) {
				r.fail("connection %#x was at frame %d of topic %#x, and the next snapshot contains all up to %d (C3)", conn.id,
					p.number, topic, number)
			}
			places[topic] = &simPlace{s.Kind == actors.KindSnapshotEnd, at, number}
		case actors.KindTopic:
			if !r.next(conn, t, places[s.Conn]) {
				return
			}
		}
	}
}

// next compares one frame; false if it is another one than the next of the log.
func (r *simReference) next(conn *simConn, t *simTold, p *simPlace) bool {
	s := &t.slot
	switch {
	case p == nil || !p.live:
		r.fail("connection %#x received a frame of topic %#x, to which it does not subscribe (C3)", conn.id, s.Conn)
		return false
	case t.gap:
		p.live = false
		return true
	}
	frames := r.frames[s.Conn]
	if p.at >= len(frames) || frames[p.at].seq != s.Seq || frames[p.at].report != s.Report || s.Request != p.number+1 {
		r.fail("connection %#x received frame %d of topic %#x after frame %d, %+v of event %d; the log leads to another one (C3)",
			conn.id, s.Request, s.Conn, p.number, s.Report, s.Seq)
		return false
	}
	p.at, p.number = p.at+1, s.Request
	return true
}
