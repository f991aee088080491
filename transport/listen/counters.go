package listen

import (
	"sync/atomic"

	"sluice/transport"
)

// Counters is a snapshot of what a server counted since New, except for the two gauges.
type Counters struct {
	Accepted        uint64                       // connections accept4(2) returned
	AcceptErrors    uint64                       // accept4(2) failures of single connections, such as ECONNABORTED
	AcceptPauses    uint64                       // times accepting paused for want of descriptors or memory; clients wait in the backlog
	HandshakePauses uint64                       // times accepting paused because all places for handshakes were taken
	Requests        uint64                       // requests the handler took
	Heartbeats      uint64                       // heartbeats consumed
	Shed            uint64                       // requests above the connection's rate
	Bytes           uint64                       // bytes read from clients
	Truncated       uint64                       // connections whose peer closed in the middle of a frame
	Connected       uint64                       // connections the handler took
	Ended           [transport.NumReasons]uint64 // connections ended, by Reason

	Handshakes int64 // gauge: handshakes going on
	Live       int64 // gauge: connections the handler owns and a reader reads
}

// counters is the live form. Written by readers and acceptors, read by Server.Counters.
type counters struct {
	accepted, acceptErrors, acceptPauses, handshakePauses atomic.Uint64
	requests, heartbeats, shed, bytes, truncated, opened  atomic.Uint64
	ended                                                 [transport.NumReasons]atomic.Uint64
	handshakes, live                                      atomic.Int64
}

func (c *counters) snapshot() Counters {
	s := Counters{
		Accepted: c.accepted.Load(), AcceptErrors: c.acceptErrors.Load(), AcceptPauses: c.acceptPauses.Load(),
		HandshakePauses: c.handshakePauses.Load(), Requests: c.requests.Load(), Heartbeats: c.heartbeats.Load(),
		Shed: c.shed.Load(), Bytes: c.bytes.Load(), Truncated: c.truncated.Load(), Connected: c.opened.Load(),
		Handshakes: c.handshakes.Load(), Live: c.live.Load(),
	}
	for i := range c.ended {
		s.Ended[i] = c.ended[i].Load()
	}
	return s
}
