package actors

import (
	"time"

	"sluice/actors/internal/shard"
	"sluice/transport"
)

// NoticeKind is what happened to a connection.
type NoticeKind uint8

const (
	NoticeClosed    NoticeKind = iota // the connection ended; Reason says why
	NoticeSlow                        // more than the soft limit is unsent, or the client takes nothing
	NoticeRecovered                   // the socket of a slow client has taken all that it was sent
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

// ConnNotice is a notice about a connection, with its figures at that moment.
type ConnNotice struct {
	Kind      NoticeKind
	Reason    transport.Reason
	Shard     int
	Conn      uint64
	At        int64         // monotonic ns
	Age       time.Duration // since Connect
	Blocked   time.Duration // time for which the socket has refused bytes; 0 if it does not
	Unsent    int           // bytes
	Responses int           // responses not fully sent
	Sent      uint64        // bytes
	Error     string        // with ReasonEncodeError: of the encoder, 200 bytes of it at most
}

// noticeOf is a shard's notice as embedders see it.
func noticeOf(n *shard.Notice) ConnNotice {
	return ConnNotice{
		Kind: NoticeKind(n.Kind), Reason: n.Reason, Shard: n.Shard, Conn: n.Conn, At: n.At,
		Age: n.Age, Blocked: n.Blocked,
		Unsent: n.Unsent, Responses: n.Responses, Sent: n.Sent, Error: n.Error,
	}
}
