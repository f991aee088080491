//go:build !race

package secure

// raced says that the race detector is on.
const raced = false
