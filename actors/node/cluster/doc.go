// Package cluster makes a node a member of a cluster: several nodes keep one log of events, clients are
// served by the node that leads, and the loss of a minority of the nodes loses no event that was
// acknowledged under a policy of a majority. See docs/decisions/0035-three-nodes.md.
//
//	DATA/cluster   who this node is, and the first members: Init or Join writes it, ReadMembership reads it
//	DATA/members   who the members are now; a copy of what the log says
//	DATA/journal   operations on the shared log
//	DATA/genesis   as on a single node
//	DATA/known     the last start of each other member that this one has met
//	DATA/starts    the starts of this member
//	DATA/incoming  snapshots that are being received; removed at start
//
// Promises:
//
//   - A data directory belongs to one member of one cluster from Init on, which refuses a directory that
//     has anything in it. A damaged membership file is an error and never another membership.
//
// To run a member: Init makes its data directory once, and Open starts it. Several members can run on one
// machine, each with a data directory and addresses of its own. Start reading at Open.
package cluster
