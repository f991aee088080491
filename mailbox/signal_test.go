package mailbox

import (
	"fmt"
	"strings"
	"testing"
)

func newToken() token { return make(token, 1) }

// wakeFunc is a waker that runs a function in the goroutine that calls Wake.
type wakeFunc func()

func (f wakeFunc) Wake() { f() }

// sleeper is a goroutine's Signal and the token on which it sleeps.
type sleeper struct {
	signal *Signal
	token  token
}

func newSleeper() *sleeper {
	t := newToken()
	return &sleeper{NewSignal(t), t}
}

// sleepUnless parks as Signal prescribes.
func (s *sleeper) sleepUnless(ready func() bool) {
	s.signal.Prepare()
	if ready() {
		s.signal.Cancel()
		return
	}
	<-s.token
}

// mustPanic runs f and checks that it panics with a text containing all parts.
func mustPanic(t *testing.T, f func(), parts ...string) {
	t.Helper()
	defer func() {
		t.Helper()
		text := fmt.Sprint(recover())
		for _, part := range parts {
			if !strings.Contains(text, part) {
				t.Errorf("panic %q does not contain %q", text, part)
			}
		}
	}()
	f()
}

func TestSignal(t *testing.T) {
	cases := []struct {
		name string
		do   func(s *Signal)
		want int // wake-ups
	}{
		{"an owner that is awake is not woken", func(s *Signal) { s.Wake() }, 0},
		{"an owner that prepared is woken", func(s *Signal) { s.Prepare(); s.Wake() }, 1},
		{"one Prepare causes one wake-up", func(s *Signal) { s.Prepare(); s.Wake(); s.Wake() }, 1},
		{"a cancelled Prepare causes none", func(s *Signal) { s.Prepare(); s.Cancel(); s.Wake() }, 0},
		{"two calls of Prepare cause one wake-up",
			func(s *Signal) { s.Prepare(); s.Prepare(); s.Wake() }, 1},
		{"every Prepare can be woken",
			func(s *Signal) { s.Prepare(); s.Wake(); s.Prepare(); s.Wake() }, 2},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			woken := 0
			c.do(NewSignal(wakeFunc(func() { woken++ })))
			if woken != c.want {
				t.Errorf("woken %d times, want %d", woken, c.want)
			}
		})
	}
	t.Run("Wake of a nil Signal does nothing", func(t *testing.T) { (*Signal)(nil).Wake() })
	t.Run("a nil Waker panics",
		func(t *testing.T) { mustPanic(t, func() { NewSignal(nil) }, "nil Waker") })
}

// mailboxes is one small mailbox of each kind.
type mailboxes struct {
	writer  *Writer[int]
	readers []*Reader[int]
	bytesW  *BytesWriter
	bytesR  *BytesReader
	sender  *Sender[int]
	recv    *Receiver[int]
}

func newMailboxes() *mailboxes {
	var m mailboxes
	m.writer, m.readers = NewChain[int](2, 2)
	m.bytesW, m.bytesR = NewBytes(64)
	m.sender, m.recv = NewMPSC[int](2)
	return &m
}

// TestHandOverIsVisibleBeforeWake looks at the mailbox from inside the wake-up, where the woken
// goroutine must find what it was woken for. If Wake is called before the store, or not at all, one
// of the cases fails.
func TestHandOverIsVisibleBeforeWake(t *testing.T) {
	fill := func(m *mailboxes) { m.writer.Commit(len(m.writer.Claim(2))) }
	cases := []struct {
		name  string
		setup func(m *mailboxes)
		watch func(m *mailboxes, s *Signal)
		do    func(m *mailboxes)
		found func(m *mailboxes) bool
	}{
		{"publish wakes the first reader", fill,
			func(m *mailboxes, s *Signal) { m.readers[0].SetSignal(s) },
			func(m *mailboxes) { m.writer.Publish() },
			func(m *mailboxes) bool { return len(m.readers[0].Batch(9)) == 2 }},
		{"release of the first reader wakes the second",
			func(m *mailboxes) { fill(m); m.writer.Publish() },
			func(m *mailboxes, s *Signal) { m.readers[1].SetSignal(s) },
			func(m *mailboxes) { m.readers[0].Release(2) },
			func(m *mailboxes) bool { return len(m.readers[1].Batch(9)) == 2 }},
		{"release of the last reader wakes the writer",
			func(m *mailboxes) { fill(m); m.writer.Publish(); m.readers[0].Release(2) },
			func(m *mailboxes, s *Signal) { m.writer.SetSignal(s) },
			func(m *mailboxes) { m.readers[1].Release(1) },
			func(m *mailboxes) bool { return len(m.writer.Claim(9)) == 1 }},
		{"close wakes the first reader", func(*mailboxes) {},
			func(m *mailboxes, s *Signal) { m.readers[0].SetSignal(s) },
			func(m *mailboxes) { m.writer.Close() },
			func(m *mailboxes) bool { return m.readers[0].Done() }},
		{"close wakes the second reader", func(*mailboxes) {},
			func(m *mailboxes, s *Signal) { m.readers[1].SetSignal(s) },
			func(m *mailboxes) { m.writer.Close() },
			func(m *mailboxes) bool { return m.readers[1].Done() }},
		{"publish wakes the reader of records",
			func(m *mailboxes) { m.bytesW.Claim(5); m.bytesW.Commit(5) },
			func(m *mailboxes, s *Signal) { m.bytesR.SetSignal(s) },
			func(m *mailboxes) { m.bytesW.Publish() }, func(m *mailboxes) bool { _, ok := m.bytesR.Next(); return ok }},
		{"release wakes the writer of records", func(m *mailboxes) {
			for range 2 {
				m.bytesW.Claim(24)
				m.bytesW.Commit(24)
			}
			m.bytesW.Publish()
			m.bytesR.Next()
		}, func(m *mailboxes, s *Signal) { m.bytesW.SetSignal(s) },
			func(m *mailboxes) { m.bytesR.Release() },
			func(m *mailboxes) bool { return m.bytesW.Claim(24) != nil }},
		{"close wakes the reader of records", func(*mailboxes) {},
			func(m *mailboxes, s *Signal) { m.bytesR.SetSignal(s) },
			func(m *mailboxes) { m.bytesW.Close() },
			func(m *mailboxes) bool { return m.bytesR.Done() }},
		{"send wakes the receiver", func(*mailboxes) {},
			func(m *mailboxes, s *Signal) { m.recv.SetSignal(s) },
			func(m *mailboxes) { m.sender.TrySend(1) }, func(m *mailboxes) bool { _, ok := m.recv.Recv(); return ok }},
		{"close wakes the receiver", func(*mailboxes) {},
			func(m *mailboxes, s *Signal) { m.recv.SetSignal(s) },
			func(m *mailboxes) { m.sender.Close() }, func(m *mailboxes) bool { return m.recv.Done() }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := newMailboxes()
			woken := 0
			s := NewSignal(wakeFunc(func() {
				woken++
				if !c.found(m) {
					t.Error("the goroutine was woken before there was anything to find")
				}
			}))
			c.watch(m, s)
			c.setup(m)
			if c.found(m) {
				t.Fatal("there is something to find before the step under test")
			}
			s.Prepare()
			c.do(m)
			if woken != 1 {
				t.Errorf("woken %d times, want 1", woken)
			}
		})
	}
}
