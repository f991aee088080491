package actors

import (
	"errors"

	"sluice/actors/internal/shard"
	"sluice/encode"
	"sluice/telemetry"
	"sluice/transport"
)

// produce publishes a burst of slots.
func (w *world) produce() {
	// slots published to a pipeline that has ended have no consumer
	if !w.faults || w.p.phase.Ending() {
		return
	}
	r := w.r
	if len(w.topics.topics) > 0 && !r.oneIn(4) {
		w.topics.listen()
	}
	room := w.p.slots.Claim(1 + r.n(w.swarm.maxBurst))
	if len(room) == 0 {
		return
	}
	unproven, ok := w.proofs.draw(w, len(room))
	if !ok {
		return
	}
	behind := w.proofs.drawn
	if unproven < len(room) {
		behind--
	}
	for i := range room {
		if i == unproven {
			behind++
		}
		if len(w.topics.topics) > 0 &&
			w.topics.fill(&room[i], w.p.slots.Position()+uint64(i), behind) {
			continue
		}
		if r.oneIn(2) || w.oracle.seq == 0 {
			w.oracle.seq++ // a new event; otherwise one more output of the same
		}
		w.next++
		id := w.recipient()
		s := tickSlot{
			seq: w.oracle.seq, conn: id, n: w.next, position: w.p.slots.Position() + uint64(i),
			last: r.oneIn(2), bypass: r.pct(w.swarm.bypassPct), ticket: behind,
		}
		if s.kind = KindReport; r.oneIn(8) {
			s.kind = pick(r, KindEngineError, KindBatchEnd, KindQuery)
		}
		if s.kind == KindReport && r.pct(w.swarm.badPct) {
			s.bad = pick(r, faultError, faultPanic, faultLarge)
		}
		// In place, as applications do: what the pipeline left in the slot's other fields stays
		// there.
		slot := &room[i]
		slot.Conn, slot.Seq, slot.Received, slot.Matched = id, s.seq, w.now, w.now
		slot.Kind, slot.Last, slot.Bypass = s.kind, s.last, s.bypass
		slot.Request, slot.Refusal = s.n, encode.RefusedSize
		slot.Parent, slot.Report = telemetry.Parent{}, tick{n: s.n, size: 13 + r.n(w.frame), bad: s.bad}
		if r.pct(w.swarm.tracedPct) {
			slot.Parent = telemetry.Parent{TraceID: [16]byte{15: 1}, Flags: 1}
			w.stats.Traced++
		}
		w.expect(&s)
	}
	w.p.slots.Commit(len(room))
	w.p.slots.Publish()
}

// expect notes a slot of a connection that is being published.
func (w *world) expect(s *tickSlot) {
	w.oracle.publish(s)
	if p := w.byID[s.conn]; p != nil && p.owned {
		p.slots = append(p.slots, *s)
		if s.last || s.kind == KindBatchEnd {
			p.owed++
		}
	}
}

// recipient picks a connection to respond to: mostly one that is open, else any that is, was or
// never existed, but none that Connect has not yet returned for, since no request of it can have
// been read.
func (w *world) recipient() uint64 {
	if n := len(w.open); n > 0 && !w.r.oneIn(8) {
		if p := w.open[w.r.n(n)]; !w.connecting[p.id] {
			return p.id
		}
	}
	for {
		id := uint64(1 + w.r.n(w.swarm.ids+1))
		if !w.connecting[id] {
			return id
		}
	}
}

// clients lets every client read that is quick, and one more; a reader acts on what it sees.
func (w *world) clients() {
	if len(w.open) == 0 {
		return
	}
	for _, p := range w.open {
		if (!p.slow || !w.faults) && p.sim.Waiting() > 0 {
			p.read(1 + w.r.n(2*w.swarm.window))
		}
	}
	i := w.r.n(len(w.open))
	p := w.open[i]
	if (p.gone || p.alone) && p.closed != transport.ReasonNone {
		p.read(1 << 30)
		w.open[i] = w.open[len(w.open)-1] // what a late send brings is read at the end
		w.open = w.open[:len(w.open)-1]
		return
	}
	w.readRecords(p)
	if p.slow && w.r.oneIn(w.swarm.slowRead) {
		p.read(1 + w.r.n(2*w.swarm.window))
	}
	switch reads := p.owned && !p.gone && !p.alone; {
	case reads && p.sim.HalfClosed() && w.r.oneIn(3) && !(w.cutShort && w.swarm.stubborn):
		w.letGo(p)
	case reads && !p.cut && w.ending && !w.cutShort && w.r.oneIn(50):
		w.depart(p)
	}
}

// depart is a reader that ends because the node does: its client gets whatever can be delivered
// until the end.
func (w *world) depart(p *peer) {
	if w.p.mail.events.TrySend(shard.Event{Kind: shard.EventDisconnect, Conn: p.id,
		Hash: transport.Hash(p.id), Owed: p.owed, Reason: transport.ReasonShutdown}) {
		w.stats.Departs++
		p.gone = true
	}
}

// letGo is the reader seeing the end of the stream.
func (w *world) letGo(p *peer) {
	why := transport.ReasonPeerClosed
	if w.r.oneIn(4) && !w.halfOpen(p) {
		why = transport.ReasonPeerReset
		p.cut = true
	}
	if w.p.mail.events.TrySend(shard.Event{Kind: shard.EventDisconnect, Conn: p.id,
		Hash: transport.Hash(p.id), Owed: p.owed, Reason: why}) {
		p.gone = true
		for i, s := range p.slots {
			if s.last || s.kind == KindBatchEnd {
				p.due = i + 1
			}
		}
	}
}

