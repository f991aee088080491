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
	"syscall"
	"time"

	"sluice/actors/node"
	"sluice/transport/client"
	"sluice/transport/wire"
)

// Client sends requests to a running server: through its admin socket, with an operator key over
// its client port, or, for reading only, to its admin address. The first one that is set is used.
type Client struct {
	Socket string // path of the admin socket; or else
	Addr   string // where clients connect: host:port, or the path of a unix socket
	Key    ed25519.PrivateKey
	HTTP   string // admin address, host:port

	TLS   *client.TLS // of Addr, or of HTTP, which then is an endpoint with TLS; nil: none
	Token string      // with HTTP and TLS; empty: none
}

// Error is a rejection by the server, or a page with an error status, such as /readyz of a server
// that is not ready.
type Error struct {
	Status int // as in HTTP
	Text   string
	Page   bool // the page was read nevertheless
}

// Error is the message of the server.
func (e *Error) Error() string { return e.Text }

// ErrUnknownOutcome means that a command was sent, and the connection ended or the time passed before its
// result arrived.
var ErrUnknownOutcome = errors.New("observe: the command got no answer, and may have been carried out or " +
	"may still be; " +
	"look at the status before you send it again")

// maxAnswer is the number of bytes of an answer that a Client reads at most.
const maxAnswer = 4 << 20

// Get reads a page into p. A page with status 503 is read, and is an *Error as well.
func (c *Client) Get(ctx context.Context, path string, p any) error {
	return c.do(ctx, http.MethodGet, path, nil, p)
}

// Swap puts a durability policy in force. It returns when the gate has adopted it.
func (c *Client) Swap(ctx context.Context, policy string, force bool) (done string, err error) {
	return c.post(ctx, "/policy", swapBody{policy, force})
}

// Kick ends a connection.
func (c *Client) Kick(ctx context.Context, id uint64) (done string, err error) {
	return c.post(ctx, "/kick", kickBody{Connection: strconv.FormatUint(id, 10)})
}

// KickKey ends all connections of a key, by its name or fingerprint.
func (c *Client) KickKey(ctx context.Context, key string) (done string, err error) {
	return c.post(ctx, "/kick", kickBody{Key: key})
}

// Trace has the next n responses to a connection traced; 0 ends that.
func (c *Client) Trace(ctx context.Context, id uint64, n int) (done string, err error) {
	return c.post(ctx, "/trace", traceBody{strconv.FormatUint(id, 10), &n})
}

// Drain drains the server; a deadline of 0 means that of the server.
func (c *Client) Drain(ctx context.Context, deadline time.Duration) (done string, err error) {
	o := drainBody{}
	if deadline != 0 {
		text := deadline.String()
		o.Deadline = &text
	}
	return c.post(ctx, "/drain", o)
}

// Reload has the server read its configuration and keys again, and waits for the results.
func (c *Client) Reload(ctx context.Context) (done string, err error) {
	return c.post(ctx, "/reload", struct{}{})
}

// Transfer has the leader of a cluster hand its leadership to another member, 0 for the fittest.
func (c *Client) Transfer(ctx context.Context, to uint8) (done string, err error) {
	return c.post(ctx, "/transfer", transferBody{int(to)})
}

// Change has the leader of a cluster change the membership.
func (c *Client) Change(ctx context.Context, change node.MemberChange) (done node.MemberChanged, err error) {
	text, err := json.Marshal(change)
	if err != nil {
		return done, fmt.Errorf("observe: %w", err)
	}
	var p Changed
	err = c.do(ctx, http.MethodPost, "/members", text, &p)
	return p.MemberChanged, err
}

func (c *Client) post(ctx context.Context, path string, body any) (string, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return "", fmt.Errorf("observe: %w", err)
	}
	var d Done
	err = c.do(ctx, http.MethodPost, path, text, &d)
	return d.Done, err
}

