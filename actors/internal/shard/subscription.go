package shard

import "fmt"

// Mode is what happens to a subscriber that does not keep up. See actors.Mode.
type Mode uint8

const (
	ModeRecover Mode = iota // a Gap and, once it reads, a new snapshot
	ModeEvery               // it is closed
	ModeLatest              // the newest frame of each key
)

// String returns the text form.
func (m Mode) String() string {
	switch m {
	case ModeRecover:
		return "recover"
	case ModeEvery:
		return "every"
	case ModeLatest:
		return "latest"
	}
	return fmt.Sprintf("mode(%d)", uint8(m))
}

// FeedbackKind is what a Feedback reports.
type FeedbackKind uint8

const (
	FeedbackGone   FeedbackKind = iota + 1 // Conn has no subscriptions any more
	FeedbackResync                         // Conn needs a snapshot of Topic
)

// Feedback is what a shard reports to the producer about a subscriber.
type Feedback struct {
	Kind  FeedbackKind
	Mode  Mode   // FeedbackResync
	Conn  uint64 // connection id
	Topic uint64 // FeedbackResync
}
