package sequencer_test

import (
	"fmt"

	"sluice/actors/sequencer"
)

// A request becomes an event of the journal, and is read back from it.
func Example_event() {
	event := sequencer.AppendEvent(nil,
		&sequencer.Request{Conn: 1<<40 + 1, Seq: 7, Role: sequencer.RoleTrader, Tag: 0x10,
			Body: []byte("buy")})
	fmt.Printf("%x\n", event)
	var req sequencer.Request
	err := sequencer.DecodeEvent(event, &req)
	fmt.Printf("connection %d.%d, request %d: %q %v\n", req.Conn>>40, req.Conn&(1<<40-1), req.Seq,
		req.Body, err)
	// Output:
	// 01021001000000000100000700000000000000627579
	// connection 1.1, request 7: "buy" <nil>
}
