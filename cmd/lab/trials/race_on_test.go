//go:build race

package trials

// raced tells that the race detector slows this program down.
const raced = true
