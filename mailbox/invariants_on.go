//go:build invariants || race

package mailbox

// invariants enables the expensive checks: cursors move forward only, and released slots and
// records are overwritten, so that the use of a retained slice is noticed.
const invariants = true
