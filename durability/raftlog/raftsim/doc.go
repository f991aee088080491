// Package raftsim simulates the machines under a cluster for tests: disks and links that fail, one
// virtual time, and chance that is drawn from a seed. Whole nodes run on it on one goroutine, so a seed
// is a run. Nothing but tests imports it.
//
//	World: chance, time, Judge
//	  |
//	  +-- Machine 1: process (raftlog.Node) --Write--> disk: writes > records > synced records, snapshots
//	  |      |  ^
//	  |      v  |          a link for each direction: loses, repeats, reorders between lanes, is cut
//	  +----- Links <====> Machine 2 ...
//
// The truth about a machine are two Copies of the log: what is on its disk, and what is in the memory
// of its process. They are read from the records by code of their own, and a Judge compares what nodes
// say with them. A test adds what runs above the log.
//
// Promises:
//
//   - A crash loses everything that was not synced, or less: a beginning of it may have reached the disk,
//     and it may end within a write.
//   - A disk carries out writes in order, and reports them in order. A broken one reports errors until its
//     process ends.
//   - A link keeps the order within a lane.
//   - While Calm is set there are no faults, and everything is delivered.
//   - Chance is drawn in the same order in every run of a seed. The raft library draws election times
//     from crypto/rand: call testing/cryptotest.SetGlobalRandom before the first node is started.
//
// Start reading at World, then Machine.
package raftsim
