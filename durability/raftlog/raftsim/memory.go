package raftsim

import "math"

// entryOverhead is what an entry adds to its data in the count of bytes on their way to the disk, and smallEntries the
// number of entries with little or no data that come with batches: of a new leader, of changes of the members.
const (
	entryOverhead = entryHeader
	smallEntries  = 8
)

// checkInbox judges what has arrived for a node, before it takes it.
func (m *Machine) checkInbox() {
	has := m.Node.Memory()
	if b := has.Bounds; has.Inbox > b.InboxMessages || has.InboxBytes > b.InboxBytes || has.Receipts > b.InboxMessages {
		m.w.Fail("node %d has %+v that it has not taken (C10)", m.ID, has)
	}
	if has.Dropped > m.dropped {
		m.dropped = has.Dropped
		m.w.Counts.InboxFull++
	}
}

// checkMemory judges what a node holds after a step.
func (m *Machine) checkMemory() {
	has, w := m.Node.Memory(), m.w
	b := has.Bounds
	entry := max(m.largest, 1) + entryOverhead
	message := b.MessageBytes + b.MessageBytes/2 + entry // small entries are longer on disk than on the way
	own := (m.options.Window+1)*entry + smallEntries*4*entryOverhead
	if has.Unsynced > max(b.BacklogBytes+message, own) {
		w.Fail("node %d has %d B of entries that are not on disk; the bound is %d B, and a message of %d B (C10)", m.ID,
			has.Unsynced, b.BacklogBytes, message)
	}
	if m.Node.Status().Serving && has.Unsynced > own {
		w.Fail("node %d leads and has %d B of entries that are not on disk, %d batches proposed; its "+
			"window is %d (C10)",
			m.ID, has.Unsynced, has.Proposed, m.options.Window)
	}
	if has.Proposed > m.options.Window {
		w.Fail("node %d has proposed %d batches that are not committed; its window is %d (C10)", m.ID,
			has.Proposed, m.options.Window)
	}
	if has.Applying > b.ApplyBytes+m.largest {
		w.Fail("node %d has %d B that its state machine has not applied; the bound is %d B (C10)", m.ID,
			has.Applying, b.ApplyBytes)
	}
	if has.Incoming > len(w.Machines) {
		w.Fail("node %d holds %d snapshots of other nodes (C10)", m.ID, has.Incoming)
	}
	// What the state machine has not applied is kept when a snapshot is made; each entry with data has a
	// batch, but few. So are entries, without data mostly, that a write on its way to the disk replaces.
	bytes, entries := m.logOnDisk()
	if m.files != nil || m.broken { // not counted; or the writes of a moment are lost, and the node ends
		bytes, entries = math.MaxInt/2, math.MaxInt/2
	}
	if has.LogBytes > bytes+b.ApplyBytes+m.largest ||
		has.LogEntries-has.LogEmpty > entries+b.ApplyBytes/batchHeader+4*smallEntries {
		w.Fail("node %d has %d entries and %d B of its log in memory, and its disk %d and %d B from the "+
			"older snapshot on (C10)",
			m.ID, has.LogEntries, has.LogBytes, entries, bytes)
	}
	if has.Unsynced > b.BacklogBytes {
		w.Counts.BacklogFull++
	}
	if has.Applying >= b.ApplyBytes {
		w.Counts.ApplyFull++
	}
}

// logOnDisk is what the disk has of the log, or is going to have: bytes, and entries.
func (m *Machine) logOnDisk() (bytes, entries int) {
	for _, records := range [...][][]byte{m.records, m.pending} {
		entries += len(records)
		for _, p := range records {
			bytes += len(p)
		}
	}
	for _, w := range m.writes {
		entries += len(w.Entries)
		for _, e := range w.Entries {
			bytes += len(e.GetData())
		}
	}
	return bytes, entries
}
