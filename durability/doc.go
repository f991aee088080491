// Package durability decides how far responses may go: it holds the policy an operator chose, the cursors that say what
// each node has received and persisted, and the arithmetic between the two. It is pure values and a few atomics; the
// waiting is the gate's business.
//
//	operator --Swap--> Switch --Adopt--> Policy --+
//	                                              |
//	journal --SetPersisted--> Cursors             +--> Evaluate --> Verdict --> Degradation --> gauge, total, log
//	replica --Feed.Advance-->    |                |     position, binding node
//	                             +--Snapshot--> View
//
// Promises:
//   - A position is evaluated over ONE snapshot of all cursors, never over values of different instants.
//   - Fail closed: an empty view, a view with too few nodes and a snapshot that failed all open nothing.
//   - No release under an older policy after Swap returned nil, given a gate that adopts at the start of each step.
//   - Evaluate, Snapshot, Adopt and Observe neither block nor allocate; the number of tries is bounded.
//   - Every change calls the waker after it is visible.
//
// Start reading at Policy.Evaluate (evaluate.go), then Cursors (cursors.go) and Switch (switch.go). The journal that
// moves the primary's cursor is in the subpackage journal.
package durability
