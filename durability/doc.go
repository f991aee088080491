// Package durability decides which responses may be released. It holds the policy that the operator
// chose, the cursors of what each node has received and persisted, and the arithmetic that combines
// them. It consists of values and a few atomics; the gate does the waiting.
//
//	operator --Swap--> Switch --Adopt--> Policy --+
//	                                              |
//	journal --SetPersisted--> Cursors             +--> Evaluate --> Verdict --> Degradation
//	replica --Feed.Advance-->    |                |       position,       gauge, total, log
//	                             +--Snapshot--> View      binding node
//
// Promises:
//   - A position is evaluated over ONE snapshot of all cursors, never over values of different
//     instants.
//   - It fails closed: an empty view, a view with too few nodes and a failed snapshot release nothing.
//   - After Swap returned nil, nothing is released under an older policy, given a gate that calls Adopt
//     at the start of each step.
//   - Evaluate, Snapshot, Adopt and Observe neither block nor allocate; the number of tries is bounded.
//   - Every change calls the waker after it is visible.
//
// Start reading at Policy.Evaluate (evaluate.go), then Cursors (cursors.go) and Switch (switch.go).
// Class (class.go) says what a policy is worth when a node of a cluster is lost.
// The journal that moves the primary's cursor is in the subpackage journal.
package durability
