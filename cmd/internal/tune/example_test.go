package tune_test

import (
	"fmt"

	"sluice/cmd/internal/tune"
)

// Three choices were run three times each at 20,000 frames per second. The p99 of one shard is
// twice as high. The p99 of two shards in front and spread differs by noise only, so their CPU
// decides.
func ExampleAdvise() {
	reached := []float64{20000, 20000, 20000}
	advice := tune.Advise([]tune.Row{
		{Choice: tune.Choice{Shards: 1, Placement: "fused", Idle: "adaptive"}, Frames: reached,
			P99: []float64{210e3, 205e3, 215e3}, CPU: []float64{5e3, 5e3, 5e3}},
		{Choice: tune.Choice{Shards: 2, Placement: "front", Idle: "adaptive"}, Frames: reached,
			P99: []float64{104e3, 96e3, 110e3}, CPU: []float64{6e3, 6.1e3, 6.2e3}},
		{Choice: tune.Choice{Shards: 2, Placement: "spread", Idle: "adaptive"}, Frames: reached,
			P99: []float64{98e3, 94e3, 111e3}, CPU: []float64{9e3, 9.1e3, 9.2e3}},
	}, tune.Goal{Rate: 20000})
	fmt.Println("sluice serve", advice.Flags())
	for _, reason := range advice.Reasons {
		fmt.Println("-", reason)
	}
	// Output:
	// sluice serve --shards 2 --placement front --idle adaptive
	// - p99: the best is 98.0 us (2 shards spread adaptive); 1 of 3 are clearly worse; the others differ by noise, with medians of 98.0 us to 104 us.
	// - CPU per frame: 6.10 us is clearly better than all others; the next is 9.10 us (2 shards spread adaptive).
}
