package audit

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"sluice/actors/node"
	"sluice/cmd/internal/history"
	"sluice/cmd/orderbook"
	"sluice/transport/client"
	"sluice/transport/listen"
	"sluice/transport/wire"
)

// What clients of a real node record is what its journal says, over two runs of it.
func TestHistoriesOfRealNodeHaveNoFaults(t *testing.T) {
	dir, clock := t.TempDir(), history.NewClock()
	books, err := orderbook.Factory(orderbook.Config{})
	if err != nil {
		t.Fatal(err)
	}
	const traders, orders = 4, 100
	ctx := context.Background()
	var clients [traders]*recording
	for i := range clients {
		r, err := history.Create(filepath.Join(dir, fmt.Sprintf("trader-%d.jsonl", i+1)), fmt.Sprint("trader ", i+1), clock)
		if err != nil {
			t.Fatal(err)
		}
		clients[i] = &recording{Recorder: r, account: uint64(i + 1), rand: rand.New(rand.NewPCG(1, uint64(i)))}
	}
	for range 2 {
		n, err := node.Open(ctx, node.Config[orderbook.Report, orderbook.Answer]{
			Application: books, Encoder: orderbook.Encoder{}, DataDir: filepath.Join(dir, "data"),
			Listen:  listen.Config{Endpoints: []listen.Endpoint{{Network: "unix", Address: filepath.Join(dir, "s"), Open: true}}},
			Journal: node.Journal{SegmentBytes: 1 << 20}, Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for _, c := range clients {
			all.Go(func() {
				if err := c.trade(ctx, filepath.Join(dir, "s"), orders); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if err := n.Stop(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range clients {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Run([]string{filepath.Join(dir, "data")}, []string{dir})
	if err != nil {
		t.Fatal(err)
	}
	if most := 2 * traders * orders; r.Failed() != 0 || r.Answered == 0 || r.Found != r.Answered || r.Queries == 0 ||
		r.Agreed != r.Queries || r.Answered+r.Queries+r.Unknown != most || r.Same != r.Frames || r.Frames < r.Answered ||
		r.Strangers != 0 {
		t.Errorf("%s", r)
	}
}

// recording is a client that records what it sends and receives.
type recording struct {
	*history.Recorder
	account uint64
	last    uint64 // request, and client order id
	rand    *rand.Rand
}

// window is how many requests are under way.
const window = 8

// trade sends requests over a connection, and does not wait for the last responses.
func (c *recording) trade(ctx context.Context, socket string, requests int) error {
	conn, err := client.Dial(ctx, "unix", socket, client.Options{})
	if err != nil {
		return err
	}
	defer conn.Close()
	id := conn.Server().Conn
	defer c.Closed(id)
	if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	var pending []*asked
	for range requests {
		for len(pending) >= window {
			if err := c.receive(conn, id, &pending); err != nil {
				return err
			}
		}
		c.last++
		command := c.choose()
		body := command.AppendBody(nil)
		if pending = append(pending, &asked{number: c.last}); orderbook.UsesID(command.Tag) {
			c.Sent(c.Now(), id, c.last, command.Tag, body)
		} else {
			c.Asked(c.Now(), id, c.last, command.Tag, body)
			pending[len(pending)-1].query = true
		}
		if err := conn.Send(c.last, command.Tag, body); err != nil {
			return err
		}
		if err := conn.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func (c *recording) choose() orderbook.Command {
	o := orderbook.Command{Tag: orderbook.TagNew, Account: c.account, ClientOrderID: c.last, Instrument: 1,
		Side: orderbook.Side(1 + c.rand.IntN(2)), Type: orderbook.Limit, TimeInForce: orderbook.GoodTillCancel,
		Price: int64(95 + c.rand.IntN(10)), Quantity: uint64(1 + c.rand.IntN(5))}
	switch c.rand.IntN(8) {
	case 0:
		return orderbook.Command{Tag: orderbook.TagCancel, Account: c.account, ClientOrderID: c.last,
			Target: 1 + c.rand.Uint64N(c.last)}
	case 1:
		return orderbook.Command{Tag: orderbook.TagQueryPosition, Account: c.account, Instrument: 1}
	case 2:
		return orderbook.Command{Tag: orderbook.TagQueryOpenOrders, Account: c.account, Limit: 10}
	case 3:
		return orderbook.Command{Tag: orderbook.TagQueryFills, Account: c.account, Limit: 5}
	}
	return o
}

// asked is a request under way.
type asked struct {
	number, event, asOf uint64
	query               bool
	answer              []history.Hash
}

func (c *recording) receive(conn *client.Conn, id uint64, pending *[]*asked) error {
	tag, body, err := conn.Next()
	if err != nil {
		return err
	}
	first := (*pending)[0]
	switch {
	case tag == wire.TagBatchEnd:
		if *pending = (*pending)[1:]; first.query {
			c.Told(id, first.number, first.asOf, first.answer...)
		} else {
			c.Answered(id, first.number, first.event)
		}
		return nil
	case orderbook.IsReport(tag):
		c.Frame(id, tag, body)
		var r orderbook.Report
		if err := orderbook.DecodeReport(tag, body, &r); err != nil {
			return err
		}
		if first.event == 0 && !first.query && !r.Unasked() {
			first.event = r.Seq
		}
		return nil
	}
	first.answer = append(first.answer, history.HashOf(tag, body))
	a, err := orderbook.DecodeAnswer(tag, body)
	switch a := a.(type) {
	case orderbook.Position:
		first.asOf = a.Seq
	case orderbook.OpenOrders:
		first.asOf = a.Seq
	case orderbook.Fills:
		first.asOf = a.Seq
	}
	return err
}
