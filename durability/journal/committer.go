package journal

import (
	"errors"
	"sync/atomic"

	"sluice/durability"
)

// Input is the source of the committer's events: the reading end of a byte ring. Only the
// committer's goroutine uses it.
type Input interface {
	Next() ([]byte, bool) // the next event, valid until Release; false when there is none now
	Release()             // releases all events that Next returned
	Done() bool           // closed and empty
}

// CommitterOptions configure a Committer.
type CommitterOptions struct {
	Writer *Writer // required; belongs to the committer from now on
	Input  Input   // required
	// Wait returns when there may be work: an event, the end of the input, or a snapshot
	// (Committer.Offered). Required; called on the committer's goroutine. It must check all three
	// after announcing that it is about to sleep.
	Wait func()
	// Wake ends a Wait; called by Offer on its caller's goroutine. nil if snapshots may wait until
	// the next event.
	Wake func()
	// OnPersisted is called with the last event on disk after each commit, on the committer's
	// goroutine. Required: it moves the persisted cursor.
	OnPersisted func(durability.Seq)
	// OnSnapshot is called with the result of each snapshot, on the committer's goroutine, but not
	// for one that a newer one replaced before its events were on disk. Optional.
	OnSnapshot func(durability.Seq, error)
	// MaxBatchBytes is the size at which a group commit ends, 0 for DefaultBatchBytes. A batch may
	// exceed it by one event.
	MaxBatchBytes int
}

// Committer is the loop of group commit: all events that arrived during one sync share the next
// one. Run blocks in fdatasync(2), so it needs a goroutine of its own.
type Committer struct {
	CommitterOptions
	offered atomic.Pointer[Snapshot] // written by any goroutine in Offer, taken by the committer's
	waiting *Snapshot                // taken, while its events are not on disk yet
	failed  error                    // of the first Run that failed
}

// NewCommitter checks the options and panics if they are invalid.
func NewCommitter(o CommitterOptions) *Committer {
	if o.Writer == nil || o.Input == nil || o.Wait == nil || o.OnPersisted == nil {
		panic("journal: CommitterOptions needs Writer, Input, Wait and OnPersisted")
	}
	if o.MaxBatchBytes == 0 {
		o.MaxBatchBytes = DefaultBatchBytes
	}
	if o.MaxBatchBytes < 1 || o.MaxBatchBytes > maxBatchLimit {
		panic("journal: CommitterOptions.MaxBatchBytes must be between 1 and 16 MiB")
	}
	return &Committer{CommitterOptions: o}
}

// Offer hands over a prepared snapshot; the committer installs it once its events are on disk. A
// newer offer replaces one that was not taken yet. Any goroutine. After Run returned it has no
// effect; Open removes the leftover file.
func (c *Committer) Offer(s *Snapshot) error {
	replaced := c.offered.Swap(s)
	if c.Wake != nil {
		c.Wake()
	}
	if replaced != nil {
		return replaced.Discard()
	}
	return nil
}

// Offered reports whether a snapshot waits to be taken. Any goroutine; meant for Wait.
func (c *Committer) Offered() bool { return c.offered.Load() != nil }

// Run commits until the input is done and then returns nil. If the journal fails, it returns the
// PoisonError (or ErrTooLarge, if the input contains a payload above MaxPayloadBytes). In either
// case nothing is persisted afterwards: another Run returns the same error. Events of the failed batch are not
// released.
func (c *Committer) Run() error {
	if c.failed == nil {
		c.failed = c.run()
	}
	return c.failed
}

func (c *Committer) run() error {
	for {
		if err := c.fill(); err != nil {
			return err
		}
		committing := c.Writer.Pending() > 0
		if committing {
			last, err := c.Writer.Commit()
			if err != nil {
				return err
			}
			c.Input.Release()
			c.OnPersisted(last)
		}
		if err := c.install(); err != nil {
			return err
		}
		if committing {
			continue
		}
		if c.Input.Done() {
			return nil
		}
		c.Wait()
	}
}

// fill moves available events into the pending batch, up to its limit.
func (c *Committer) fill() error {
	for c.Writer.Pending() < c.MaxBatchBytes {
		payload, ok := c.Input.Next()
		if !ok {
			break
		}
		if _, err := c.Writer.Append(payload); err != nil {
			return err
		}
	}
	return nil
}

func (c *Committer) install() error {
	if s := c.offered.Swap(nil); s != nil {
		if c.waiting != nil {
			if err := c.waiting.Discard(); err != nil {
				c.report(c.waiting.seq, err)
			}
		}
		c.waiting = s
	}
	s := c.waiting
	if s == nil || s.seq > c.Writer.Persisted() {
		return nil
	}
	c.waiting = nil
	err := c.Writer.Install(s)
	c.report(s.seq, err)
	if errors.Is(err, ErrPoisoned) {
		return err
	}
	return nil // the log is longer than necessary, and OnSnapshot was called with the error
}

func (c *Committer) report(seq durability.Seq, err error) {
	if c.OnSnapshot != nil {
		c.OnSnapshot(seq, err)
	}
}
