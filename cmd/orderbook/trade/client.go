package trade

import (
	"context"
	"fmt"
	"time"

	"sluice/cmd/orderbook"
	"sluice/transport/client"
	"sluice/transport/wire"
)

// Options of a Client.
type Options struct {
	Account uint64
	LastID  uint64 // last client order id that the account has used; 0: the server is asked

	// Session has the options of the connection. OnFrame is the Client's.
	Session client.SessionOptions

	// OnReport is called with each report as it arrives, before the response that it may belong
	// to is complete; Report.Unasked tells those that belong to none. It is called from one
	// goroutine of the session, which waits for it. It must not call the Client. The report is valid
	// during the call.
	OnReport func(r *orderbook.Report)
}

// Client trades for one account. Its methods may be called from any goroutine.
type Client struct {
	session *client.Session
	options Options
	turn    chan struct{} // holds a token while nothing is being numbered and sent; guards last and asked
	last    uint64        // client order id of the last command
	asked   bool          // last is known
}

// Open creates a client of the servers at the addresses, as client.OpenSession does. It returns at
// once; Ready waits for the connection, and so does a request.
func Open(o Options, addresses ...string) (*Client, error) {
	c := &Client{options: o, turn: make(chan struct{}, 1), last: o.LastID, asked: o.LastID != 0}
	c.turn <- struct{}{}
	o.Session.OnFrame = c.frame
	var err error
	if c.session, err = client.OpenSession(o.Session, addresses...); err != nil {
		return nil, err
	}
	return c, nil
}

// Ready waits until the client is connected and returns what the server said.
func (c *Client) Ready(ctx context.Context) (wire.ServerReady, error) { return c.session.Ready(ctx) }

// Session is the session of the client, for its topics. Orders that are sent past the Client disturb the
// numbers of its commands.
func (c *Client) Session() *client.Session { return c.session }

// Close ends the connection. Requests under way fail.
func (c *Client) Close() error { return c.session.Close() }

// frame observes a frame, and tells the session whether it belongs to no response.
func (c *Client) frame(tag uint8, body []byte) (push bool) {
	var r orderbook.Report
	if !orderbook.IsReport(tag) || orderbook.DecodeReport(tag, body, &r) != nil {
		return false // a malformed report fails its request
	}
	if c.options.OnReport != nil {
		c.options.OnReport(&r)
	}
	return r.Unasked()
}

// Rejected is the error of a command that the book rejected.
type Rejected struct{ orderbook.Report }

// Error names the command and the reason.
func (r *Rejected) Error() string {
	return fmt.Sprintf("trade: command #%d of account %d was rejected: %v", r.ClientOrderID, r.Account,
		r.Reason)
}

// Result is what a command did.
type Result struct {
	ID      uint64             // client order id of the command; also known if it failed
	Event   uint64             // journal sequence number of the command
	OrderID uint64             // order that it entered, cancelled or replaced
	Reports []orderbook.Report // all reports of the response, in order; see docs/orderbook.md
}

// Filled returns the quantity that the order traded at once.
func (r *Result) Filled() (quantity uint64) {
	for i := range r.Reports {
		if r.Reports[i].Tag == orderbook.TagFill {
			quantity += r.Reports[i].Quantity
		}
	}
	return quantity
}

// Sent is a request under way. Its methods may be called from any goroutine.
type Sent struct {
	Command orderbook.Command // as sent
	call    *client.Call
}

// Done is closed when the response is complete, or the request failed.
func (s *Sent) Done() <-chan struct{} { return s.call.Done() }

// Send sends a request without waiting for its response. Commands get the account, and the next
// client order id unless they have one; the server executes a command only if its id is above all
// others of the account. Commands of one goroutine are sent in the order of its calls. The errors
// are those of client.Session.Send.
func (c *Client) Send(ctx context.Context, command orderbook.Command) (*Sent, error) {
	command.Account = c.options.Account
	if !orderbook.UsesID(command.Tag) {
		return c.send(ctx, command)
	}
	select {
	case <-c.turn:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", client.ErrNotSent, context.Cause(ctx))
	}
	defer func() { c.turn <- struct{}{} }()
	if command.ClientOrderID == 0 && !c.asked {
		p, err := c.Position(ctx, 0)
		if err != nil {
			return nil, fmt.Errorf("%w: asking for the last id of account %d: %w", client.ErrNotSent,
				c.options.Account, err)
		}
		c.last, c.asked = max(c.last, p.LastID), true
	}
	if command.ClientOrderID == 0 {
		command.ClientOrderID = c.last + 1
	}
	c.last = max(c.last, command.ClientOrderID)
	return c.send(ctx, command)
}

