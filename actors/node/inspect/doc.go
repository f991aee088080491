// Package inspect reads the data directory of a node, whatever its application: it lists the
// events of the journal, and verifies them.
//
//	DataDir/journal  --> Open --> Journal.List    one line or one JSON object for each event
//	DataDir/genesis, skips    \-> Journal.Verify  Summary: what is there, by kind and request
//
// A member of a cluster keeps the log of the cluster in its journal: a directory with a file named cluster.
// Then the events are those that were not replaced, and each has the term of its leader.
//
// The application gives the names of its requests, and puts them in words if it is a
// sequencer.Describer. It is neither started nor given an event, so a journal that it cannot apply
// can be read too, and its requests are not judged. What Verify checks: everything that a start checks
// before it applies the events, that is each file by itself and against the others; every checksum, the
// order of events, their form, that time never falls, and that an identity is introduced before its first
// event.
//
// Nothing is changed. While the node runs, everything that was complete before is seen.
//
// Start reading at Open, then Record, which is one event as it is listed.
package inspect
