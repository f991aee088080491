package listen

import (
	"sync/atomic"

	"sluice/transport"
)

// Counters is a snapshot of what a server counted since New, and of its gauges.
type Counters struct {
	Accepted        uint64                       // connections returned by accept4(2)
	AcceptErrors    uint64                       // accept4(2) failures of single connections, such as ECONNABORTED
	AcceptPauses    uint64                       // pauses of accepting because descriptors or memory ran out, until it went on
	HandshakePauses uint64                       // pauses of accepting because all places for handshakes were taken
	Requests        uint64                       // requests accepted by the handler
	Heartbeats      uint64                       // heartbeats consumed
	Shed            uint64                       // requests shed, above the rate of their connection
	Pauses          uint64                       // times a connection was paused because the handler had no room
	Bytes           uint64                       // bytes read from clients
	Truncated       uint64                       // connections closed by the peer within a frame
	Connected       uint64                       // connections accepted by the handler
	Ended           [transport.NumReasons]uint64 // connections ended, by Reason

	AcceptPaused int64 // gauge: endpoints that accept nothing because descriptors or memory ran out

	Handshakes int64 // gauge: handshakes in progress
	Live       int64 // gauge: connections owned by the handler and read by a reader
	Paused     int64 // gauge: connections that are not read until the handler has room; part of Live
}

// counters are the live counters, written by readers and acceptors and read by Server.Counters.
type counters struct {
	accepted, acceptErrors, acceptPauses, handshakePauses atomic.Uint64
	requests, heartbeats, shed, bytes, truncated, opened  atomic.Uint64
	pauses                                                atomic.Uint64
	ended                                                 [transport.NumReasons]atomic.Uint64
	handshakes, live, paused, acceptPaused                atomic.Int64
}

func (c *counters) snapshot() Counters {
	s := Counters{
		Accepted: c.accepted.Load(), AcceptErrors: c.acceptErrors.Load(), AcceptPauses: c.acceptPauses.Load(),
		HandshakePauses: c.handshakePauses.Load(), Requests: c.requests.Load(), Heartbeats: c.heartbeats.Load(),
		Shed: c.shed.Load(), Bytes: c.bytes.Load(), Truncated: c.truncated.Load(), Connected: c.opened.Load(),
		AcceptPaused: c.acceptPaused.Load(), Handshakes: c.handshakes.Load(), Live: c.live.Load(),
		Pauses: c.pauses.Load(), Paused: c.paused.Load(),
	}
	for i := range c.ended {
		s.Ended[i] = c.ended[i].Load()
	}
	return s
}
