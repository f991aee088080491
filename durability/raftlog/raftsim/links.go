package raftsim

import (
	"encoding/binary"

	"sluice/durability/raftlog"
)

// Links are the links between all machines, one for each direction.
type Links struct {
	w      *World
	queues map[[2]int][]frame
	cut    map[[2]int]bool
}

// frame is on its way.
type frame struct {
	from, to    uint64 // ids in the log
	incarnation uint64 // of the sender
	lane        raftlog.Lane
	data        []byte
	snapshot    *raftlog.Received // what comes before the frame; nil for nothing
}

// linkFrames is how many frames a link holds; then the oldest is dropped.
const linkFrames = 12

// messageKind is the first byte of a message, receiptKind that of a receipt, and receiptBytes its size.
const (
	messageKind  = 0
	receiptKind  = 1
	receiptBytes = 17
)

// receipt is the term of a receipt; false if the frame is none.
func (f *frame) receipt() (term uint64, ok bool) {
	if len(f.data) != receiptBytes || f.data[0] != receiptKind {
		return 0, false
	}
	return binary.LittleEndian.Uint64(f.data[1:]), true
}

func (l *Links) send(from, to, incarnation uint64, lane raftlog.Lane, data []byte) {
	w, key := l.w, [2]int{int(uint8(from)), int(uint8(to))}
	if l.cut[key] || w.OneIn(40) {
		w.Counts.Lost++
		return
	}
	q := l.queues[key]
	if len(q) > linkFrames {
		w.Counts.Dropped++
		l.lose(q[0])
		q = q[1:]
	}
	f := frame{from, to, incarnation, lane, data, nil}
	q = append(q, f)
	if w.OneIn(60) {
		w.Counts.Duplicated++
		q = append(q, f)
	}
	if _, ok := f.receipt(); ok {
		w.Counts.Receipts++
	}
	l.queues[key] = q
}

// deliver takes one frame of a link; frames of different lanes may overtake one another.
func (l *Links) deliver(key [2]int) {
	w, q := l.w, l.queues[key]
	if len(q) == 0 || w.Now < w.Machines[key[1]-1].Paused {
		return
	}
	at := 0
	if w.OneIn(4) {
		at = w.R.IntN(len(q))
		for i := 0; i < at; i++ {
			if q[i].lane == q[at].lane { // a lane keeps its order
				at = i
			}
		}
	}
	f := q[at]
	l.queues[key] = append(q[:at:at], q[at+1:]...)
	from, to := w.Machines[key[0]-1], w.Machines[key[1]-1]
	if f.to != to.NodeID() || l.refused(from, to, f.from) {
		l.lose(f)
		return
	}
	if to.Node != nil && w.OnFrame != nil && !w.OnFrame(from, to, f.incarnation) {
		l.lose(f)
		return
	}
	if f.snapshot != nil {
		l.deliverSnapshot(from, to, f)
		return
	}
	if to.Node == nil {
		return
	}
	if f.incarnation != from.Incarnation {
		w.Counts.StaleIncarnations++
	}
	if term, ok := f.receipt(); ok {
		if f.incarnation != from.Incarnation {
			w.StaleReceipts++
		}
		if s := to.Node.Status(); s.Leads && s.Term != term {
			w.Counts.OldReceipts++
		}
	}
	to.arrived[from.ID] = max(to.arrived[from.ID], f.incarnation)
	if err := to.Node.Receive(f.from, f.incarnation, f.data); err != nil {
		w.Fail("%v", err)
	}
}

// refused reports that a node knows that a member was removed, and tells its machine so.
func (l *Links) refused(from, to *Machine, id uint64) bool {
	if to.Node == nil {
		return false
	}
	members := to.Node.Members()
	if _, is := members.Member(id); is || members.NextGeneration(uint8(id)) <= raftlog.Generation(id) {
		return false
	}
	if id == from.NodeID() && from.Node != nil && l.w.OnRemoved != nil {
		l.w.OnRemoved(from)
	}
	return true
}

// deliverSnapshot delivers a snapshot, or loses it.
func (l *Links) deliverSnapshot(from, to *Machine, f frame) {
	w := l.w
	sent := to.Node != nil && !l.cut[[2]int{int(from.ID), int(to.ID)}] && !w.OneIn(3)
	if sent {
		to.arrived[from.ID] = max(to.arrived[from.ID], f.incarnation)
		receive := func() error { return to.Node.ReceiveSnapshot(f.from, f.incarnation, f.data, *f.snapshot) }
		if w.OnSnapshot != nil {
			receive = func() error { return w.OnSnapshot(from, to, f.incarnation, f.data, *f.snapshot) }
		}
		if err := receive(); err != nil {
			w.Fail("%v", err)
		}
	}
	l.report(f, sent)
}

// lose takes notice of a frame that is lost. Its sender is told if it was a snapshot.
func (l *Links) lose(f frame) {
	if f.snapshot != nil {
		l.report(f, false)
	}
}

// report tells the sender of a snapshot, if its process still runs, whether it arrived.
func (l *Links) report(f frame, sent bool) {
	from := l.w.Machines[uint8(f.from)-1]
	if from.Node != nil && from.Incarnation == f.incarnation {
		from.Node.ReportSnapshot(f.to, sent)
	}
}

// Isolate cuts the links from a machine to all others, and each of the links to it with a chance of
// one half.
func (l *Links) Isolate(m *Machine) {
	for _, o := range l.w.Machines {
		if o != m {
			l.cut[[2]int{int(m.ID), int(o.ID)}] = true
			if l.w.OneIn(2) {
				l.cut[[2]int{int(o.ID), int(m.ID)}] = true
			}
		}
	}
}

// Heal ends all cuts.
func (l *Links) Heal() { clear(l.cut) }
