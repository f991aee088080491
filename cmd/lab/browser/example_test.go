package browser

import "fmt"

// The made-up server of the tests of the page's looks has more of everything than a window has room
// for.
func Example() {
	s := crowded()
	fmt.Println(s.State, len(s.Points), "points,", len(s.Shards), "shards,", len(s.Slow), "slow clients")
	// Output: ready 300 points, 16 shards, 8 slow clients
}
