package sequencer

import (
	"encoding/binary"
	"fmt"

	"sluice/transport/listen"
)

// EventVersion is the version byte that a journaled event begins with. A program reads no other.
const EventVersion = 2

// EventHeader is the size in bytes of an event without its body.
const EventHeader = 32

// MaxIdentity is the largest number of an identity.
const MaxIdentity = 1<<24 - 1

// Kind is what an event is.
type Kind uint8

const (
	KindRequest      Kind = 1 // of a client
	KindConnected    Kind = 2 // a connection begins
	KindDisconnected Kind = 3 // a connection has ended: no further request of it follows
	KindTick         Kind = 4 // the time that the application asked for
	KindCheckpoint   Kind = 5 // the digest of all outputs so far; see Event.Checkpoint
	KindIdentity     Kind = 6 // a number for a key; see Event.Introduced
	KindVersion      Kind = 7 // of the application's rules from here on; see Event.Rules
	KindSkip         Kind = 8 // an operator had an event left out; see Event.Skipped
	KindPolicy       Kind = 9 // the durability policy from here on; see Event.Policy
)

const kindLast = KindPolicy

func (k Kind) known() bool { return k > 0 && k <= kindLast }

func (k Kind) String() string {
	if !k.known() {
		return fmt.Sprintf("kind %d", uint8(k))
	}
	return [...]string{"", "request", "connected", "disconnected", "tick", "checkpoint", "identity",
		"version", "skip", "policy"}[k]
}

// bodySize is the size in bytes of the body of a kind, -1 for any.
func (k Kind) bodySize() int {
	return [...]int{-1, -1, 0, 0, 0, 16, 12, 4, 8, -1}[k]
}

// Identity is the owner of a connection.
type Identity struct {
	Number uint32  // the same for every connection of a key, in every run; 0 without a key
	Role   uint8   // RoleReadonly, ...; 0 for an event without a client
	Key    [8]byte // fingerprint of the public key, zero without one
}

// Event is one entry of the journal, or a request on its way there.
type Event struct {
	// Seq is the number of the event in the journal. It is 0 in Check and Admit, and in Query and
	// Describe that of the last event applied.
	Seq uint64
	// Time is ns since 1970, the only clock an application may read. It never falls, and is
	// the same in a replay. It is 0 in Check and Admit, and in Query and Describe the present.
	Time int64
	Kind Kind
	// Conn is the connection of the event, never 0 for a client. A replay sees the number the
	// first run saw. Applications remember it to report later events to it; therefore a number
	// is never given to a second connection, including after a restart, or another client would
	// receive those reports. Reports to a connection that is gone are dropped.
	Conn uint64
	// Request is the client's own number of the request, not interpreted; 0 for other kinds.
	Request  uint64
	Identity Identity
	// Client is who sent the request, with what its key may do now. It is there in Check, Admit, Query
	// and Publisher.Describe, and nil for a client without a key. Everywhere else it is nil, because a replay
	// does not know it: what an event causes must not depend on it.
	Client *listen.Identity
	// Tag is the type of a request, 0x10 to 0x2F, or wire.TagExtended in Publisher.Describe; 0 for other
	// kinds.
	Tag uint8
	// Body is what follows the tag of a request. It belongs to the caller and is valid only
	// during the call; an application that wants to keep bytes copies them.
	Body []byte
}

// A journaled event, little-endian:
//
//	offset  size  field
//	0       1     version, 2
//	1       1     kind
//	2       1     flags, 0; bit 0 is reserved for sessions
//	3       1     role of the identity at that time
//	4       1     tag of a request, else 0
//	5       3     number of the identity; 0 without a key and without a client
//	8       8     time, ns since 1970
//	16      8     connection, 0 without one
//	24      8     request number of the client, 0 for other kinds
//	32      ...   body, to the end of the event
//
// Its sequence number is its place in the journal and is not repeated here, and the key of its
// identity is in an event before it. Fields have fixed places, because the reader of a connection
// writes the event once, and from there on it is only copied.

// Offsets of what the queue and the sequencer fill in.
const (
	kindAt = 1
	timeAt = 8
)

// AppendEvent appends the journal's form of an event to dst. Seq and Identity.Key are not part of it.
func AppendEvent(dst []byte, ev *Event) []byte {
	le := binary.LittleEndian
	dst = append(dst, EventVersion, byte(ev.Kind), 0, ev.Identity.Role)
	dst = le.AppendUint32(dst, uint32(ev.Tag)|ev.Identity.Number<<8)
	dst = le.AppendUint64(dst, uint64(ev.Time))
	dst = le.AppendUint64(dst, ev.Conn)
	dst = le.AppendUint64(dst, ev.Request)
	return append(dst, ev.Body...)
}

// DecodeEvent reads an event of the journal into ev, every field of which is overwritten: Seq,
// Identity.Key and Client with zero, because the event does not have them. Body points into event. It does not
// judge the body of a request.
func DecodeEvent(event []byte, ev *Event) error {
	if len(event) == 0 {
		return fmt.Errorf("sequencer: event is empty; an event has at least %d bytes", EventHeader)
	}
	if v := event[0]; v != EventVersion {
		return fmt.Errorf("sequencer: event has version %d, this program reads version %d; start "+
			"the program that wrote it", v, EventVersion)
	}
	if len(event) < EventHeader {
		return fmt.Errorf("sequencer: event has %d bytes; an event has at least %d", len(event),
			EventHeader)
	}
	le := binary.LittleEndian
	word := le.Uint32(event[4:])
	ev.Seq, ev.Time = 0, int64(le.Uint64(event[timeAt:]))
	ev.Kind, ev.Tag = Kind(event[kindAt]), uint8(word)
	ev.Conn, ev.Request = le.Uint64(event[16:]), le.Uint64(event[24:])
	ev.Identity, ev.Client = Identity{Number: word >> 8, Role: event[3]}, nil
	ev.Body = event[EventHeader:]
	if ev.Kind == KindRequest && event[2] == 0 {
		return nil
	}
	return ev.validate(event[2])
}

// validate checks what is rarely wrong.
func (ev *Event) validate(flags uint8) error {
	switch {
	case flags != 0:
		return fmt.Errorf("sequencer: event has flags 0x%02x, this program knows none; start the "+
			"program that wrote it, or a newer one", flags)
	case !ev.Kind.known():
		return fmt.Errorf("sequencer: event has kind %d, this program knows 1 to %d; start the "+
			"program that wrote it, or a newer one", uint8(ev.Kind), uint8(kindLast))
	}
	if size := ev.Kind.bodySize(); size >= 0 && len(ev.Body) != size {
		return fmt.Errorf("sequencer: %s event has a body of %d bytes; it must have %d", ev.Kind,
			len(ev.Body), size)
	}
	if ev.Kind == KindPolicy {
		if _, err := parsePolicy(ev.Body); err != nil {
			return fmt.Errorf("sequencer: policy event: %w", err)
		}
	}
	return nil
}
