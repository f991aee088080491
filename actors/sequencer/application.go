package sequencer

import (
	"io"
)

// Emitter gives an application the slots for its outputs, so that an output is written
// once, where the pipeline reads it. A connection receives its slots in the order in
// which they were requested. The sequencer writes BatchEnd after the last of a
// request; an application never does.
type Emitter[R, Q any] interface {
	// Report returns the next report slot for connection conn, zeroed. The pointer is
	// valid until the next call of either method. A report leaves the node only
	// after the event that caused it is durable.
	Report(conn uint64) *R
	// Query returns the next answer slot, under the same rules as Report. Only
	// Application.Query may call it.
	Query(conn uint64) *Q
}

// Application is the deterministic state machine behind the sequencer. R is the type
// of its reports (what journaled events cause) and Q of its answers to queries; both
// are plain values without pointers, since their slots are reused.
//
// What else an application may do, it says by implementing further interfaces: Checker,
// ConnectionObserver, Ticker, Versioned, Describer. What it does not implement is
// neither journaled nor queued.
//
// All methods of an instance except Requests, Checker.Check and Describer.DescribeRequest are
// called from one goroutine at a time. Those three look only at their arguments and at
// configuration that never changes, and may be called from any goroutine. Another instance,
// from which snapshots are made, runs beside the one that serves, so instances share nothing
// that changes.
//
// Determinism is the contract: two instances that were restored from equal
// snapshots (or started empty with the same configuration) and were given the same
// events must produce the same outputs and the same snapshot, byte for byte. An
// application therefore reads no clock but Event.Time, no random source and no map in
// iteration order, and does no I/O outside Snapshot and Restore.
type Application[R, Q any] interface {
	// Requests lists the requests that the application takes. A request of any other tag,
	// of another size or of a lesser role is refused, and is given to no method.
	Requests() []RequestType

	// Apply executes one journaled request and emits what it caused, at least one report
	// to ev.Conn. Every request given to Apply passed the table and Check, when
	// it was sequenced or, in a replay, in the run that journaled it. During a replay no
	// output leaves the node.
	Apply(ev *Event, out Emitter[R, Q])

	// Query answers one query from the current state and changes nothing. Queries are not
	// journaled; they see the state between two events.
	Query(ev *Event, out Emitter[R, Q])

	// Snapshot writes the whole state to w. The state does not change meanwhile. Clients do
	// not wait for it.
	Snapshot(w io.Writer) error

	// Restore replaces the state by one that Snapshot wrote, and reads not a byte
	// more than Snapshot wrote. On an error the previous state is untouched and the
	// error says what is wrong with the data. It also runs beside the instance that serves:
	// make large slices at once, because while one of tens of megabytes is grown, Go cannot
	// stop the goroutine, and the garbage collector may hold up all others.
	Restore(r io.Reader) error
}

// Checker is an Application with a validation of its own, beyond tag, size and role.
type Checker interface {
	// Check is the cheap static validation before a request is sequenced. An error is
	// answered with EngineError (malformed) and BatchEnd and the request goes no further.
	// The error's text is neither sent nor logged. Check must not depend on the state,
	// because it runs before the request's place in the order is known; what depends on
	// the state is an output of Apply. Seq is 0.
	Check(ev *Event) error
}

// ConnectionObserver is an Application that observes the life of connections. Both are
// journaled events without a request: reports to ev.Conn are sent if the connection is
// still open, and no BatchEnd follows them.
type ConnectionObserver[R, Q any] interface {
	// Connected is called before the first request of a connection.
	Connected(ev *Event, out Emitter[R, Q])
	// Disconnected is called once for each Connected. No further request of that
	// connection follows. If the node ended first, it is called at the next start,
	// before any client is admitted.
	Disconnected(ev *Event, out Emitter[R, Q])
}

// Ticker is an Application that acts at a time, without a request.
type Ticker[R, Q any] interface {
	// NextTick is the time at which Tick is to be called, ns since 1970; 0 for none. It is
	// read after each event, and depends on nothing but the state. An interval is an addition.
	NextTick() int64
	// Tick is called once ev.Time is NextTick or later, before any request that comes then:
	// requests wait as long as NextTick is not in the future. On a node where nothing else
	// happens, a tick is up to 50 ms late.
	Tick(ev *Event, out Emitter[R, Q])
}

// Versioned is an Application whose rules may change from one program to the next: the
// same event may have other outputs. The version in force is journaled and part of
// snapshots. The version of an application that is not Versioned is 0.
type Versioned interface {
	// Version is the version of the rules that this program uses for new events.
	Version() uint32
	// UseRules makes the application follow the rules of a version from the next event
	// on. It is called in a replay only: before an event of another version than the one in
	// use, for the version of a snapshot that is newer than Version, and at the end with
	// Version. Frames are part of the rules, because they are part of the digest of all
	// outputs: the encoder follows too. It is shared by instances that follow different
	// rules at the same time, so the reports tell it, for example in a field. On an error,
	// which says which versions the program has, the replay ends.
	UseRules(version uint32) error
}

// Describer is an Application that can put a request in words, for listings of a journal.
type Describer interface {
	// DescribeRequest is one line about a request, which may be malformed.
	DescribeRequest(tag uint8, body []byte) string
}

// Deliver hands an event to the method of app that its kind names, and reports whether
// there is one: requests, and connections and ticks if app observes them. The events that
// concern the sequencer alone are not delivered. It is for programs that replay a journal
// with an emitter of their own.
func Deliver[R, Q any](app Application[R, Q], ev *Event, out Emitter[R, Q]) bool {
	switch ev.Kind {
	case KindRequest:
		app.Apply(ev, out)
		return true
	case KindConnected, KindDisconnected:
		if o, ok := app.(ConnectionObserver[R, Q]); ok {
			if ev.Kind == KindConnected {
				o.Connected(ev, out)
			} else {
				o.Disconnected(ev, out)
			}
			return true
		}
	case KindTick:
		if t, ok := app.(Ticker[R, Q]); ok {
			t.Tick(ev, out)
			return true
		}
	}
	return false
}
