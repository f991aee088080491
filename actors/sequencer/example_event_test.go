package sequencer_test

import (
	"fmt"
	"time"

	"sluice/actors/sequencer"
)

// A request becomes an event of the journal, and is read back from it.
func Example_event() {
	event := sequencer.AppendEvent(nil, &sequencer.Event{
		Kind: sequencer.KindRequest, Time: time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC).UnixNano(),
		Conn: 1<<40 + 1, Request: 7, Identity: sequencer.Identity{Number: 3, Role: sequencer.RoleTrader},
		Tag: 0x10, Body: []byte("buy"),
	})
	fmt.Printf("%x\n", event)
	var ev sequencer.Event
	err := sequencer.DecodeEvent(event, &ev)
	fmt.Printf("%s %d of connection %d.%d: %q %v\n", ev.Kind, ev.Request, ev.Conn>>40,
		ev.Conn&(1<<40-1), ev.Body, err)
	// Output:
	// 020100021003000000001fcf690cec1801000000000100000700000000000000627579
	// request 7 of connection 1.1: "buy" <nil>
}
