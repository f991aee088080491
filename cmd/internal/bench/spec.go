package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Spec is one run, as the parent tells it to the child.
type Spec struct {
	Server      string // one of serverNames
	IO          string // engine of the pipeline: uring, poll or auto
	Net         string // "tcp" or "unix"
	Socket      string // path for unix
	Congestion  string // TCP_CONGESTION of both sides, tcp(7); empty leaves the kernel's default
	Connections int
	Stalled     int // connections that never read, of Connections
	Rate        int // frames per second; 0 is as fast as possible
	Frame       int // bytes
	Shards      int
	Placement   string
	Idle        string
	Flush       int    // bytes of one connection that queue a send at once; 0 is the default
	Batch       int    // slots that gate and encoder take in a step; 0 is the default
	Policy      string // of sluice; the others know local only, and a lag means the same to both
	Lag         time.Duration
	Pick        string // order of connections: "random" or "turn"
	Burst       int    // frames published together; 0 is one, at high rates what is due every 100 us
	Repeat      int    // frames in a row for the same connection
	Churn       int    // further clients that connect, take a few frames and leave, a second
	Hiccups     bool   // tell the host's hiccups from the rest
	Dir         string // directory whose file system the journal of "orders" and the file of "fdatasync" lie on
	Profile     string // file for a CPU profile of the child, empty for none
	Warm, Run   time.Duration
	Window      int // frames published and not yet received at most, when Rate is 0
}

// span returns the bounds of the measured time for a run that begins at begin.
func (s *Spec) span(begin int64) (from, to int64) {
	from = begin + int64(s.Warm)
	return from, from + int64(s.Run)
}

// tick is the time between two publications of the schedule: one frame at low rates, bursts above tickLeast. Real
// applications answer in bursts too, since they are fed by a journal that commits in groups.
func (s *Spec) tick() (every time.Duration, burst float64) {
	if s.Burst > 0 {
		return time.Duration(float64(s.Burst) / float64(s.Rate) * float64(time.Second)), float64(s.Burst)
	}
	every = max(time.Second/time.Duration(s.Rate), tickLeast)
	return every, float64(s.Rate) * every.Seconds()
}

// tickLeast is the shortest tick; shorter ones would measure the timer.
const tickLeast = 100 * time.Microsecond

// Messages between the processes, one JSON value a line.
type (
	// listening says where the child's server listens.
	listening struct{ Address string }
	// ready says that every client is connected; it fails when Error is not empty.
	ready struct {
		Engine string
		Error  string
	}
	// begin starts the schedule.
	begin struct{ At int64 }
)

// ChildReport is what the child measured.
type ChildReport struct {
	Error     string
	Usage     Usage    // within the measured time
	Counts    Counts   // within the measured time
	Published []uint64 // in all, by connection
	InTime    uint64   // published within the measured time
	LateP50   int64    // how much later than the schedule wanted slots were published, ns
	LateP99   int64
	LateMax   int64
	WaitRing  int64 // time the producer waited for the server to take slots, ns; within the measured time
	WaitPeer  int64 // time it waited for the receivers, ns
	Idle      int64 // resident memory of the process before the first client came, bytes
}

// Counts are what a server did.
type Counts struct {
	Frames  uint64 // whose last byte the kernel took
	Bytes   uint64
	Sends   uint64 // sends that took bytes, or writes
	Refused uint64 // sends that took none
	Submits uint64 // hand-overs of requests to the kernel that a send can share
	Parks   uint64 // times an actor went to sleep
	Polls   uint64
	Closed  uint64 // connections the server closed
}

func (c Counts) minus(o Counts) Counts {
	return Counts{c.Frames - o.Frames, c.Bytes - o.Bytes, c.Sends - o.Sends, c.Refused - o.Refused,
		c.Submits - o.Submits, c.Parks - o.Parks, c.Polls - o.Polls, c.Closed - o.Closed}
}

// hello is what a client sends when it has connected: its index, and whether it will never read.
type hello struct {
	index   uint32
	stalled bool
}

const helloSize = 5

func (h hello) bytes() []byte {
	b := []byte{byte(h.index), byte(h.index >> 8), byte(h.index >> 16), byte(h.index >> 24), 0}
	if h.stalled {
		b[4] = 1
	}
	return b
}

func parseHello(b []byte) hello {
	return hello{uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24, b[4] == 1}
}

// link carries the messages.
type link struct {
	in  *json.Decoder
	out *json.Encoder
}

func newLink(r io.Reader, w io.Writer) *link { return &link{json.NewDecoder(r), json.NewEncoder(w)} }

func (l *link) take(message any) error {
	if err := l.in.Decode(message); err != nil {
		return fmt.Errorf("bench: the other process sent no %T: %w", message, err)
	}
	return nil
}

func (l *link) give(message any) error {
	if err := l.out.Encode(message); err != nil {
		return fmt.Errorf("bench: telling the other process %T: %w", message, err)
	}
	return nil
}
