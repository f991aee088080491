package observe

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sluice/transport/client"
	"sluice/transport/wire"
)

// Client asks a running server, through its admin socket, with an operator key over its client port, or, for reading only,
// through the TCP door. The first that is named is taken.
type Client struct {
	Socket string // path of the admin socket; or else
	Addr   string // where clients connect: host:port, or the path of a unix socket
	Key    ed25519.PrivateKey
	HTTP   string // host:port of the TCP door
}

// Error is a refusal by the server, or a page that says no.
type Error struct {
	Status int // as in HTTP
	Text   string
	Page   bool // the page was read all the same
}

// Error is what the server said.
func (e *Error) Error() string { return e.Text }

// maxAnswer bounds what a Client reads.
const maxAnswer = 4 << 20

// Get reads a page into p. A page that says 503 is read, and is an *Error too.
func (c *Client) Get(ctx context.Context, path string, p any) error {
	return c.do(ctx, http.MethodGet, path, nil, p)
}

// Swap puts a durability policy in force; it returns once the gate adopted it.
func (c *Client) Swap(ctx context.Context, policy string, force bool) (done string, err error) {
	return c.post(ctx, "/policy", swapOrder{policy, force})
}

// Kick ends a connection.
func (c *Client) Kick(ctx context.Context, id uint64) (done string, err error) {
	return c.post(ctx, "/kick", kickOrder{strconv.FormatUint(id, 10)})
}

// Trace has the next n responses to a connection traced; 0 ends that.
func (c *Client) Trace(ctx context.Context, id uint64, n int) (done string, err error) {
	return c.post(ctx, "/trace", traceOrder{strconv.FormatUint(id, 10), &n})
}

// Drain ends the server in order; a deadline of 0 is the server's own.
func (c *Client) Drain(ctx context.Context, deadline time.Duration) (done string, err error) {
	o := drainOrder{}
	if deadline != 0 {
		o.Deadline = deadline.String()
	}
	return c.post(ctx, "/drain", o)
}

func (c *Client) post(ctx context.Context, path string, order any) (string, error) {
	body, err := json.Marshal(order)
	if err != nil {
		return "", fmt.Errorf("admin: %w", err)
	}
	var d Done
	err = c.do(ctx, http.MethodPost, path, body, &d)
	return d.Done, err
}

// do asks through whichever door there is.
func (c *Client) do(ctx context.Context, method, path string, body []byte, into any) error {
	var status int
	var text []byte
	var err error
	switch {
	case c.Socket != "":
		status, text, err = c.overHTTP(ctx, "unix", c.Socket, method, path, body)
	case c.Addr != "":
		status, text, err = c.overWire(ctx, method, path, body)
	case c.HTTP != "":
		status, text, err = c.overHTTP(ctx, "tcp", c.HTTP, method, path, body)
	default:
		err = errors.New("admin: no admin socket, no address of the server with a key, and no admin address is named")
	}
	if err != nil {
		return err
	}
	var f refusal
	if json.Unmarshal(text, &f) == nil && f.Error != "" {
		return &Error{Status: status, Text: f.Error}
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("admin: the answer to %s %s (status %d) is not understood: %w", method, path, status, err)
	}
	if status >= 300 {
		return &Error{Status: status, Text: fmt.Sprintf("%s says no (%d)", path, status), Page: true}
	}
	return nil
}

// overHTTP asks through one of the HTTP doors.
func (c *Client) overHTTP(ctx context.Context, network, address, method, path string, body []byte) (int, []byte, error) {
	t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	defer t.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, fmt.Errorf("admin: %w", err)
	}
	r.Header.Set("Accept", "application/json")
	answer, err := t.RoundTrip(r)
	if err != nil {
		return 0, nil, fmt.Errorf("admin: %s: %w", address, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	return answer.StatusCode, text, err
}

// overWire asks over the client port.
func (c *Client) overWire(ctx context.Context, method, path string, body []byte) (int, []byte, error) {
	network := "tcp"
	if strings.ContainsAny(c.Addr, "/@") {
		network = "unix"
	}
	conn, err := client.Dial(ctx, network, c.Addr, client.Options{Key: c.Key})
	if err != nil {
		return 0, nil, err
	}
	defer conn.Close()
	if at, ok := ctx.Deadline(); ok {
		if err := errors.Join(conn.SetReadDeadline(at), conn.SetWriteDeadline(at)); err != nil {
			return 0, nil, fmt.Errorf("admin: %w", err)
		}
	}
	command, err := json.Marshal(commandFrame{method, path, body})
	if err != nil {
		return 0, nil, fmt.Errorf("admin: %w", err)
	}
	const seq = 1
	if err := errors.Join(conn.Send(seq, wire.TagAdminCommand, command), conn.Flush()); err != nil {
		return 0, nil, err
	}
	for {
		tag, frame, err := conn.Next()
		if err != nil {
			return 0, nil, fmt.Errorf("admin: %s ended the connection without an answer: %w", c.Addr, err)
		}
		switch tag {
		case wire.TagEngineError:
			return 0, nil, fmt.Errorf("admin: %s does not take commands from this key: it needs the role operator in the authorized keys", c.Addr)
		case wire.TagAdminAnswer:
			if got, text, ok := wire.AdminAnswer(frame); ok && got == seq {
				return unwrap(text)
			}
		}
	}
}

// unwrap takes an AdminAnswer apart.
func unwrap(text []byte) (int, []byte, error) {
	var f answerFrame
	if err := json.Unmarshal(text, &f); err != nil {
		return 0, nil, fmt.Errorf("admin: the answer is not understood: %w", err)
	}
	if f.Error != "" {
		return 0, nil, &Error{Status: f.Status, Text: f.Error}
	}
	return f.Status, append([]byte(nil), f.Answer...), nil
}
