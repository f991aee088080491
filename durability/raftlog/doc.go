// Package raftlog keeps one log of events on several nodes. The library go.etcd.io/raft decides what is
// in the log; the journal of each node is where it is written. So a durability policy that names
// replicas holds for what really is on their disks and in their memories, and the loss of a minority of
// the nodes loses no event that such a policy acknowledged. Members are added and
// removed by entries of the log. See docs/decisions/0035-three-nodes.md and 0037-membership.md.
//
//	                     +---------------- Node.Step: one goroutine, never blocks ----------------+
//	frames of other ---> | inbox --> library --> entries, hard state --> Store ==> journal, sync  |
//	nodes (Receive)      |             |  ^                                |                      |
//	                     |             |  +------- acknowledged <----------+                      |
//	frames to other <--- | Send <------+--> committed entries --> Feed ==> state machine           |
//	nodes                |             |                                    (a follower applies)   |
//	                     |             +--> Leadership: Cursors ==> gate of the leader             |
//	events of the ====>  | Input --> batches --> proposals                                         |
//	leader's sequencer   +-------------------------------------------------------------------------+
//
// A node follows or leads. A follower's state machine applies what the Feed hands out: events that are
// committed and on this node's disk. When the Feed hands out a Leadership, everything before it is
// applied and this node leads: from then on its sequencer numbers and executes events itself, and the
// node proposes them in batches. The cursors of a leadership say how far each node holds the log. They
// belong to that leadership alone, and are shut when it ends.
//
// Three spaces of numbers meet here:
//
//   - Events, counted from 1, are what the rest of the program counts. Only they are compared with cursors.
//   - Entries are counted by the library's index, as is the state with which a log begins. An entry has a
//     batch of events, a change of the members, or nothing. Its index is the same on all nodes, and says how
//     far the log is committed and applied: Item, Node.Applied, Meta, Members.
//   - Records are counted by the journal of one node, from 1, and mean something in that journal only. They
//     are entries, hard states, and notes that a snapshot was received. Snapshots on disk are numbered by
//     them: Store.Load, Node.Mark.
//
// Promises:
//
//   - All nodes hand out the same events under the same numbers, in order and without a gap.
//   - Cursors never say more than disks and memories hold: a follower's persisted cursor is what it
//     acknowledged after its sync in this term, its in_memory cursor what it acknowledged ahead of it,
//     and the leader's own persisted cursor what its own store reported.
//   - What an ended leadership executed and could not bring into the log is known at the first entry of
//     another term: the state machine then goes back to Leadership.Confirmed.
//   - Nothing is acknowledged before the sync of what it relies on, votes included.
//   - Snapshots bound the log: in memory and on disk it begins after the older of the newest two. A node
//     that lacks more gets a snapshot.
//   - A store that fails ends the node. A leader hands its office over first, also if its disk only
//     hangs.
//
// Start reading at Node.Step, then writes.go (disk and state machine) and lead.go (a leadership).
package raftlog
