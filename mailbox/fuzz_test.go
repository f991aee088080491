package mailbox

import (
	"bytes"
	"testing"
)

// Each fuzz target interprets its input as a program: two bytes are an operation and its argument.
// The same program runs on the mailbox and on a model (a slice, or three counters), and they are
// compared after every operation.

func FuzzChain(f *testing.F) {
	f.Add([]byte{3, 2, 0, 3, 1, 2, 2, 0, 4, 2, 5, 1, 3, 0, 4, 9, 5, 9})
	f.Add([]byte{0, 0, 0, 1, 1, 1, 2, 0, 4, 1, 0, 1, 1, 1, 2, 0, 3, 0, 4, 1})
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) < 2 {
			return
		}
		capacity := 1 << (program[0] % 5)
		w, readers := NewChain[uint64](capacity, int(program[1]%3)+1)
		m := chainModel{t: t, w: w, readers: readers, capacity: uint64(capacity),
			released: make([]uint64, len(readers))}
		for program = program[2:]; len(program) >= 2; program = program[2:] {
			m.step(program[0], int(program[1]))
			m.compare()
		}
	})
}

// chainModel computes the expected cursors. A slot holds its position + 1, so that a zeroed slot is
// noticed.
type chainModel struct {
	t                             *testing.T
	w                             *Writer[uint64]
	readers                       []*Reader[uint64]
	capacity                      uint64
	committed, claimed, published uint64
	released                      []uint64
	closed                        bool
}

// upstream is the position up to which reader i may read.
func (m *chainModel) upstream(i int) uint64 {
	if i == 0 {
		return m.published
	}
	return m.released[i-1]
}

// run is the number of slots that an end gets if it asks for max slots from position on and owns
// all below limit.
func (m *chainModel) run(position, limit uint64, max int) int {
	if position >= limit {
		return 0
	}
	return int(min(limit-position, uint64(max), m.capacity-position%m.capacity))
}

func (m *chainModel) step(operation byte, argument int) {
	last := len(m.readers) - 1
	which := argument % len(m.readers)
	switch operation % 6 {
	case 0:
		if m.closed {
			return
		}
		claim := m.w.Claim(argument)
		if want := m.run(m.committed, m.released[last]+m.capacity, argument); len(claim) != want {
			m.t.Fatalf("Claim(%d) gave %d slots, want %d", argument, len(claim), want)
		}
		for i := range claim {
			claim[i] = m.committed + uint64(i) + 1
		}
		m.claimed = uint64(len(claim))
	case 1:
		n := min(uint64(argument), m.claimed)
		m.w.Commit(int(n))
		m.committed, m.claimed = m.committed+n, m.claimed-n
	case 2:
		m.w.Publish()
		m.published = m.committed
	case 3:
		if argument%16 == 0 && !m.closed {
			m.w.Close()
			m.published, m.claimed, m.closed = m.committed, 0, true
		}
	case 4:
		m.look(which, argument/8%16, argument%8)
	case 5:
		n := min(uint64(argument/4), m.upstream(which)-m.released[which])
		m.readers[which].Release(int(n))
		m.released[which] += n
	}
}

func (m *chainModel) look(which, skip, max int) {
	got := m.readers[which].Ahead(skip, max)
	from := m.released[which] + uint64(skip)
	if want := m.run(from, m.upstream(which), max); len(got) != want {
		m.t.Fatalf("reader %d: Ahead(%d, %d) gave %d slots, want %d", which, skip, max, len(got), want)
	}
	for i, v := range got {
		if v != from+uint64(i)+1 {
			m.t.Fatalf("reader %d: position %d holds %d", which, from+uint64(i), v)
		}
	}
}

func (m *chainModel) compare() {
	last := len(m.readers) - 1
	if m.w.Position() != m.committed || m.w.Published() != m.published ||
		m.w.Len() != int(m.published-m.released[last]) {
		m.t.Fatalf("writer at %d, %d, %d; want %d, %d, %d", m.w.Position(), m.w.Published(), m.w.Len(),
			m.committed, m.published, m.published-m.released[last])
	}
	for i, r := range m.readers {
		if r.Position() != m.released[i] || r.Len() != int(m.upstream(i)-m.released[i]) {
			m.t.Fatalf("reader %d at %d, %d; want %d, %d", i, r.Position(), r.Len(), m.released[i],
				m.upstream(i)-m.released[i])
		}
		if want := m.closed && m.released[i] == m.published; r.Done() != want {
			m.t.Fatalf("reader %d: Done %t, want %t", i, r.Done(), want)
		}
	}
}

