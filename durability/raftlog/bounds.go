package raftlog

import "fmt"

// Bounds are bounds of a node's memory; zero fields have the defaults. What a bound refuses is dropped and
// counted, or waits, and is sent again: a tight one costs time only. The log in memory is as long as the
// journal on disk, from the older snapshot on: it is bounded by the snapshots.
type Bounds struct {
	MessageBytes  int // of the entries of a message, unless one is longer; at least BatchBytes; default 1 MiB
	InboxMessages int // that arrived and were not taken; default 4096
	// of these messages; at least 2 MessageBytes + 4 KiB, and room for the longest entry, or it is refused each
	// time; default 64 MiB
	InboxBytes int
	ApplyBytes int // of committed entries on their way to the state machine, and one more; default 4 MiB
	// of entries that are not on disk, above which a follower takes no message with entries; default 64 MiB
	BacklogBytes int
	Inflight     int // messages with entries that another node has not acknowledged; default 64
}

func (b *Bounds) complete() {
	for _, f := range [...]struct {
		field *int
		or    int
	}{{&b.MessageBytes, 1 << 20}, {&b.InboxMessages, 4096}, {&b.InboxBytes, 64 << 20}, {&b.ApplyBytes, 4 << 20},
		{&b.BacklogBytes, 64 << 20}, {&b.Inflight, 64}} {
		if *f.field == 0 {
			*f.field = f.or
		}
	}
}

func (b *Bounds) check() error {
	if min(b.MessageBytes, b.InboxMessages, b.ApplyBytes, b.BacklogBytes, b.Inflight) < 1 {
		return fmt.Errorf("raftlog: a bound of memory is below 1: %+v", *b)
	}
	if least := 2*b.MessageBytes + 4096; b.InboxBytes < least {
		return fmt.Errorf("raftlog: an inbox of %d B could refuse a message of %d B each time; use at least %d B",
			b.InboxBytes, b.MessageBytes, least)
	}
	return nil
}

// Memory is what a node holds in memory.
type Memory struct {
	Bounds     Bounds // in force
	LogEntries int    // of the log on disk
	LogEmpty   int    // those of the log without data: of new leaders, of changes that were refused or completed
	LogBytes   int    // data of these entries, and of those on their way to the disk
	Inbox      int    // messages that arrived and were not taken
	InboxBytes int    // of these
	Receipts   int    // that arrived and were not taken
	Unsynced   int    // bytes of entries on their way to the disk
	Applying   int    // bytes of committed entries that the state machine has not applied yet
	Proposed   int    // batches that are not committed
	Incoming   int    // snapshots of other nodes that are not installed
	Dropped    uint64 // messages for which there was no room, since the start
}

// Memory returns what the node holds, for programs that step it themselves: it is called between two Steps.
func (n *Node) Memory() Memory {
	n.in.mu.Lock()
	defer n.in.mu.Unlock()
	m := Memory{Bounds: n.o.Bounds, LogBytes: int(n.log.bytes()), Inbox: len(n.in.messages), InboxBytes: n.in.bytes,
		Receipts: len(n.in.receipts), Unsynced: n.writes.bytes, Proposed: n.proposer.flying, Incoming: len(n.incoming),
		Dropped: n.in.dropped}
	first, _ := n.log.stored.FirstIndex() // a MemoryStorage returns no error
	last, _ := n.log.stored.LastIndex()
	m.LogEntries = int(last + 1 - first)
	for i, p := range n.log.places[1:] {
		if p.bytes == n.log.places[i].bytes {
			m.LogEmpty++
		}
	}
	for _, a := range n.applies {
		for _, e := range a.message.Entries {
			m.Applying += len(e.GetData())
		}
	}
	return m
}
