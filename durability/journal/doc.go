// Package journal is the primary's log on disk: it gives events their sequence numbers' permanence. Events are committed in
// groups, one entry and one fdatasync per group, and only then does the persisted cursor move. Snapshots of the application
// keep the log, and the time a restart takes, bounded. It stands on the write-ahead log of etcd, see
// docs/decisions/0006-journal-on-etcd-wal.md.
//
//	sequencer ==> [ bytes ring ] ==> Committer --> Writer.Append ... Commit --> wal/0..n.wal
//	                                    |              one entry, one fdatasync
//	                                    |--> OnPersisted(seq)  moves the persisted cursor, never before the sync returned
//	                                    |
//	application --> PrepareSnapshot --> Offer --> Writer.Install --> snap/seq.snap, then old segments go
//
//	dir/ FORMAT       version of all this
//	     LOCK         flock: one server at a time
//	     INCARNATION  times opened
//	     wal/         segments; snap/ the newest two snapshots
//
// Promises:
//
//   - An event number that Commit returned is on disk; after a crash at any moment Open finds it (R35).
//   - Numbers continue where they ended, without a gap, and never begin again.
//   - A failed write or sync ends the journal: nothing is retried and nothing more is acknowledged (R36).
//   - What a crash left of an unacknowledged write is dropped; any other damage that can be told from it is an error that names
//     the place, and damaged bytes are never served. judgeTail says what cannot be told apart, both at the very end of the log.
//   - The newest two snapshots are kept, with the log behind the older, so one damaged snapshot loses nothing.
//
// Start reading at Open, then Writer.Commit, Committer.Run and, for what is believed after a crash, judgeTail.
package journal
