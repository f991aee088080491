// Package journal is the primary's log on disk: it makes events and their sequence numbers
// permanent. Events are committed in groups, with one entry and one fdatasync for each group, and
// only then does the persisted cursor move. Snapshots of the application bound the size of the log
// and the time of a restart. The package builds on the write-ahead log of etcd, see
// docs/decisions/0006-journal-on-etcd-wal.md.
//
//	sequencer ==> [ bytes ring ] ==> Committer --> Writer.Append ... Commit --> wal/0..n.wal
//	                                    |              one entry, one fdatasync
//	                                    |--> OnPersisted(seq): the persisted cursor, after the sync
//	                                    |
//	application --> PrepareSnapshot --> Offer --> Writer.Install --> snap/seq.snap, segments removed
//
//	dir/ FORMAT       version of the layout, identities of directory and log
//	     LOCK         flock: one server at a time
//	     INCARNATION  number of times opened, and the end mark: an event that is on disk, the newest
//	                  segment with its least size, and whether the journal was closed
//	     wal/         segments; snap/ the newest two snapshots
//
// Promises:
//
//   - An event number that Commit returned is on disk; after a crash at any moment Open finds it (R35).
//   - Numbers continue where they ended, without a gap, and are never reused.
//   - A failed write or sync ends the journal: nothing is retried, nothing more is acknowledged (R36).
//   - The remains of an unacknowledged write after a crash are dropped. Any other damage that can be
//     distinguished from them is an error that names the place, and damaged bytes are never served.
//     judgeTail names the cases at the very end of the log that cannot be distinguished.
//   - Segments get their full size before they get their name, and a cut one is damage, wherever it
//     was cut.
//   - A log that ends before its end mark is damage. What was lost behind the mark is reported as events
//     of which it is not known whether they were acknowledged.
//   - A directory that is renamed, removed or replaced while it is open poisons the journal (ErrMoved).
//   - A segment of another directory and a snapshot of another log are refused, with the file and
//     both identities named (ForeignError).
//   - The newest two snapshots are kept, with the log after the older one, so one damaged snapshot
//     loses nothing.
//   - A backup that is taken beside the writer has what was committed before it began; it is verified, and
//     only restored, under an identity of its own (Backup, Restore).
//
// Start reading at Open, then Writer.Commit, Committer.Run and judgeTail, which decides what of
// the log is valid after a crash.
package journal
