//go:build !invariants && !race

package mailbox

// invariants is false in production: the expensive checks of invariants_on.go are compiled out.
const invariants = false
