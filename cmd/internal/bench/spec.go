package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Spec describes one run. The parent sends it to the child.
type Spec struct {
	Server      string // one of serverNames
	IO          string // engine of the pipeline: uring, poll or auto
	Net         string // "tcp", "unix" or "tls", which is TLS over TCP
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
	Policy      string // policy of sluice; other servers know local only
	Lag         time.Duration
	Pick        string // order of connections: "random" or "turn"
	Burst       int    // frames published together; 0 is one, or at high rates those due every 100 us
	Repeat      int    // frames in a row for the same connection
	Churn       int    // additional clients per second that connect, receive a few frames and disconnect
	Hiccups     bool   // measure hiccups of the host
	Dir         string // directory of the journal of "orders" and the file of "fdatasync"
	Profile     string // file for a CPU profile of the child, empty for none
	Warm, Run   time.Duration
	Window      int // most frames in flight if Rate is 0
	Fan         Fan // topics, of which Rate is the number of frames per second
}

// span returns the bounds of the measured time for a run that begins at begin.
func (s *Spec) span(begin int64) (from, to int64) {
	from = begin + int64(s.Warm)
	return from, from + int64(s.Run)
}

// tick returns the interval of publications and the frames of each: one frame at low rates, a burst
// every tickLeast at high rates. Real applications respond in bursts too, because their journal
// commits in groups.
func (s *Spec) tick() (every time.Duration, burst float64) {
	if s.Burst > 0 {
		return time.Duration(float64(s.Burst) / float64(s.Rate) * float64(time.Second)), float64(s.Burst)
	}
	every = max(time.Second/time.Duration(s.Rate), tickLeast)
	return every, float64(s.Rate) * every.Seconds()
}

// tickLeast is the shortest tick. Shorter ones would measure the timer.
const tickLeast = 100 * time.Microsecond

// Messages between the processes, one JSON value per line.
type (
	// listening has the address of the child's server.
	listening struct{ Address string }
	// ready reports that every client is connected, or an error.
	ready struct {
		Engine string
		Error  string
	}
	// begin starts the schedule.
	begin struct{ At int64 }
)

// ChildReport has the measurements of the child.
type ChildReport struct {
	Error     string
	Usage     Usage    // within the measured time
	Counts    Counts   // within the measured time
	Published []uint64 // slots published in all, by connection; without topic frames
	Topics    []uint64 // topic frames published in all, by topic
	InTime    uint64   // slots published within the measured time
	LateP50   int64    // lateness of publication relative to the schedule, ns
	LateP99   int64
	LateMax   int64
	WaitRing  int64 // time that the producer waited for the server to take slots, within the measured time, ns
	WaitPeer  int64 // time that it waited for the receivers, ns
	Idle      int64 // resident memory of the process before the first client, bytes
}

// Counts are the counters of a server.
type Counts struct {
	Frames  uint64 // frames whose last byte the kernel accepted
	Bytes   uint64
	Sends   uint64 // sends or writes that took bytes
	Refused uint64 // sends that took no bytes
	Submits uint64 // submissions of requests to the kernel, each for one or more sends
	Parks   uint64 // times that an actor slept
	Polls   uint64
	Closed  uint64 // connections that the server closed
}

func (c Counts) minus(o Counts) Counts {
	return Counts{c.Frames - o.Frames, c.Bytes - o.Bytes, c.Sends - o.Sends, c.Refused - o.Refused,
		c.Submits - o.Submits, c.Parks - o.Parks, c.Polls - o.Polls, c.Closed - o.Closed}
}

// hello is the first message of a client: its index, and whether it never reads.
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

// link sends and receives the messages.
type link struct {
	in  *json.Decoder
	out *json.Encoder
}

func newLink(r io.Reader, w io.Writer) *link { return &link{json.NewDecoder(r), json.NewEncoder(w)} }

func (l *link) take(message any) error {
	if err := l.in.Decode(message); err != nil {
		return fmt.Errorf("bench: receiving %T from the other process: %w", message, err)
	}
	return nil
}

func (l *link) give(message any) error {
	if err := l.out.Encode(message); err != nil {
		return fmt.Errorf("bench: sending %T to the other process: %w", message, err)
	}
	return nil
}
