package mailbox

import (
	"os"
	"strings"
	"testing"
)

// A model of the parking and closing protocol, explored exhaustively: a producer and a consumer
// over a ring of modelRoom slots, both of which sleep. At the end the producer either closes or
// only stops, because the wake-up of Close would hide one that was lost before. Every shared access
// is one step, and every order of the steps is tried. The steps are those of the code; the variants
// contain one possible mistake each. A schedule that a stress run hits once a month is found here
// in milliseconds. That the variants fail shows that the model detects them.

type variant int

const (
	asBuilt          variant = iota
	noRecheck                // the sleeper does not look again between Prepare and its sleep
	flagReadFirst            // the parking flag is read before the store and used after it
	wakeFirst                // Wake, then the store
	closedReadLast           // Done reads the position, then closed
	closeWithoutWake         // Close sets the flag without a wake-up
)

const (
	modelSlots = 4
	modelRoom  = 2
)

// model is one state: the shared memory, and for each process a program counter and the values it
// has read.
type model struct {
	published, released int8
	wakes               [2]int8 // tokens for consumer and producer
	parked              [2]bool // flags of consumer and producer
	closed              bool
	closes              bool // constant: whether the producer closes at the end

	pc                [2]int8 // consumer, producer; see step functions
	flag              [2]bool // result of Wake's load
	closedRead, empty bool    // values read by Done
}

const (
	consumer = 0
	producer = 1
	ended    = int8(99)
)

// wake is Signal.Wake of the other side, in two steps beginning at pc at; it continues at next.
func (m *model) wake(self int, at, next int8) {
	other := 1 - self
	switch {
	case m.pc[self] == at:
		m.flag[self] = m.parked[other]
		m.pc[self] = at + 1
	case m.flag[self] && m.parked[other]:
		m.parked[other], m.wakes[other] = false, 1
		m.pc[self] = next
	default:
		m.pc[self] = next
	}
}

// sleep is the end of parking: blocked until a token is there.
func (m *model) sleep(self int, next int8) bool {
	if m.wakes[self] == 0 {
		return false
	}
	m.wakes[self], m.parked[self] = 0, false
	m.pc[self] = next
	return true
}

// produce makes one step of the producer; false means it is blocked or has ended.
func (m *model) produce(v variant) bool {
	pc := &m.pc[producer]
	full := m.published-m.released == modelRoom
	switch *pc {
	case 0: // Claim; after the last slot, the end.
		switch {
		case m.published == modelSlots && m.closes:
			*pc = 30
		case m.published == modelSlots:
			*pc = ended
		case full:
			*pc = 10
		case v == flagReadFirst || v == wakeFirst:
			*pc = 21
		default:
			*pc = 20
		}
	case 10: // Prepare.
		m.parked[producer] = true
		*pc = 11
		if v == noRecheck {
			*pc = 12
		}
	case 11: // The re-check, and Cancel (which the other side cannot distinguish from a later step).
		*pc = 12
		if !full {
			m.parked[producer] = false
			*pc = 0
		}
	case 12:
		return m.sleep(producer, 0)
	case 20: // advance: the store, then Wake at 21 and 22.
		m.published++
		*pc = 21
	case 21, 22:
		if v == flagReadFirst && *pc == 22 {
			m.published++ // Between Wake's load and its swap.
		}
		m.wake(producer, 21, 0)
		if v == wakeFirst && *pc == 0 {
			*pc = 23
		}
	case 23:
		m.published++
		*pc = 0
	case 30:
		m.closed = true
		*pc = 31
		if v == closeWithoutWake {
			*pc = ended
		}
	case 31, 32:
		m.wake(producer, 31, ended)
	default:
		return false
	}
	return true
}

// consume makes one step of the consumer; false means it is blocked or has ended.
func (m *model) consume(v variant) bool {
	pc := &m.pc[consumer]
	empty := m.published == m.released
	switch *pc {
	case 0, 20: // Batch; at 20 as the re-check between Prepare and the sleep.
		switch {
		case empty:
			*pc += 3
		case *pc == 20:
			m.parked[consumer] = false
			*pc = 1
		default:
			*pc = 1
		}
	case 1: // Release and Wake.
		m.released++
		*pc = 40
	case 40, 41:
		m.wake(consumer, 40, 0)
	case 3, 23: // Done, first read.
		m.closedRead, m.empty = m.closed, empty
		*pc++
	case 4, 24: // Done, second read.
		if v == closedReadLast {
			m.closedRead = m.closed
		} else {
			m.empty = empty
		}
		done := m.closedRead && m.empty
		m.closedRead, m.empty = false, false
		switch {
		case done:
			m.parked[consumer] = false
			*pc = ended
		case *pc == 4:
			*pc = 10
		default:
			*pc = 30
		}
	case 10: // Prepare.
		m.parked[consumer] = true
		*pc = 20
		if v == noRecheck {
			*pc = 30
		}
	case 30:
		return m.sleep(consumer, 0)
	default:
		return false
	}
	return true
}

