package top

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/actors/node/observe/status"
	"sluice/transport/client"
)

// Server is the running server to show.
type Server struct {
	Address string        // admin address of the server, host:port
	Socket  string        // path of its admin socket; if set, Address is not used
	Timeout time.Duration // for each response of the server

	TLS   *client.TLS // of an Address with TLS; nil: none
	Token string      // for an Address with TLS; empty: none
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
		if c.TLS != nil && c.Socket == "" {
			return c.TLS.Dial(ctx, address)
		}
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
	if f.Token != "" && f.TLS != nil {
		r.Header.Set("Authorization", "Bearer "+f.Token)
	}
	answer, err := f.transport.RoundTrip(r)
	switch {
	case err == nil:
	case strings.Contains(err.Error(), "malformed HTTP"): // the type of that error is not exported
		return nil, fmt.Errorf("what answers at %s does not speak HTTP; if that is the address for clients, name the admin "+
			"address with --admin-address", f.where())
	default:
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

// watch draws until q or a signal.
func (f *feed) watch(in, out *os.File) error {
	d, err := OpenDisplay(in, out)
	if err != nil {
		return err
	}
	defer d.Close()
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
		case got := <-d.Signals():
			if d.Ended(got) {
				return nil
			}
		case key, ok := <-d.Keys():
			if d.Quit(key, ok) {
				return nil
			}
		}
		if err := f.draw(d, failure); err != nil {
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
func (f *feed) draw(d *Display, failure error) error {
	width, height := d.Size()
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
	return d.Draw(b.String())
}
