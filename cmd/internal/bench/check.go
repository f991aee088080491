package bench

import (
	"fmt"
	"time"
)

// checker checks the numbers of one connection, which must be 1, 2, 3, ... It belongs to the
// connection's receiver.
type checker struct {
	conn    uint64
	next    uint64 // last number in order
	missing []span // skipped numbers, in order, at most missingMost spans
	faults  Faults
	first   string // description of the first violation
}

// Faults counts violations of one connection, or of a whole run.
type Faults struct {
	Gaps    uint64 // skipped numbers that did not arrive later
	Repeats uint64 // numbers that arrived again
	Reorder uint64 // numbers that arrived after a later one
	Foreign uint64 // frames of another connection
	Torn    uint64 // streams whose framing was lost
	Short   uint64 // published numbers that had not arrived at the end
	Closed  uint64 // connections that ended early
	Early   uint64 // responses that arrived before their event was durable
}

// span is the numbers from..to.
type span struct{ from, to uint64 }

// missingMost bounds the memory of a checker. Late numbers of dropped spans count as repetitions.
const missingMost = 256

// frame checks one report.
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
		c.note("number %d arrived after %d", r.Seq, c.next)
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
	c.note("number %d arrived again, the latest was %d", r.Seq, c.next)
}

// late removes n from the missing numbers. It reports false if n was not missing.
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

// early checks the time from schedule to arrival of a report, ns, against the lag of the cursors.
func (c *checker) early(took, lag int64) {
	if lag > 0 && took < lag-clockSlack {
		c.faults.Early++
		c.note("a response arrived %v after its schedule, but its event was durable after %v",
			time.Duration(took), time.Duration(lag))
	}
}

// clockSlack is the most by which the clocks of two processes differ, ns; see newClock.
const clockSlack = int64(20 * time.Microsecond)

// end compares the last number with the number of reports published for the connection.
func (c *checker) end(published uint64) {
	if c.next < published {
		c.faults.Short += published - c.next
		c.note("%d of %d reports arrived", c.next, published)
	}
	if c.next > published {
		c.faults.Repeats += c.next - published
		c.note("number %d arrived, but only %d were published", c.next, published)
	}
}

// torn records that the stream cannot be read any further.
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
		{f.Gaps, "missing"}, {f.Repeats, "repeated"}, {f.Reorder, "out of order"},
		{f.Foreign, "of another connection"},
		{f.Torn, "torn streams"}, {f.Short, "not delivered at the end"},
		{f.Closed, "connections closed early"}, {f.Early, "answered before durable"},
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
