package bench

import (
	"fmt"
	"time"
)

// checker follows the numbers of one connection: they have to be 1, 2, 3, ... It belongs to the connection's receiver.
type checker struct {
	conn    uint64
	next    uint64 // number that has to come now, minus 1
	missing []span // numbers that were skipped, in order, at most missingMost spans
	faults  Faults
	first   string // the first violation in words
}

// Faults counts violations of one connection, or of a whole run.
type Faults struct {
	Gaps    uint64 // numbers that were skipped and did not come later
	Repeats uint64 // numbers that came again
	Reorder uint64 // numbers that came after a later one
	Foreign uint64 // frames of another connection
	Torn    uint64 // streams that lost their framing
	Short   uint64 // numbers that were published and had not come at the end
	Closed  uint64 // connections that ended before their time
	Early   uint64 // answers that came before their event was durable
}

// span is the numbers from..to.
type span struct{ from, to uint64 }

// missingMost bounds what a checker remembers; later numbers of forgotten spans count as repetitions.
const missingMost = 256

// frame judges one report.
func (c *checker) frame(r *Report) {
	if r.Conn != c.conn {
		c.faults.Foreign++
		c.note("a frame of connection %d (number %d)", r.Conn, r.Seq)
		return
	}
	if r.Seq == c.next+1 {
		c.next = r.Seq
		return
	}
	if r.Seq > c.next {
		c.faults.Gaps += r.Seq - c.next - 1
		c.note("number %d came after %d", r.Seq, c.next)
		if len(c.missing) < missingMost {
			c.missing = append(c.missing, span{c.next + 1, r.Seq - 1})
		}
		c.next = r.Seq
		return
	}
	if c.late(r.Seq) {
		c.faults.Gaps--
		c.faults.Reorder++
		return
	}
	c.faults.Repeats++
	c.note("number %d came again, the latest was %d", r.Seq, c.next)
}

// late takes n out of what is missing; false means it was not missing.
func (c *checker) late(n uint64) bool {
	for i := range c.missing {
		s := c.missing[i]
		if n < s.from || n > s.to {
			continue
		}
		left := append([]span(nil), c.missing[:i]...)
		if s.from < n {
			left = append(left, span{s.from, n - 1})
		}
		if n < s.to {
			left = append(left, span{n + 1, s.to})
		}
		c.missing = append(left, c.missing[i+1:]...)
		return true
	}
	return false
}

// early judges the time from the schedule to the arrival of a report, ns, where cursors lag by lag: it cannot be less.
func (c *checker) early(took, lag int64) {
	if lag > 0 && took < lag-clockSlack {
		c.faults.Early++
		c.note("an answer came %v after it was asked for, its event was durable after %v", time.Duration(took), time.Duration(lag))
	}
}

// clockSlack is how far the clocks of two processes may be apart, ns; see newClock.
const clockSlack = int64(20 * time.Microsecond)

// end compares with the number of reports that were published for the connection.
func (c *checker) end(published uint64) {
	if c.next < published {
		c.faults.Short += published - c.next
		c.note("%d of %d reports came", c.next, published)
	}
	if c.next > published {
		c.faults.Repeats += c.next - published
		c.note("number %d came, but only %d were published", c.next, published)
	}
}

// torn notes that the stream cannot be read any further.
func (c *checker) torn(err error) {
	c.faults.Torn++
	c.note("%v", err)
}

func (c *checker) note(format string, args ...any) {
	if c.first == "" {
		c.first = fmt.Sprintf("connection %d: ", c.conn) + fmt.Sprintf(format, args...)
	}
}

func (f *Faults) add(o Faults) {
	f.Gaps += o.Gaps
	f.Repeats += o.Repeats
	f.Reorder += o.Reorder
	f.Foreign += o.Foreign
	f.Torn += o.Torn
	f.Short += o.Short
	f.Closed += o.Closed
	f.Early += o.Early
}

// String lists the counts that are not 0.
func (f Faults) String() string {
	text := ""
	for _, c := range []struct {
		n    uint64
		name string
	}{
		{f.Gaps, "missing"}, {f.Repeats, "repeated"}, {f.Reorder, "out of order"}, {f.Foreign, "of another connection"},
		{f.Torn, "torn streams"}, {f.Short, "not delivered at the end"}, {f.Closed, "connections closed early"}, {f.Early, "answered before durable"},
	} {
		if c.n == 0 {
			continue
		}
		if text != "" {
			text += ", "
		}
		text += fmt.Sprintf("%d %s", c.n, c.name)
	}
	if text == "" {
		return "none"
	}
	return text
}
