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
	// valid until the next call of a method. A report leaves the node only
	// after the event that caused it is durable.
	Report(conn uint64) *R
	// Query returns the next answer slot, under the same rules as Report. Only
	// Application.Query and Publisher.Describe may call it.
	Query(conn uint64) *Q
	// Publish returns the next slot for all subscribers of a topic, under the same rules as
	// Report; every number is a topic. Of frames with the same key, a subscriber that does not keep
	// up, and wants the latest state only, may get the last one alone. The caller is not told
	// whether there are subscribers. Topic frames are not part of the digest of outputs. Only
	// methods that are given an event to execute may call it: Apply, Connected, Disconnected, Tick.
	Publish(topic, key uint64) *R
}

// Application is the deterministic state machine behind the sequencer. R is the type
// of its reports (what journaled events cause) and Q of its answers to queries; both
// are plain values without pointers, since their slots are reused.
//
// What else an application may do, it says by implementing further interfaces: Checker, Admitter,
// ConnectionObserver, Publisher, TopicNamer, Ticker, Versioned, Describer, Limited. What it does not implement is
// neither journaled nor queued.
//
// All methods of an instance except Requests, Checker.Check, TopicNamer.TopicName, Limited.Limits and
// Describer.DescribeRequest are called from one goroutine at a time. Those five look only at their arguments and at
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
	// Check is the cheap static validation before a request is sequenced: of its bytes, and of what
	// its client may do (ev.Client). An error is
	// answered with EngineError (malformed) and BatchEnd and the request goes no further.
	// The error's text is neither sent nor logged. Check must not depend on the state,
	// because it runs before the request's place in the order is known; what depends on
	// the state is an output of Apply. Seq and Time are 0.
	Check(ev *Event) error
}

// Admitter is an Application that bounds what a client uses of the state.
type Admitter interface {
	// Admit is called for a request that is to be journaled and has passed Check, right before
	// Apply: it sees the state that Apply will change, and changes nothing. An error is answered with
	// EngineError (quota) and BatchEnd, and the request leaves no event. A replay does not call it.
	// So it may depend on ev.Client. Its text is neither sent nor logged. Seq and Time are 0.
	Admit(ev *Event) error
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

// Publisher is an Application with topics that clients can subscribe to, see Emitter.Publish.
type Publisher[R, Q any] interface {
	// Describe emits the state of a topic to ev.Conn, in reports or answers: what a client needs in
	// order to understand the topic frames of later events. ev is the request, or one that takes its
	// place if the subscriber has missed frames: it has Conn, Identity, Seq and Time, as in Query.
	// It changes nothing. false refuses the subscription, because there is no such topic or not for
	// this client; what was emitted is then dropped. It is called for each Subscribe, including one
	// that goes on where the client left off, which drops what it emits, too. If it refuses a
	// subscriber that has missed frames, the subscription ends and the client is not told: let a
	// topic that has been described go on.
	Describe(ev *Event, topic uint64, out Emitter[R, Q]) bool
}

// TopicNamer is a Publisher whose topics have names, for operators.
type TopicNamer interface {
	// TopicName is the name of a topic in few characters, such as "depth/7"; empty for a number that
	// is no topic.
	TopicName(topic uint64) string
}

// Audience is an Emitter that knows whether there are subscribers. It spares an application the work of
// finding out what to publish. Nothing but calls of Publish may depend on the answer.
type Audience interface {
	// Subscribed reports whether any topic may have subscribers. If not, what is published during
	// this event is dropped.
	Subscribed() bool
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

// Limited is an Application with limits of its state, for operators: they are shown what is used.
type Limited interface {
	// Limits names the limits in a few characters, such as "orders".
	Limits() []string
	// Use writes what is used of each limit, in the order of Limits. It changes nothing, and is called
	// between two events, a few times a second.
	Use(of []Use)
}

// Use is what is used of a limit.
type Use struct{ Used, Limit uint64 }

// Deliver hands an event to the method of app that its kind names, and reports whether
// there is one: requests, and connections and ticks if app observes them. The events that
// concern the sequencer alone are not delivered. It is for programs that replay a journal
// with an emitter of their own. They call UseRules of a Versioned application themselves: at
// first with the version of the state that they begin with, 0 for an empty journal, then with
// that of each KindVersion.
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