func (c *Client) send(ctx context.Context, command orderbook.Command) (*Sent, error) {
	call, err := c.session.Send(ctx, command.Tag, command.AppendBody(nil))
	return &Sent{Command: command, call: call}, err
}

// Response waits for the response of any request, as frames, until ctx ends. The errors are those of
// client.Call.Wait.
func (s *Sent) Response(ctx context.Context) (client.Response, error) { return s.call.Wait(ctx) }

// Wait waits for the response of a command until ctx ends. The errors are *Rejected and those of
// client.Call.Wait.
func (s *Sent) Wait(ctx context.Context) (Result, error) {
	result := Result{ID: s.Command.ClientOrderID}
	response, err := s.call.Wait(ctx)
	if err != nil {
		return result, err
	}
	for _, f := range response.Frames {
		var r orderbook.Report
		if err := orderbook.DecodeReport(f.Tag, f.Body, &r); err != nil {
			return result, fmt.Errorf("trade: response to request 0x%02x: %w", s.Command.Tag, err)
		}
		result.Reports = append(result.Reports, r)
	}
	if len(result.Reports) == 0 {
		return result, fmt.Errorf("trade: the response to request 0x%02x has no report", s.Command.Tag)
	}
	first := result.Reports[0]
	if result.Event, result.OrderID = first.Seq, first.OrderID; first.Tag == orderbook.TagRejected {
		return result, &Rejected{first}
	}
	return result, nil
}

// do sends a command and waits for its response. The result has the id even if the response is
// lost.
func (c *Client) do(ctx context.Context, command orderbook.Command) (Result, error) {
	sent, err := c.Send(ctx, command)
	if err != nil {
		return Result{}, err
	}
	return sent.Wait(ctx)
}

// Order is a new order. The zero values of Type and TimeInForce are a limit order that is good
// till date if it has an expiry, else good till cancel.
type Order struct {
	Instrument  uint32
	Side        orderbook.Side
	Type        orderbook.OrderType
	TimeInForce orderbook.TimeInForce
	Price       int64     // ticks; 0 for a market order
	Quantity    uint64    // lots
	Expiry      time.Time // zero: none
}

// Command returns the request that enters the order.
func (o *Order) Command() orderbook.Command {
	c := orderbook.Command{Tag: orderbook.TagNew, Instrument: o.Instrument, Side: o.Side, Type: o.Type,
		TimeInForce: o.TimeInForce, Price: o.Price, Quantity: o.Quantity}
	if !o.Expiry.IsZero() {
		c.Expiry = o.Expiry.UnixNano()
	}
	if c.Type == 0 {
		c.Type = orderbook.Limit
	}
	switch {
	case c.TimeInForce != 0:
	case c.Type == orderbook.Market:
		c.TimeInForce = orderbook.ImmediateOrCancel
	case c.Expiry != 0:
		c.TimeInForce = orderbook.GoodTillDate
	default:
		c.TimeInForce = orderbook.GoodTillCancel
	}
	return c
}

// New enters an order and waits until it is accepted or rejected.
func (c *Client) New(ctx context.Context, o Order) (Result, error) { return c.do(ctx, o.Command()) }

// Cancel cancels the open order that the command with the id entered.
func (c *Client) Cancel(ctx context.Context, id uint64) (Result, error) {
	return c.do(ctx, orderbook.Command{Tag: orderbook.TagCancel, Target: id})
}

// Replace gives an open order a new price in ticks and a new total quantity in lots, which includes
// the executed part.
func (c *Client) Replace(ctx context.Context, id uint64, price int64, quantity uint64) (Result, error) {
	return c.do(ctx, orderbook.Command{Tag: orderbook.TagReplace, Target: id, Price: price,
		Quantity: quantity})
}

// SetCancelOnDisconnect determines whether the orders of the connection are cancelled when it
// ends. It is a setting of the connection: after a break, set it again before the next order.
func (c *Client) SetCancelOnDisconnect(ctx context.Context, on bool) error {
	_, err := c.do(ctx, orderbook.Command{Tag: orderbook.TagSetCancelOnDisconnect, On: on})
	return err
}