// explore tries every order of steps. It returns the number of states, the number of states in
// which both processes are blocked although not everything is read (or the end is not seen), and
// the number in which the consumer has ended with slots unread.
func explore(v variant) (states, stuck, lost int) {
	queue := []model{{closes: false}, {closes: true}}
	seen := map[model]bool{queue[0]: true, queue[1]: true}
	for len(queue) > 0 {
		m := queue[0]
		queue = queue[1:]
		states++
		blocked := true
		for _, step := range []func(*model, variant) bool{(*model).produce, (*model).consume} {
			next := m
			if !step(&next, v) {
				continue
			}
			blocked = false
			if !seen[next] {
				seen[next] = true
				queue = append(queue, next)
			}
		}
		if m.pc[consumer] == ended && m.released != modelSlots {
			lost++
		} else if blocked && (m.released != modelSlots || m.closes && m.pc[consumer] != ended) {
			stuck++
		}
	}
	return states, stuck, lost
}

func TestParkingModel(t *testing.T) {
	cases := []struct {
		name        string
		v           variant
		stuck, lost bool
	}{
		{"as built neither side sleeps for ever and nothing is lost", asBuilt, false, false},
		{"without the re-check a wake-up is lost", noRecheck, true, false},
		{"with the flag read before the store a wake-up is lost", flagReadFirst, true, false},
		{"with Wake before the store a wake-up is lost", wakeFirst, true, false},
		{"with closed read last a slot is lost", closedReadLast, false, true},
		{"with a close that does not wake, the consumer never ends", closeWithoutWake, true, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			states, stuck, lost := explore(c.v)
			t.Logf("%d states, %d stuck, %d lost", states, stuck, lost)
			if (stuck > 0) != c.stuck || (lost > 0) != c.lost {
				t.Errorf("%d states stuck, %d with loss; want stuck %t, loss %t", stuck, lost,
					c.stuck, c.lost)
			}
		})
	}
}

// TestModelMatchesCode pins the text of the functions whose order of operations the model
// verifies. A stress run may need an idle machine with two cores to detect a wrong order. To change
// one of them, change the model first.
func TestModelMatchesCode(t *testing.T) {
	cases := []struct{ name, file, function, body string }{
		{"the store comes before Wake, and nothing between", "cursor.go", "func handOver(",
			"word.Store(value)\n\tsignal.Wake()"},
		{"closed is read before the position", "cursor.go", "func drained(",
			"return closed.Load() && released == written.position.Load()"},
		{"the flag is read when Wake is called, and cleared by one caller", "signal.go",
			"func (s *Signal) Wake(",
			"if s != nil && s.parked.Load() != 0 && s.parked.Swap(0) != 0 {\n\t\ts.waker.Wake()\n\t}"},
		{"the flag is set before the ring is examined again", "wait.go",
			"func (w *Writer[T]) lookAgain(",
			"w.upstream.signal.Prepare()\n\treturn w.Claim(max), w.chain.ended.Load()"},
		{"a writer's wait for room is announced before the ring is examined again", "cursor.go",
			"func awaitRoom(", "upstream.signal.Prepare()\n\treturn upstream.position.Load()"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			source, err := os.ReadFile(c.file)
			if err != nil {
				t.Fatal(err)
			}
			_, rest, found := strings.Cut(string(source), "\n"+c.function)
			_, rest, _ = strings.Cut(rest, "{\n")
			body, _, _ := strings.Cut(rest, "\n}\n")
			var code []string
			for _, line := range strings.Split(body, "\n") {
				if !strings.HasPrefix(strings.TrimSpace(line), "//") {
					code = append(code, line)
				}
			}
			if got := strings.TrimSpace(strings.Join(code, "\n")); !found || got != c.body {
				t.Errorf("%s) in %s is\n\t%s\nthe model describes\n\t%s", c.function, c.file, got,
					c.body)
			}
		})
	}
}
