package main

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"sluice/cmd/orderbook"
	"sluice/transport/client"
	"sluice/transport/wire"
)

// trader is a client that counts received frames. It belongs to one goroutine.
type trader struct {
	*client.Conn
	t       *testing.T
	account uint64 // uses this account and the next one
	ids     uint64 // last client order id
	asked   uint64 // requests sent
	ended   uint64 // requests answered completely
	frames  uint64 // frames received, except BatchEnd
	bytes   uint64 // bytes received
}

// trading connects a client, which ends with the test.
func trading(t *testing.T, address string, number int) *trader {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := client.Dial(ctx, "tcp", address, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &trader{Conn: c, t: t, account: uint64(2*number + 1)}
}

// command buffers a request until the next flush.
func (r *trader) command(c *orderbook.Command, traced ...[wire.TraceSize]byte) {
	r.t.Helper()
	r.asked++
	var err error
	if len(traced) > 0 {
		err = r.SendTraced(r.asked, traced[0], c.Tag, bodyOf(r.t, c))
	} else {
		err = r.Send(r.asked, c.Tag, bodyOf(r.t, c))
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// bodyOf returns the body of a request.
func bodyOf(t *testing.T, c *orderbook.Command) []byte {
	t.Helper()
	frame, err := orderbook.AppendRequest(nil, 0, c)
	if err != nil {
		t.Fatal(err)
	}
	return frame[wire.PrefixSize+wire.RequestHeaderSize:]
}

// rests sends orders that do not trade. Each has one report.
func (r *trader) rests(n int) {
	r.t.Helper()
	for range n {
		r.ids++
		r.command(r.order(r.account, orderbook.Buy, 1))
	}
	r.flush()
}

// meets sends n pairs of orders of this connection that trade with each other, and n queries.
func (r *trader) meets(n int) {
	r.t.Helper()
	for range n {
		r.ids++
		r.command(r.order(r.account, orderbook.Buy, 100))
		r.command(r.order(r.account+1, orderbook.Sell, 100))
		r.command(&orderbook.Command{Tag: orderbook.TagQueryPosition, Account: r.account,
			Instrument: uint32(r.account)})
	}
	r.flush()
}

func (r *trader) order(account uint64, side orderbook.Side, price int64) *orderbook.Command {
	return &orderbook.Command{
		Tag: orderbook.TagNew, Account: account, ClientOrderID: r.ids,
		Instrument: uint32(r.account), Side: side, Type: orderbook.Limit,
		TimeInForce: orderbook.GoodTillCancel, Price: price, Quantity: 1,
	}
}

func (r *trader) flush() {
	r.t.Helper()
	if err := r.Flush(); err != nil {
		r.t.Fatal(err)
	}
}

// next reads one frame. It returns false at the end of the connection.
func (r *trader) next() bool {
	r.t.Helper()
	if err := r.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return false
	}
	tag, body, err := r.Next()
	var end *client.CloseError
	if errors.As(err, &end) {
		r.bytes += uint64(len(wire.AppendClose(nil, end.Close)))
	}
	if err != nil {
		return false
	}
	r.bytes += uint64(wire.PrefixSize + 1 + len(body))
	switch tag {
	case wire.TagBatchEnd:
		r.ended++
	case wire.TagHeartbeat:
		r.t.Error("a heartbeat, which the counts must not include")
	default:
		r.frames++
	}
	return true
}

// settle reads frames until every request is answered.
func (r *trader) settle() {
	r.t.Helper()
	for r.ended < r.asked {
		if !r.next() {
			r.t.Fatalf("the connection ended with %d of %d requests answered", r.ended, r.asked)
		}
	}
}

// hoard sends n queries and does not read the responses. An error means that the connection has
// ended.
func (r *trader) hoard(n int) error {
	r.t.Helper()
	if err := r.NetConn().(*net.TCPConn).SetReadBuffer(4 << 10); err != nil { // otherwise the kernel buffers megabytes
		return err
	}
	c := &orderbook.Command{Tag: orderbook.TagQueryPosition, Account: r.account, Instrument: 1}
	for range n {
		r.asked++
		if err := r.Send(r.asked, c.Tag, bodyOf(r.t, c)); err != nil {
			return err
		}
	}
	return r.Flush()
}

// vanish ends the connection with a reset, as the kernel does for a killed process with unread
// data.
func (r *trader) vanish() {
	r.t.Helper()
	if err := r.NetConn().(*net.TCPConn).SetLinger(0); err != nil {
		r.t.Error(err)
	}
	r.Close()
}

// traffic is the sum of the counts of several clients.
type traffic struct{ asked, frames, bytes uint64 }

func totals(clients []*trader) (sum traffic) {
	for _, r := range clients {
		sum.asked += r.asked
		sum.frames += r.frames
		sum.bytes += r.bytes
	}
	return sum
}
