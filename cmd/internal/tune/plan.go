package tune

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"sluice/actors"
)

// Choice is one combination of the tuned settings, as named by the flags of `sluice serve`.
type Choice struct {
	Shards    int    `json:"shards"`
	Placement string `json:"placement"` // fused, front or spread
	Idle      string `json:"idle"`      // adaptive or spin
}

// Flags returns the flags of `sluice serve` for the choice.
func (c Choice) Flags() string {
	return fmt.Sprintf("--shards %d --placement %s --idle %s", c.Shards, c.Placement, c.Idle)
}

// String returns the choice as it is named in a sentence.
func (c Choice) String() string {
	noun := "shards"
	if c.Shards == 1 {
		noun = "shard"
	}
	return fmt.Sprintf("%d %s %s %s", c.Shards, noun, c.Placement, c.Idle)
}

// groups returns the number of goroutines that the actors run on.
func (c Choice) groups() int {
	switch c.Placement {
	case "fused":
		return 1
	case "front":
		return c.Shards
	}
	return c.Shards + 2
}

// simpler orders choices: sleeping before spinning, which needs a core for each goroutine at any
// load; then fewer shards; then fewer goroutines.
func simpler(a, b Choice) int {
	return cmp.Or(
		strings.Compare(a.Idle, b.Idle), // adaptive, spin
		a.Shards-b.Shards,
		a.groups()-b.groups(),
	)
}

const (
	everyCount = 4 // shard counts up to this are all tried
	doubleMost = 4 // up to this number of cores, twice as many shards are tried too
	fusedMost  = 2 // more shards on one goroutine add rings but no parallelism
)

// shardCounts returns the shard counts to try: all up to four, then half octaves up to the number
// of cores, and the number of cores itself. On few cores it also returns twice that number. A shard
// without a connection has nothing to do, so there are never more shards than connections.
func shardCounts(cores, connections int) (counts []int) {
	for k := 1; k <= min(cores, everyCount); k++ {
		counts = append(counts, k)
	}
	for k := everyCount; k < cores; k *= 2 {
		counts = append(counts, k+k/2, 2*k)
	}
	counts = append(counts, cores)
	if cores <= doubleMost {
		counts = append(counts, 2*cores)
	}
	most := cores
	if cores <= doubleMost {
		most = 2 * cores
	}
	most = min(most, connections, actors.MaxShards)
	counts = slices.DeleteFunc(counts, func(k int) bool { return k > most })
	slices.Sort(counts)
	return slices.Compact(counts)
}

// choices returns the choices to measure for a server with the given number of cores, by shards.
// Placement spread needs a core for every goroutine. Spinning needs one more, for the application
// that feeds them. One shard in front is the same as one shard fused.
func choices(cores, connections int) (all []Choice) {
	for _, k := range shardCounts(cores, connections) {
		for _, placement := range []string{"fused", "front", "spread"} {
			for _, idle := range []string{"adaptive", "spin"} {
				c := Choice{k, placement, idle}
				switch {
				case placement == "fused" && k > fusedMost, placement == "front" && k == 1,
					placement == "spread" && c.groups() > cores, idle == "spin" && c.groups()+1 > cores:
				default:
					all = append(all, c)
				}
			}
		}
	}
	return all
}
