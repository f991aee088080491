//go:build !invariants && !race

package mailbox

// invariants is false in production: the costly checks are compiled away (invariants_on.go says which).
const invariants = false
