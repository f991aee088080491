package audit_test

import (
	"fmt"
	"log"

	"sluice/cmd/internal/audit"
)

// Node 1 died with the last events that it had proposed. In the histories of loss, one of them was
// acknowledged.
func Example() {
	nodes := []string{"testdata/intact/node1", "testdata/intact/node2", "testdata/intact/node3"}
	for _, histories := range []string{"testdata/intact/histories", "testdata/loss/histories"} {
		result, err := audit.Run(nodes, []string{histories})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(result.Verdict())
		for _, fault := range result.Faults {
			fmt.Println(fault.Kind+":", fault.Text)
		}
	}
	// Output:
	// nothing is lost, nothing is there twice, nothing contradicts
	// 1 fault
	// loss: request 3 of connection 1.1.1 of trader-1 was answered as event 8, which is a disconnected event
}
