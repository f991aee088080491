package bench

import "fmt"

// A plan has all combinations of its lists, without duplicates: the peer has no engines.
func ExamplePlan_Specs() {
	plan := DefaultPlan()
	plan.IO = []string{"uring", "poll"}
	plan.Rate = []string{"20000", "0"}
	specs, err := plan.Specs()
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range specs {
		fmt.Println(s.Name(), s.Rate)
	}
	// Output:
	// sluice uring K=2 20000
	// sluice poll K=2 20000
	// goroutines 20000
	// sluice uring K=2 0
	// sluice poll K=2 0
	// goroutines 0
}
