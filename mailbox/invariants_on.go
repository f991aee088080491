//go:build invariants || race

package mailbox

// invariants turns the costly checks on: cursors move forward only, and released slots and records are overwritten, so
// that a retained slice shows.
const invariants = true
