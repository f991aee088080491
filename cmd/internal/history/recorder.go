package history

import (
	"bufio"
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"
)

// Clock is the clock of all histories of a process. Any goroutine may use it.
type Clock struct {
	name  string
	began time.Time
}

// NewClock starts a clock.
func NewClock() *Clock {
	var name [8]byte
	_, _ = rand.Read(name[:]) // never fails
	return &Clock{name: hex.EncodeToString(name[:]), began: time.Now()}
}

// Now is the time in ns since the clock began.
func (c *Clock) Now() int64 { return int64(time.Since(c.began)) }

// Recorder writes the history of one client. Its methods may be called from any goroutine; the calls of
// Frame for one connection in the order of arrival. Errors are those of the file, and a request that is
// recorded twice; Close returns the first one.
type Recorder struct {
	clock *Clock

	mu      sync.Mutex // guards the fields below
	file    *os.File
	out     *bufio.Writer
	pending map[key]Line
	frames  map[uint64][]Hash // by connection; not written yet
	err     error
}

// key identifies a request of a client.
type key struct{ conn, request uint64 }

const (
	bufferBytes = 64 << 10 // of lines that are not in the file yet
	frameRow    = 64       // frames of a connection that wait for a line at most
)

// Create creates the file of a client's history, with its Head. It refuses one that exists, and leaves no
// file behind if there is an error.
func Create(path, client string, clock *Clock) (*Recorder, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	r := &Recorder{clock: clock, file: f, out: bufio.NewWriterSize(f, bufferBytes),
		pending: make(map[key]Line), frames: make(map[uint64][]Hash)}
	r.line(Head{Version: version, Client: client, Clock: clock.name})
	r.fail(r.out.Flush()) // Read needs it, and the client may be killed at any time
	if r.err != nil {
		return nil, fmt.Errorf("history: the first line of %s: %w", path, errors.Join(r.err, f.Close(), os.Remove(path)))
	}
	return r, nil
}

// Now is the time of the recorder's clock, in ns.
func (r *Recorder) Now() int64 { return r.clock.Now() }

// Sent records a request that leaves and belongs into the log. at is the time before it left, of Now.
// conn is the id of the connection (wire.ServerReady.Conn), 0 if it is not known; a request is known by
// conn and request, in the calls below too.
func (r *Recorder) Sent(at int64, conn, request uint64, tag uint8, body []byte) {
	r.leaves(Line{Conn: conn, Request: request, Hash: HashOf(tag, body), Sent: at})
}

// Asked records a query that leaves, as Sent does. Its bytes are kept, so that the audit can ask too.
func (r *Recorder) Asked(at int64, conn, request uint64, tag uint8, body []byte) {
	r.leaves(Line{Conn: conn, Request: request, Query: append(Bytes{tag}, body...), Sent: at})
}

func (r *Recorder) leaves(l Line) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := key{l.Conn, l.Request}
	if _, double := r.pending[k]; double {
		r.fail(fmt.Errorf("history: request %d of connection %d is under way and sent again: give it another number",
			k.request, k.conn))
		return
	}
	r.pending[k] = l
}

// Frame records a frame that arrived, in a response or not: one that the log explains, such as a report.
// The responses to queries are none.
func (r *Recorder) Frame(conn uint64, tag uint8, body []byte) {
	hash := HashOf(tag, body)
	r.mu.Lock()
	defer r.mu.Unlock()
	if conn == 0 {
		r.fail(errors.New("history: a frame of connection 0: frames need the id of their connection"))
		return
	}
	if r.frames[conn] = append(r.frames[conn], hash); len(r.frames[conn]) >= frameRow {
		r.withFrames(Line{Conn: conn})
	}
}

// Answered records that the response to a request of Sent is complete, behind its frames. event is the
// number of the request in the log; 0 if the response does not say.
func (r *Recorder) Answered(conn, request, event uint64) {
	r.became(conn, request, func(l *Line) {
		l.Outcome, l.Answered, l.Event = Answered, r.clock.Now(), event
	})
}

// Told records that the response to a query of Asked is complete. asOf is the last event that it takes
// into account, 0 if it does not say; answer are its frames, by HashOf. answer is kept.
func (r *Recorder) Told(conn, request, asOf uint64, answer ...Hash) {
	r.became(conn, request, func(l *Line) {
		l.Outcome, l.Answered, l.AsOf, l.Answer = Answered, r.clock.Now(), asOf, answer
	})
}

// Refused records that the server said that it did not execute a request.
func (r *Recorder) Refused(conn, request uint64) {
	r.became(conn, request, func(l *Line) { l.Outcome = Refused })
}

// Unknown records that no response will come.
func (r *Recorder) Unknown(conn, request uint64) {
	r.became(conn, request, func(l *Line) { l.Outcome = Unknown })
}

func (r *Recorder) became(conn, request uint64, outcome func(*Line)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, ok := r.pending[key{conn, request}]
	if !ok {
		r.fail(fmt.Errorf("history: request %d of connection %d is not under way", request, conn))
		return
	}
	delete(r.pending, key{conn, request})
	outcome(&l)
	r.withFrames(l)
}

// Closed records the end of a connection: its requests under way become unknown.
func (r *Recorder) Closed(conn uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.abandon(func(k key) bool { return k.conn == conn })
	if len(r.frames[conn]) > 0 {
		r.withFrames(Line{Conn: conn})
	}
}

// abandon makes requests under way unknown.
func (r *Recorder) abandon(of func(key) bool) {
	var gone []Line
	for k, l := range r.pending {
		if of(k) {
			l.Outcome = Unknown
			gone = append(gone, l)
			delete(r.pending, k)
		}
	}
	slices.SortFunc(gone, func(a, b Line) int {
		return cmp.Or(cmp.Compare(a.Sent, b.Sent), cmp.Compare(a.Request, b.Request))
	})
	for _, l := range gone {
		r.withFrames(l)
	}
}

// Close ends the history. What is under way becomes unknown.
func (r *Recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.abandon(func(key) bool { return true })
	for conn := range r.frames {
		r.withFrames(Line{Conn: conn})
	}
	r.fail(r.out.Flush())
	r.fail(r.file.Close())
	return r.err
}

// withFrames writes a line with the frames of its connection.
func (r *Recorder) withFrames(l Line) {
	if l.Conn != 0 {
		l.Frames = r.frames[l.Conn]
		delete(r.frames, l.Conn)
	}
	r.line(l)
}

func (r *Recorder) line(v any) {
	text, err := json.Marshal(v)
	if err == nil {
		_, err = r.out.Write(append(text, '\n'))
	}
	r.fail(err)
}

// fail keeps the first error.
func (r *Recorder) fail(err error) {
	if err != nil && r.err == nil && !errors.Is(err, os.ErrClosed) {
		r.err = err
	}
}
