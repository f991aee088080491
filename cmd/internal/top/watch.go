package top

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sluice/actors/node/observe/status"
)

// Server is the running server to show.
type Server struct {
	Address string        // admin address of the server, host:port
	Socket  string        // path of its admin socket; if set, Address is not used
	Timeout time.Duration // for each response of the server
}

// Once writes one frame without colours, for scripts.
func (c Server) Once(ctx context.Context, w io.Writer) error {
	f := c.feed()
	defer f.transport.CloseIdleConnections()
	if err := f.next(ctx); err != nil {
		return err
	}
	return WriteFrame(w, f.frame(), Frame{Width: 100})
}

// Watch draws a frame a second on a terminal until q or a signal. in is its keyboard.
func (c Server) Watch(in, out *os.File) error {
	f := c.feed()
	defer f.transport.CloseIdleConnections()
	return f.watch(in, out)
}

// feed collects the snapshots of a server. It belongs to one goroutine.
type feed struct {
	Server
	transport *http.Transport
	last      *status.Snapshot
	points    []status.Point // points of the last minutes
}

func (c Server) feed() *feed {
	network, address := "tcp", c.Address
	if c.Socket != "" {
		network, address = "unix", c.Socket
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	return &feed{Server: c, transport: &http.Transport{DialContext: dial}}
}

// where names the server in errors.
func (f *feed) where() string {
	if f.Socket != "" {
		return f.Socket
	}
	return f.Address
}

// next requests a snapshot and merges it.
func (f *feed) next(ctx context.Context) error {
	s, err := f.request(ctx, f.known())
	if err == nil {
		f.merge(s)
	}
	return err
}

// known is the number of the last point received.
func (f *feed) known() uint64 {
	if len(f.points) == 0 {
		return 0
	}
	return f.points[len(f.points)-1].N
}

// request gets a snapshot with the points after a number. Any goroutine.
func (f *feed) request(ctx context.Context, known uint64) (*status.Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, f.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet,
		"http://localhost/live.json?after="+strconv.FormatUint(known, 10), nil)
	if err != nil {
		return nil, fmt.Errorf("top: %w", err)
	}
	answer, err := f.transport.RoundTrip(r)
	if err != nil {
		return nil, fmt.Errorf("no server answers at %s: %w; start one with `sluice serve`, or "+
			"name its admin address with --admin-address", f.where(), err)
	}
	defer answer.Body.Close()
	s := new(status.Snapshot)
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 200))
		return nil, fmt.Errorf("%s answered %s: %s", f.where(), answer.Status,
			strings.TrimSpace(string(text)))
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, 4<<20)).Decode(s); err != nil {
		return nil, fmt.Errorf("%s: the answer cannot be decoded: %w", f.where(), err)
	}
	return s, nil
}

// merge adds a snapshot and its points.
func (f *feed) merge(s *status.Snapshot) {
	// In another run, points count from 1, and the next snapshot has them.
	if f.last != nil && f.last.Boot != s.Boot {
		f.points = nil
		s.Points = nil
	}
	f.points = append(f.points, s.Points...)
	f.points = f.points[max(0, len(f.points)-status.Kept):]
	f.last = s
}

// frame is the last snapshot with all points received.
func (f *feed) frame() *status.Snapshot {
	s := *f.last
	s.Points = f.points
	return &s
}

// Control sequences of terminals.
const (
	ownScreen  = "\x1b[?1049h\x1b[?25l\x1b[?7l" // alternate screen, no cursor, long lines are cut
	giveBack   = "\x1b[?7h\x1b[?25h\x1b[?1049l" // undo ownScreen
	fromTop    = "\x1b[H"                       // draw over the last frame, because clearing flickers
	clearLine  = "\x1b[K"                       // the rest of the line
	clearBelow = "\x1b[J"                       // the rest of the screen
)

// watch draws until q or a signal.
func (f *feed) watch(in, out *os.File) error {
	restore, err := rawKeys(in)
	if err != nil {
		return err
	}
	defer restore()
	if _, err := io.WriteString(out, ownScreen); err != nil {
		return fmt.Errorf("top: %w", err)
	}
	defer io.WriteString(out, giveBack)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, append(resized(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)...)
	defer signal.Stop(signals)
	keys := make(chan byte)
	go func() { // ends with the process, because a read of a terminal cannot be cancelled
		var b [1]byte
		for {
			if n, err := in.Read(b[:]); err != nil || n == 0 {
				close(keys)
				return
			}
			keys <- b[0]
		}
	}()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	answers, waiting := make(chan answer, 1), false // a slow server must not delay keys and signals
	poll := func() {
		if waiting {
			return
		}
		waiting = true
		known := f.known()
		go func() {
			s, err := f.request(context.Background(), known) // ends by its timeout
			answers <- answer{s, err}
		}()
	}
	poll()
	var failure error
	for {
		select {
		case <-tick.C:
			poll()
			continue
		case got := <-answers:
			waiting, failure = false, got.err
			if got.err == nil {
				f.merge(got.snapshot)
			}
		case got := <-signals:
			if !slices.Contains(resized(), got) {
				return nil
			}
		case key, ok := <-keys:
			if !ok || key == 'q' || key == 3 || key == 4 { // ctrl-C, ctrl-D
				return nil
			}
		}
		if err := f.draw(out, failure); err != nil {
			return err
		}
	}
}

// answer is a snapshot, or the error of its request.
type answer struct {
	snapshot *status.Snapshot
	err      error
}

// draw writes a frame of the terminal's present size, below the error of the last request, if any.
func (f *feed) draw(out *os.File, failure error) error {
	width, height := terminalSize(out)
	var b bytes.Buffer
	if failure != nil {
		for line := range slices.Chunk([]rune(failure.Error()), width) {
			fmt.Fprintf(&b, "\x1b[31m%s\x1b[0m\n", string(line))
			height--
		}
	}
	if f.last != nil && height > 1 {
		if err := WriteFrame(&b, f.frame(),
			Frame{Width: width, Height: height - 1, Color: true}); err != nil {
			return err
		}
	}
	text := strings.ReplaceAll(b.String(), "\n", clearLine+"\r\n")
	text = fromTop + strings.TrimSuffix(text, "\r\n") + clearBelow
	if _, err := io.WriteString(out, text); err != nil && !errors.Is(err, syscall.EINTR) {
		return fmt.Errorf("top: %w", err)
	}
	return nil
}
