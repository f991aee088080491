package cluster_test

import (
	"fmt"
	"os"

	"sluice/actors/node/cluster"
	"sluice/cmd/orderbook"
)

// A data directory becomes that of node 2 of three.
func Example() {
	dir, err := os.MkdirTemp("", "member")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	id, err := cluster.ParseID("5f0c1b2a99d34e6c8a7710ce24b3d981")
	if err != nil {
		fmt.Println(err)
		return
	}
	m := cluster.Membership{Cluster: id, Node: 2}
	for _, text := range []string{"1=10.0.0.1:9870,10.0.0.1:9876", "2=10.0.0.2:9870,10.0.0.2:9876",
		"3=10.0.0.3:9870,10.0.0.3:9876"} {
		member, err := cluster.ParseMember(text)
		if err != nil {
			fmt.Println(err)
			return
		}
		m.Members = append(m.Members, member)
	}
	if err := cluster.Init(dir, m); err != nil {
		fmt.Println(err)
		return
	}
	read, err := cluster.ReadMembership(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("node", read.Node, "listens to the others at", read.Self().Peer)
	fmt.Println("members", read.Members)
	// Output:
	// node 2 listens to the others at 10.0.0.2:9870
	// members [1=10.0.0.1:9870,10.0.0.1:9876 2=10.0.0.2:9870,10.0.0.2:9876 3=10.0.0.3:9870,10.0.0.3:9876]
}

// What the data directory of a member says, here one on which no server has started yet.
func ExampleInspect() {
	dir, err := os.MkdirTemp("", "member")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	m := cluster.Membership{Cluster: cluster.ID{1}, Node: 1,
		Members: []cluster.Member{{Node: 1, Peer: "10.0.0.1:9870", Client: "10.0.0.1:9876"}}}
	book, err := orderbook.New(orderbook.Config{})
	if err == nil {
		err = cluster.Init(dir, m)
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	i, err := cluster.Inspect(dir, book, 5)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("node", i.Node, "of", len(i.Members), "at event", i.Last, "with", len(i.Problems), "problems")
	// Output:
	// node 1 of 1 at event 0 with 0 problems
}
