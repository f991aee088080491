package top_test

import (
	"os"

	"sluice/actors/node/observe/status"
	"sluice/cmd/internal/top"
)

func ExampleWriteFrame() {
	s := &status.Snapshot{
		Status: status.Status{
			State: "ready", Engine: "uring", Policy: "persisted>=1", PolicyName: "local",
			Clients: 64, Sequenced: 81234, Persisted: 81234, Up: 61,
		},
		Points: []status.Point{{N: 1, Requests: 12345, Events: 12345, Commits: 310, Released: 24690,
			Encoded: 24690, Responses: 24690, Bytes: 1.5e6}},
	}
	_ = top.WriteFrame(os.Stdout, s, top.Frame{Width: 80, Height: 6})
	// Output:
	// sluice  ready  clients 64  event 81,234  up 61 s  engine uring  policy local
	// readers      > sequencer  > gate       > encoder    > egress     > sockets
	// 12,345/s       12,345/s     24,690/s     24,690/s     24,690/s     1.43 MiB/s
	// waiting:       0 B          0            0            0 B          0 B
	// journal: 310 syncs/s
	// gate: open to persisted>=1
}
