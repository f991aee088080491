package status_test

import (
	"os"

	"sluice/actors/node/observe/status"
)

func ExampleStatus() {
	s := &status.Status{
		State: "ready", Ready: true, Up: 61,
		Engine: "uring", Engines: []string{"uring", "poll"}, Note: "io_uring is in use.",
		Policy: "persisted>=1", PolicyName: "local",
		Verdict: "waits for journal: needs persisted>=1 at 81234, is at 81200",
		Gate: status.Gate{Waiting: true, Wedged: true, Event: 81234, Seconds: 1.25,
			Why: "waits for journal: needs persisted>=1 at 81234, is at 81200"},
		Nodes:   []status.Node{{ID: 0, Everything: true, Persisted: 81200}},
		Clients: 64, Sequenced: 81234, Persisted: 81200,
	}
	_ = s.WriteLine(os.Stdout)
	_ = s.WriteReadiness(os.Stdout)
	// Output:
	// ready; 64 clients, 0 blocked, 0 paused; policy local, persisted>=1; gate WEDGED for 1s (waits for journal: needs persisted>=1 at 81234, is at 81200); event 81234; engine uring (compiled in: uring, poll); up 1m1s
	// ready
	// policy local, persisted>=1, degraded 0s in all
	// gate WEDGED for 1s (waits for journal: needs persisted>=1 at 81234, is at 81200)
	// io_uring is in use.
}