func FuzzBytes(f *testing.F) {
	f.Add([]byte{1, 0, 20, 1, 20, 2, 0, 4, 0, 5, 0, 3, 0})
	f.Add([]byte{0, 0, 24, 1, 24, 0, 24, 1, 3, 2, 0, 4, 0, 5, 0, 0, 24, 1, 24, 2, 0, 4, 0, 4, 0, 3,
		0, 5, 0})
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) < 1 {
			return
		}
		w, r := NewBytes(64 << (program[0] % 3))
		m := bytesModel{t: t, w: w, r: r}
		for program = program[1:]; len(program) >= 2; program = program[2:] {
			m.step(program[0], int(program[1]))
		}
		m.finish()
	})
}

// bytesModel keeps copies of the records in order: those held by the reader, those published, and
// those only committed. Released ones are removed.
type bytesModel struct {
	t               *testing.T
	w               *BytesWriter
	r               *BytesReader
	records         [][]byte
	held, published int
	heldInPlace     [][]byte
	claim           []byte
	claiming        bool
	fill            byte
	closed          bool
}

func (m *bytesModel) step(operation byte, argument int) {
	switch operation % 6 {
	case 0:
		if m.closed {
			return
		}
		n := argument % (m.w.MaxRecord() + 1)
		m.claim = m.w.Claim(n)
		m.claiming = m.claim != nil
		if m.claiming && (len(m.claim) != n || cap(m.claim) != n) {
			m.t.Fatalf("Claim(%d) has length %d and capacity %d", n, len(m.claim), cap(m.claim))
		}
		if !m.claiming && len(m.records) == 0 {
			m.t.Fatalf("Claim(%d) refused by an empty ring of %d", n, m.w.Cap())
		}
		m.fill++
		for i := range m.claim {
			m.claim[i] = m.fill + byte(i)
		}
	case 1:
		if m.claiming {
			n := argument % (len(m.claim) + 1)
			m.records = append(m.records, bytes.Clone(m.claim[:n]))
			m.w.Commit(n)
			m.claiming = false
		}
	case 2:
		m.w.Publish()
		m.published = len(m.records)
	case 3:
		if argument%16 == 0 && !m.closed {
			m.w.Close()
			m.published, m.claiming, m.closed = len(m.records), false, true
		}
	case 4:
		m.next()
	case 5:
		m.release()
	}
	if want := m.closed && len(m.records) == 0; m.r.Done() != want {
		m.t.Fatalf("Done %t, want %t", m.r.Done(), want)
	}
	if used := m.r.Len(); used > m.w.Cap() || used%recordAlign != 0 ||
		(used == 0) != (m.published == 0) {
		m.t.Fatalf("%d bytes in use with %d records published", used, m.published)
	}
}

func (m *bytesModel) next() {
	got, ok := m.r.Next()
	if ok != (m.held < m.published) {
		m.t.Fatalf("Next is %t with %d records held of %d published", ok, m.held, m.published)
	}
	if ok {
		m.heldInPlace = append(m.heldInPlace, got)
		m.held++
	}
}

func (m *bytesModel) release() {
	for i, got := range m.heldInPlace { // They must be unchanged until now.
		if !bytes.Equal(got, m.records[i]) {
			m.t.Fatalf("held record %d reads %v, want %v", i, got, m.records[i])
		}
	}
	m.r.Release()
	m.records, m.published = m.records[m.held:], m.published-m.held
	m.heldInPlace, m.held = m.heldInPlace[:0], 0
}

// finish reads the remaining records; after that the largest record must fit.
func (m *bytesModel) finish() {
	m.step(2, 0)
	for m.held < m.published {
		m.next()
	}
	m.release()
	if !m.closed && m.w.Claim(m.w.MaxRecord()) == nil {
		m.t.Fatalf("no room for %d bytes in an empty ring of %d", m.w.MaxRecord(), m.w.Cap())
	}
}

func FuzzMPSC(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 0, 0, 1, 1, 2, 1, 1, 1})
	f.Add([]byte{0, 0, 0, 1, 0, 1, 0, 2, 0, 1, 1})
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) < 1 {
			return
		}
		capacity := 2 << (program[0] % 4)
		s, r := NewMPSC[*int](capacity)
		var model []*int
		closed := false
		for i, operation := range program[1:] {
			switch operation % 3 {
			case 0:
				v := &i
				want := !closed && len(model) < capacity
				if got := s.TrySend(v); got != want {
					t.Fatalf("TrySend %t with %d of %d, closed %t", got, len(model), capacity, closed)
				}
				if want {
					model = append(model, v)
				}
			case 1:
				v, ok := r.Recv()
				if ok != (len(model) > 0) || ok && v != model[0] || !ok && v != nil {
					t.Fatalf("Recv %v %t with %d in the model", v, ok, len(model))
				}
				if ok {
					model = model[1:]
				}
			case 2:
				if operation >= 192 {
					s.Close()
					closed = true
				}
			}
			if r.Len() != len(model) || s.Closed() != closed ||
				r.Done() != (closed && len(model) == 0) {
				t.Fatalf("Len %d, closed %t, done %t; want %d, %t", r.Len(), s.Closed(), r.Done(),
					len(model), closed)
			}
		}
	})
}