// do sends a request to the endpoint that is set.
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
		err = errors.New("observe: no endpoint is set; set Socket, Addr with Key, or HTTP")
	}
	if err != nil {
		return err
	}
	var f rejection
	if json.Unmarshal(text, &f) == nil && f.Error != "" {
		return &Error{Status: status, Text: f.Error}
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("observe: the answer to %s %s (status %d) cannot be decoded: %w", method,
			path, status, err)
	}
	if status >= 300 {
		return &Error{Status: status, Text: fmt.Sprintf("%s has status %d", path, status), Page: true}
	}
	return nil
}

// askTries is how often a page is asked for at most, if the connection ends without an answer: the node
// of another period of a member may have taken over meanwhile.
const askTries = 3

// overHTTP sends a request to an HTTP endpoint.
func (c *Client) overHTTP(ctx context.Context, network, address, method, path string,
	body []byte) (status int, text []byte, err error) {
	connected := false
	for range askTries {
		status, text, connected, err = c.onceOverHTTP(ctx, network, address, method, path, body)
		if method != http.MethodGet || !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) &&
			!errors.Is(err, syscall.EPIPE) {
			break
		}
	}
	if err != nil && method != http.MethodGet && connected {
		err = fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
	return status, text, err
}

func (c *Client) onceOverHTTP(ctx context.Context, network, address, method, path string,
	body []byte) (status int, text []byte, connected bool, err error) {
	dial := func(ctx context.Context, _, _ string) (conn net.Conn, err error) {
		if c.TLS != nil && network == "tcp" {
			conn, err = c.TLS.Dial(ctx, address)
		} else {
			conn, err = new(net.Dialer).DialContext(ctx, network, address)
		}
		connected = connected || err == nil
		return conn, err
	}
	t := &http.Transport{DialContext: dial} // the connection has TLS already, if it has any
	defer t.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, false, fmt.Errorf("observe: %w", err)
	}
	r.Header.Set("Accept", "application/json")
	if c.Token != "" && c.TLS != nil {
		r.Header.Set("Authorization", "Bearer "+c.Token)
	}
	answer, err := t.RoundTrip(r)
	if err != nil {
		return 0, nil, connected, fmt.Errorf("observe: %s: %w", address, err)
	}
	defer answer.Body.Close()
	text, err = io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	return answer.StatusCode, text, true, err
}

// overWire sends a request over the client port.
func (c *Client) overWire(ctx context.Context, method, path string, body []byte) (int, []byte, error) {
	// A command is for this server, not for the leader that it names.
	s, err := client.OpenSession(client.SessionOptions{Conn: client.Options{Key: c.Key, TLS: c.TLS}, Once: true,
		Pinned: true}, c.Addr)
	if err != nil {
		return 0, nil, err
	}
	defer s.Close()
	command, err := json.Marshal(commandFrame{method, path, body})
	if err != nil {
		return 0, nil, fmt.Errorf("observe: %w", err)
	}
	response, err := s.Do(ctx, wire.TagAdminCommand, command)
	var refused *client.RefusedError
	switch {
	case errors.As(err, &refused):
		if refused.Reason == wire.RefusalRole {
			return 0, nil, fmt.Errorf("observe: %s rejects commands of this key: it needs the role "+
				"operator in the authorized keys", c.Addr)
		}
		return 0, nil, fmt.Errorf("observe: %s does not take the command now (%v): all places for "+
			"commands are taken, or the server takes none; try again", c.Addr, refused.Reason)
	case err != nil:
		return 0, nil, fmt.Errorf("observe: %s: %w", c.Addr, err)
	case len(response.Frames) != 1 || response.Frames[0].Tag != wire.TagAdminResponse:
		return 0, nil, fmt.Errorf("observe: %s sent a response that is not one to a command", c.Addr)
	}
	return unwrap(response.Frames[0].Body)
}

// unwrap decodes an AdminResponse.
func unwrap(text []byte) (int, []byte, error) {
	var f answerFrame
	if err := json.Unmarshal(text, &f); err != nil {
		return 0, nil, fmt.Errorf("observe: the answer cannot be decoded: %w", err)
	}
	if f.Error != "" {
		return 0, nil, &Error{Status: f.Status, Text: f.Error}
	}
	return f.Status, append([]byte(nil), f.Answer...), nil
}