// halfOpen reports that the client closed only its sending side and still expects responses.
func (w *world) halfOpen(p *peer) bool { return !p.cut && p.closed == transport.ReasonNone }

// disturb connects, vanishes, kicks and swaps.
func (w *world) disturb() {
	s, r := &w.swarm, w.r
	if w.ending && r.oneIn(400) {
		w.giveUp()
	}
	if r.oneIn(100) {
		w.askList()
	}
	if !w.faults {
		w.oracle.mend()
		w.topics.finish()
		return
	}
	switch {
	case r.oneIn(s.starve) && !w.healthy && !w.cutShort:
		w.stats.Starved++
		w.groups[r.n(len(w.groups))].starved = w.now + int64(r.n(1000))
	case r.oneIn(s.swap):
		w.oracle.swap()
	case r.oneIn(s.churn):
		w.leave()
	case r.oneIn(2):
		id := uint64(1 + r.n(s.ids))
		if p := w.byID[id]; !w.connecting[id] && (p == nil || p.gone || r.oneIn(20)) {
			w.connect(id)
		}
	case r.oneIn(20) && len(w.open) > 0:
		w.answer(w.open[r.n(len(w.open))])
	case r.oneIn(50):
		w.reload()
	}
}

// response sends a frame that responses a request which was no slot.
func (w *world) answer(p *peer) {
	ev := shard.Event{Kind: shard.EventRespond, Conn: p.id, Hash: transport.Hash(p.id),
		Frame: simAnswer, Ack: func(err error) {
			if err == nil {
				p.answered++
			}
		}}
	if !p.gone && !p.alone && !w.connecting[p.id] && w.byID[p.id] == p &&
		w.p.mail.events.TrySend(ev) {
		w.stats.Answers++
		p.owed++
	}
}

// connect opens a socket and hands it to the pipeline.
func (w *world) connect(id uint64) {
	if w.topics.queued(id) {
		return // Connect is called when everything for an earlier owner of the id is published
	}
	if w.p.permit.Add(1) > int64(w.p.cfg.MaxConnections) {
		w.p.permit.Add(-1)
		return
	}
	fd, sim := w.net.Open(w.swarm.window)
	p := &peer{w: w, id: id, fd: fd, sim: sim, slow: w.r.pct(w.swarm.slowPct),
		alone: w.r.pct(w.swarm.alonePct)}
	p.class = uint8(w.r.n(simClasses))
	p.sealer = w.sealed(fd)
	ev := shard.Event{Kind: shard.EventConnect, Conn: id, Hash: transport.Hash(id), FD: fd,
		Class: p.class, WriteOnly: p.alone, Since: w.p.slots.Published()}
	if p.sealer != nil {
		ev.Sealer = p.sealer
	}
	ev.Ack = func(err error) {
		w.connecting[id] = false
		if err == nil {
			p.owned, w.used[id] = true, true
			p.opened, p.heard, p.before = w.now, w.now, w.byID[id]
			w.topics.forget(id)
			w.byID[id] = p
			w.peers = append(w.peers, p)
			w.open = append(w.open, p)
			w.stats.Connects++
			return
		}
		w.stats.Refused++
		if !w.used[id] && !errors.Is(err, errSimFull) && !w.p.phase.Ending() {
			w.fail("connection %d was refused although its id is new: %v (R30)", id, err)
		}
		w.p.permit.Add(-1)
		w.net.Close(fd)
	}
	w.connecting[id] = true
	if w.used[id] {
		w.stats.Reuses++
	}
	if !w.p.mail.events.TrySend(ev) {
		ev.Ack(errSimFull)
	}
}

// errSimFull is a control event that found no room; outside a world its sender would try again.
var errSimFull = errors.New("the control mailbox is full")

// errSimSealed is the error of a Sealer that makes no more records.
var errSimSealed = errors.New("the stream has ended")

// leave makes a client go away in one of several ways.
func (w *world) leave() {
	if len(w.open) == 0 {
		return
	}
	p := w.open[w.r.n(len(w.open))]
	if p.gone || p.sim.HalfClosed() {
		return
	}
	shed := uint64(1 + w.r.n(busyAtOnce)) // if ServerBusy is sent
	var frames []byte
	for i := range shed {
		frames = w.p.cfg.Framing.AppendControl(frames, encode.Control{
			Kind: encode.ControlServerBusy, Request: w.shed[p.id] + 1 + i})
	}
	send := func(kind shard.EventKind) bool {
		return w.p.mail.events.TrySend(shard.Event{Kind: kind, Conn: p.id, Frame: string(frames),
			Hash: transport.Hash(p.id), Owed: shed, Reason: transport.ReasonKicked})
	}
	switch w.r.n(5) {
	case 0:
		if !p.alone {
			w.stats.HalfCloses++
			count(&w.stats.Topic.HalfClosed, w.topics.subscribed(p.id) != 0)
			p.sim.HalfClose()
		}
	case 1:
		if w.r.oneIn(w.swarm.vanish) || w.swarm.vanish == 0 {
			w.stats.Vanishes++
			p.cut = true
			p.sim.Close()
		}
	case 2:
		w.stats.Resets++
		p.cut = true
		p.sim.Reset()
	case 3:
		if send(shard.EventKick) {
			w.stats.Kicks++
			p.cut, p.kicked = true, true
		}
	case 4:
		if send(shard.EventBusy) {
			w.stats.Busies++
			w.shed[p.id] += shed
		}
	}
}
