package actors

import (
	"time"

	"sluice/transport"
)

// eventKind is what happened to a connection.
type eventKind uint8

const (
	eventConnect    eventKind = iota // a socket for the shard to own
	eventDisconnect                  // the reader let go of the socket
	eventBusy                        // a request was shed: tell the client at a frame boundary (R25)
	eventKick                        // end the connection
	eventAnswer                      // a frame that answers a request and was no slot
	eventList                        // figures of a shard's connections; fd is the shard
)

// event is one control event on its way: pipeline method -> control -> shard.
type event struct {
	kind   eventKind
	class  uint8            // connect: which limits
	alone  bool             // connect: nobody reads the socket, so the shard may close it at once
	reason transport.Reason // disconnect, kick
	fd     int32            // connect
	conn   uint64
	hash   uint64
	since  uint64      // connect: slot-ring position; older slots belong to an earlier connection of this id
	owed   uint64      // disconnect: requests accepted in all; busy: requests shed
	ack    func(error) // connect, answer: called once on an actor's goroutine, must not block
	frame  string      // answer
	list   *listing    // list
}

// shard is where the event goes.
func (ev *event) shard(shards int) int {
	if ev.kind == eventList {
		return int(ev.fd)
	}
	return transport.Shard(ev.hash, shards)
}

// NoticeKind is what a shard has to tell about a connection.
type NoticeKind uint8

const (
	NoticeClosed    NoticeKind = iota // the connection ended; Reason says why
	NoticeSlow                        // the client holds back more than the soft limit, or takes nothing
	NoticeRecovered                   // the socket of a slow client has taken all that it was asked to
)

// String returns the kind as it is logged.
func (k NoticeKind) String() string {
	switch k {
	case NoticeClosed:
		return "closed"
	case NoticeSlow:
		return "slow"
	case NoticeRecovered:
		return "recovered"
	}
	return "unknown"
}

// Notice is what a shard tells about a connection, with the figures of that moment.
type Notice struct {
	Kind    NoticeKind
	Reason  transport.Reason
	Shard   int
	Conn    uint64
	At      int64         // monotonic ns
	Age     time.Duration // since Connect
	Blocked time.Duration // for how long the socket has refused bytes; 0 = it does not
	Unsent  int           // bytes
	Answers int           // answers not fully sent
	Sent    uint64        // bytes
}
