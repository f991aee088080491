package fleet_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"sluice/actors/node/cluster"
	"sluice/cmd/internal/fleet"
)

func Example() {
	dir, err := os.MkdirTemp("", "fleet-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	f, err := fleet.New(fleet.Options{Program: "bin/sluice", Dir: dir, Nodes: 3})
	if err != nil {
		log.Fatal(err)
	}
	defer f.Kill()
	for _, n := range f.Nodes { // n.Start would start it
		m, err := cluster.ReadMembership(n.Dir)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(filepath.Base(n.Dir), m.Node, m.Self().Client == n.Client)
	}
	// Output:
	// node1 1 true
	// node2 2 true
	// node3 3 true
}
