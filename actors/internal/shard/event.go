package shard

import (
	"time"

	"sluice/transport"
)

// EventKind is what happened to a connection.
type EventKind uint8

const (
	EventNone       EventKind = iota // no event: a place in the mailbox whose event was handled
	EventConnect                     // a socket for the shard to own
	EventDisconnect                  // the reader has released the socket
	EventBusy                        // requests were shed; ServerBusy is sent at a frame boundary (R25)
	EventKick                        // end the connection
	EventRespond                     // a response that was not a slot
	EventList                        // a list of the shard's connections; FD is the shard
	EventSettle                      // the events before it have been handled; FD is the shard
)

// Event is one control event on its way from a pipeline method through control to a shard. Which
// fields are used depends on Kind.
type Event struct {
	Kind      EventKind
	Class     uint8            // connect: index of the limits that apply
	WriteOnly bool             // connect: the socket has no reader, so the shard may close it at once
	Reason    transport.Reason // disconnect, kick
	FD        int32            // connect
	Conn      uint64
	Hash      uint64
	Since     uint64           // connect: slots before this ring position belong to an earlier owner of the id
	Owed      uint64           // disconnect: requests accepted in all; busy: requests shed
	Heartbeat int64            // connect: interval in ns; 0 for that of the configuration
	Ack       func(error)      // connect, respond, settle: called once, on an actor's goroutine; must not block
	Frame     string           // respond, busy
	Sealer    transport.Sealer // connect: encrypts what is sent; nil for a plain connection
	List      *Listing         // list
}

// Shard is the number of the shard that the event is for.
func (ev *Event) Shard(shards int) int {
	if ev.Kind == EventList || ev.Kind == EventSettle {
		return int(ev.FD)
	}
	return transport.Shard(ev.Hash, shards)
}

// NoticeKind is what happened to a connection.
type NoticeKind uint8

const (
	NoticeClosed    NoticeKind = iota // the connection ended; Reason says why
	NoticeSlow                        // more than the soft limit is unsent, or the client takes nothing
	NoticeRecovered                   // the socket of a slow client has taken all that it was asked to
)

// Notice is what a shard tells about a connection, with the figures of that moment.
type Notice struct {
	Kind      NoticeKind
	Reason    transport.Reason
	Shard     int
	Conn      uint64
	At        int64         // monotonic ns
	Age       time.Duration // since Connect
	Blocked   time.Duration // for how long the socket has refused bytes; 0 = it does not
	Unsent    int           // bytes
	Responses int           // responds not fully sent
	Sent      uint64        // bytes
	Error     string        // of a response that could not be encoded; empty for another reason
}
