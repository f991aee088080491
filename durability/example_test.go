package durability_test

import (
	"context"
	"fmt"

	"sluice/durability"
)

// How a gate sees one slot: what the policy waits for, and what releases it.
func Example() {
	policy, err := durability.Parse("persisted>=1 && in_memory>=2", 3)
	if err != nil {
		fmt.Println(err)
		return
	}
	cursors := durability.NewCursors(2)
	var view durability.View
	look := func() {
		if !cursors.Snapshot(&view) {
			return // Writers kept moving; try again on the next step.
		}
		fmt.Println(policy.Explain(&view, 120))
	}

	cursors.SetPersisted(100)
	look()
	replica := cursors.Activate(1, 115, 90)
	look()
	replica.Advance(125, 90)
	cursors.SetPersisted(130)
	look()
	// Output:
	// waits for journal: needs persisted>=1 at 120, is at 100; degraded: in_memory>=2 asks for 2 nodes, 1 in view
	// waits for journal: needs persisted>=1 at 120, is at 100; waits for replica 1: needs in_memory>=2 at 120, is at 115
	// passes: 120 is durable, open to 125, bound by replica 1
}

// An operator's swap returns once the gate adopted the policy on its next step.
func ExampleSwitch() {
	policies := durability.NewSwitch(durability.Hybrid())
	answer := make(chan error)
	go func() { answer <- policies.Swap(context.Background(), durability.Local()) }()

	for { // The gate's steps.
		policy, changed := policies.Adopt()
		if changed {
			fmt.Println("the gate evaluates", policy)
			break
		}
	}
	fmt.Println("Swap returned", <-answer)
	// Output:
	// the gate evaluates persisted>=1
	// Swap returned <nil>
}

func ExampleParse() {
	_, err := durability.Parse("persisted>=1 && in_memory>=5", 3)
	fmt.Println(err)
	_, err = durability.Parse("persisted>=1 && fsynced>=2", 3)
	fmt.Println(err)
	fmt.Println(durability.Hybrid().MetBy(1))
	// Output:
	// durability: clause 2 "in_memory>=5": count 5 is above 3, the most nodes that there can be; use a count from 1 to 3, or a larger cluster
	// durability: clause 2 "fsynced>=2": unknown level "fsynced"; use in_memory or persisted
	// durability: policy "persisted>=1 && in_memory>=2" can never be met here: clause 2 "in_memory>=2" asks for 2 nodes, this node with 0 replicas makes 1; add replicas, choose a weaker policy such as local, or force it and nothing is released
}
