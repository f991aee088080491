package actors

import (
	"context"
	"encoding/binary"
	"io"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/durability"
	"sluice/encode"
	"sluice/transport"
)

// tick is the test application's report: numbered, of a chosen size, with a planted fault if
// requested.
type tick struct {
	n    uint64
	size int
	bad  fault
}

type fault uint8

const (
	faultNone fault = iota
	faultError
	faultPanic
	faultLarge
)

type tickEncoder struct{}

const tickTag = encode.TagApplication

func (tickEncoder) AppendReport(dst []byte, r *tick) ([]byte, error) {
	switch r.bad {
	case faultError:
		return nil, io.ErrUnexpectedEOF
	case faultPanic:
		panic("planted")
	}
	size := max(r.size, 13)
	if r.bad == faultLarge {
		size = 1 << 20
	}
	dst = binary.LittleEndian.AppendUint32(dst, uint32(size-4))
	dst = append(dst, tickTag)
	dst = binary.LittleEndian.AppendUint64(dst, r.n)
	for len(dst) < size {
		dst = append(dst, byte(r.n+uint64(len(dst))))
	}
	return dst, nil
}

func (tickEncoder) AppendQuery(dst []byte, q *struct{}) ([]byte, error) {
	return nil, io.ErrUnexpectedEOF
}

// stage is a running pipeline with a socket pair for each client.
type stage struct {
	*Pipeline[tick, struct{}]
	t       *testing.T
	cursors *durability.Cursors
	seq     uint64
}

func newStage(t *testing.T, mode transport.Mode, change func(*Config)) *stage {
	t.Helper()
	cfg := Config{Policy: durability.Local(), IO: mode, Shards: 2, Limits: []transport.Limits{lenient()}}
	if change != nil {
		change(&cfg)
	}
	cursors := durability.NewCursors(2)
	p, err := Open(cfg, tickEncoder{}, cursors)
	if err != nil {
		t.Fatal(err)
	}
	return &stage{Pipeline: p, t: t, cursors: cursors}
}

// client connects one end of a socket pair and returns the other.
func (s *stage) client(id uint64) *os.File {
	s.t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC,
		0)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.Connect(Conn{ID: id, FD: fds[0], WriteOnly: true}); err != nil {
		s.t.Fatal(err)
	}
	f := os.NewFile(uintptr(fds[1]), "client")
	s.t.Cleanup(func() { f.Close() })
	return f
}

// publish waits for room and publishes one report.
func (s *stage) publish(conn uint64, r tick, edit func(*Slot[tick, struct{}])) {
	s.t.Helper()
	var room []Slot[tick, struct{}]
	for room = s.Slots().Claim(1); room == nil; room = s.Slots().Claim(1) {
		runtime.Gosched()
	}
	s.seq++
	now := s.Now()
	room[0] = Slot[tick, struct{}]{Conn: conn, Seq: durability.Seq(s.seq), Received: now,
		Matched: now, Last: true, Report: r}
	if edit != nil {
		edit(&room[0])
	}
	s.Slots().Commit(1)
	s.Slots().Publish()
}

// expect reads n reports in order from first, each ended by BatchEnd.
func expect(t *testing.T, f *os.File, first, n uint64) {
	t.Helper()
	f.SetReadDeadline(time.Now().Add(patience))
	var head [4]byte
	for i := first; i < first+n; i++ {
		for _, want := range []byte{tickTag, 0x02} {
			if _, err := io.ReadFull(f, head[:]); err != nil {
				t.Fatalf("report %d: %v", i, err)
			}
			body := make([]byte, binary.LittleEndian.Uint32(head[:]))
			if _, err := io.ReadFull(f, body); err != nil {
				t.Fatalf("report %d: %v", i, err)
			}
			if body[0] != want {
				t.Fatalf("report %d: tag %#x, want %#x", i, body[0], want)
			}
			if want == tickTag && binary.LittleEndian.Uint64(body[1:]) != i {
				t.Fatalf("got report %d, want %d", binary.LittleEndian.Uint64(body[1:]), i)
			}
		}
	}
}

func drainAll(t *testing.T, s *stage) {
	t.Helper()
	s.Slots().Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	if n := s.Connections(); n != 0 {
		t.Fatalf("%d permits are still in use", n)
	}
}

func TestReportsArriveInOrder(t *testing.T) {
	s := newStage(t, transport.ModePoll, nil)
	clients := map[uint64]*os.File{}
	for id := uint64(1); id <= 8; id++ {
		clients[id] = s.client(id)
	}
	for i := range uint64(1000) {
		for id := range clients {
			s.publish(id, tick{n: i}, nil)
		}
		s.cursors.SetPersisted(durability.Seq(s.seq))
	}
	for _, f := range clients {
		expect(t, f, 0, 1000)
	}
	drainAll(t, s)
}
