package fleet

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"sluice/cmd/internal/history"
	"sluice/cmd/orderbook"
	"sluice/transport/client"
)

// maxBackoff is the longest delay between two attempts of a client to connect.
const maxBackoff = 500 * time.Millisecond

// ClientOptions are the options of a Client. Account, History and Clock are required.
type ClientOptions struct {
	Account uint64
	Name    string         // of the history; clientN by default, with N the account
	History string         // directory of histories
	Clock   *history.Clock // of all clients whose responses are compared

	// OnReport is called with each report as it arrives, before the response is complete, from one
	// goroutine, which waits for it.
	OnReport func(*orderbook.Report)
}

// Client trades for an account with the node that leads, and records what it sends and receives in a
// history. Its methods may be called from any goroutine.
type Client struct {
	account  uint64
	session  *client.Session
	recorder *history.Recorder
	conn     uint64        // of the session's goroutine: the connection
	ready    atomic.Uint64 // number of connections that were ready
	report   func(*orderbook.Report)
}

// Open creates a client of the nodes at the addresses. It returns at once.
func Open(o ClientOptions, addresses ...string) (*Client, error) {
	if o.Name == "" {
		o.Name = fmt.Sprintf("client%d", o.Account)
	}
	r, err := history.Create(filepath.Join(o.History, o.Name+".jsonl"), o.Name, o.Clock)
	if err != nil {
		return nil, err
	}
	c := &Client{account: o.Account, recorder: r, report: o.OnReport}
	c.session, err = client.OpenSession(client.SessionOptions{MaxBackoff: maxBackoff, OnState: c.state,
		OnFrame: c.frame}, addresses...)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return c, nil
}

// Close ends the connection and the history. The error is the first one of the history.
func (c *Client) Close() error {
	return errors.Join(c.session.Close(), c.recorder.Close())
}

func (c *Client) state(s client.State) {
	if s.Phase == client.Ready {
		c.conn = s.Server.Conn
		c.ready.Add(1)
	}
}

func (c *Client) frame(tag uint8, body []byte) (push bool) {
	var r orderbook.Report
	if !orderbook.IsReport(tag) || orderbook.DecodeReport(tag, body, &r) != nil {
		return false // the response to a query
	}
	c.recorder.Frame(c.conn, tag, body)
	if c.report != nil {
		c.report(&r)
	}
	return r.Unasked()
}

// Call is a request under way. Wait must be called once, by one goroutine.
type Call struct {
	Command orderbook.Command // as sent
	Sent    time.Time         // before it was sent
	client  *Client
	call    *client.Call
}

// Send sends a request without waiting for its response. A command has its client order id. While
// there is no leader, it waits until ctx ends; then the error matches client.ErrNotSent.
func (c *Client) Send(ctx context.Context, command orderbook.Command) (*Call, error) {
	command.Account = c.account
	s, at := &Call{Command: command, Sent: time.Now(), client: c}, c.recorder.Now()
	body := command.AppendBody(nil)
	var err error
	if s.call, err = c.session.Send(ctx, command.Tag, body); err != nil {
		return nil, err
	}
	record := c.recorder.Sent
	if !orderbook.UsesID(command.Tag) {
		record = c.recorder.Asked
	}
	record(at, 0, s.call.Request(), command.Tag, body)
	return s, nil
}

// Result is the response to a request.
type Result struct {
	Event   uint64             // of a command: its number in the log
	Reports []orderbook.Report // of a command, in order
	Answers []any              // of a query, in order, see orderbook.DecodeAnswer
}

// Wait waits for the response until ctx ends, and records it. The errors are those of client.Call.Wait;
// after one that matches client.ErrUnknownOutcome the command may have been executed.
func (s *Call) Wait(ctx context.Context) (r Result, err error) {
	response, err := s.call.Wait(ctx)
	record, request := s.client.recorder, s.call.Request()
	switch {
	case errors.Is(err, client.ErrUnknownOutcome):
		record.Unknown(0, request)
		return r, err
	case err != nil: // not sent, shed or refused: not executed
		record.Refused(0, request)
		return r, err
	case orderbook.UsesID(s.Command.Tag):
		err = r.command(response.Frames)
		record.Answered(0, request, r.Event)
	default:
		var asOf uint64
		var frames []history.Hash
		asOf, frames, err = r.query(response.Frames)
		record.Told(0, request, asOf, frames...)
	}
	return r, err
}

func (r *Result) command(frames []client.Frame) error {
	for _, f := range frames {
		var report orderbook.Report
		if err := orderbook.DecodeReport(f.Tag, f.Body, &report); err != nil {
			return fmt.Errorf("fleet: response to a command: %w", err)
		}
		r.Reports = append(r.Reports, report)
	}
	if len(r.Reports) == 0 {
		return errors.New("fleet: the response to a command has no report")
	}
	r.Event = r.Reports[0].Seq
	return nil
}

func (r *Result) query(frames []client.Frame) (asOf uint64, hashes []history.Hash, err error) {
	for _, f := range frames {
		a, err := orderbook.DecodeAnswer(f.Tag, f.Body)
		if err != nil {
			return 0, nil, fmt.Errorf("fleet: response to a query: %w", err)
		}
		r.Answers, hashes = append(r.Answers, a), append(hashes, history.HashOf(f.Tag, f.Body))
		switch a := a.(type) {
		case orderbook.Position:
			asOf = a.Seq
		case orderbook.TopOfBook:
			asOf = a.Seq
		case orderbook.Outcome:
			asOf = a.Seq
		}
	}
	return asOf, hashes, nil
}
