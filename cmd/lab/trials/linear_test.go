package trials

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"sluice/cmd/internal/fleet"
	"sluice/cmd/orderbook"
	"sluice/transport/client"
)

// Sizes of a history. Porcupine takes all operations of an account at once.
const (
	historyMost    = 200 // operations of an account
	historyAround  = 80  // of these before a change of the leader, and as many after it
	historyLate    = 24  // queries that reach a deposed leader
	historyWriters = 2
	historyReaders = 2
)

// Positions are linearizable while leaders are killed, stopped and hand over: porcupine finds an order of all
// orders and queries of an account in which each response is right, and in which none comes before an
// operation that had ended when it was sent.
//
// Each account is traded by two clients and queried by others. Their orders buy from one large resting order,
// so that the position of an account depends on its own orders alone. A leader that is stopped gets queries
// of its old clients when another one has executed further orders; it does not know when it continues that
// it was deposed.
func TestClusterQueriesAreLinearizable(t *testing.T) {
	const eraRounds = 9 // with the same data directories
	rounds := scale(3, 12, 300)
	program := buildProgram(t)
	operations, unknown := 0, 0
	for done := 0; done < rounds; done += eraRounds {
		r := newTrio(t, program, "--heartbeat", "1m", "--election", "1s") // so that no client gives up a stopped node
		l := &linear{trio: r}
		l.supply()
		for i := range min(eraRounds, rounds-done) {
			for _, a := range l.round(i) {
				operations, unknown = operations+len(a.operations), unknown+a.unknown
				l.check(a)
			}
		}
		r.finish()
	}
	t.Logf("%d rounds: %d operations, %d of them orders with an unknown outcome", rounds, operations, unknown)
}

// linear is a cluster whose responses are checked with porcupine.
type linear struct {
	*trio
	accounts uint64 // given out
	clients  int
}

// positionOf is an account and what its clients did and saw.
type positionOf struct {
	account uint64
	ids     atomic.Uint64 // client order ids given out
	allowed chan struct{} // an operation takes one
	workers sync.WaitGroup

	mu         sync.Mutex // guards the fields below
	operations []porcupine.Operation
	unknown    int
}

// position is a state, and what a query shows.
type position struct{ last, accepted, bought uint64 }

// bid is the input of an operation: an order, or a query.
type bid struct{ id, quantity uint64 }

// outcome is the output of an operation.
type outcome struct {
	unknown  bool
	accepted bool     // of an order
	position position // of a query
}

var positions = porcupine.Model{
	Init: func() any { return position{} },
	Step: func(state, input, output any) (bool, any) {
		s, in, out := state.(position), input.(bid), output.(outcome)
		if in.id == 0 {
			return s == out.position, s
		}
		takes := in.id > s.last
		if takes {
			s = position{in.id, s.accepted + 1, s.bought + in.quantity}
		}
		return out.unknown || takes == out.accepted, s
	},
	DescribeOperation: func(input, output any) string {
		if in := input.(bid); in.id != 0 {
			return fmt.Sprintf("order %d for %d: %+v", in.id, in.quantity, output)
		}
		return fmt.Sprintf("query: %+v", output.(outcome).position)
	},
}

// client opens a client of an account, of the nodes at the addresses, all by default.
func (l *linear) client(account uint64, addresses ...string) *fleet.Client {
	l.t.Helper()
	if len(addresses) == 0 {
		addresses = l.fleet.Addresses()
	}
	l.clients++
	c, err := fleet.Open(fleet.ClientOptions{Account: account, Name: fmt.Sprintf("client%d-%d", account, l.clients),
		History: l.histories(), Clock: l.clock}, addresses...)
	if err != nil {
		l.fail("%v", err)
	}
	return c
}

// account makes an account without orders.
func (l *linear) account() *positionOf {
	l.accounts++
	return &positionOf{account: l.accounts, allowed: make(chan struct{}, historyMost)}
}

// supply enters the order that all others buy from.
func (l *linear) supply() {
	l.t.Helper()
	a := l.account()
	c := l.client(a.account)
	defer c.Close()
	ctx, cancel := context.WithTimeout(l.ctx, trioPatience)
	defer cancel()
	call, err := c.Send(ctx, orderbook.Command{Tag: orderbook.TagNew, ClientOrderID: 1, Instrument: 1,
		Side: orderbook.Sell,
		Type: orderbook.Limit, TimeInForce: orderbook.GoodTillCancel, Price: 100, Quantity: 1 << 40})
	if err == nil {
		_, err = call.Wait(ctx)
	}
	if err != nil {
		l.fail("%v", err)
	}
}

// round has new accounts traded around a change of the leader, and returns them.
func (l *linear) round(number int) (all []*positionOf) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.ctx, 2*trioPatience)
	defer cancel()
	for range 4 {
		a := l.account()
		all = append(all, a)
		for i := range historyWriters + historyReaders {
			a.work(ctx, l, i < historyWriters)
		}
		a.allow(historyAround)
	}
	leader := l.leader()
	for _, a := range all { // the change comes in the middle of the first half
		l.awaits(ctx, a, historyAround/2)
	}
	switch number % 3 {
	case 0:
		leader.Kill()
		l.leader(leader)
		defer l.start(leader)
	case 1:
		l.stopped(ctx, leader, all)
	case 2:
		for err := leader.Transfer(ctx); err != nil; err = leader.Transfer(ctx) { // no other node follows the log now
			if ctx.Err() != nil {
				l.fail("%v", err)
			}
			leader = l.leader()
		}
		l.leader(leader)
	}
	for _, a := range all {
		a.allow(historyAround)
		close(a.allowed)
	}
	for _, a := range all {
		a.workers.Wait()
	}
	if ctx.Err() != nil {
		l.fail("%v", context.Cause(ctx))
	}
	return all
}

// stopped stops the leader until another one has executed an order of each account, and then has its old
// clients query positions: what they ask reaches it before it can know that it was deposed.
func (l *linear) stopped(ctx context.Context, leader *fleet.Node, all []*positionOf) {
	l.t.Helper()
	type old struct {
		a *positionOf
		c *fleet.Client
	}
	var asks []old
	for _, a := range all {
		for range 4 {
			c := l.client(a.account, leader.Client)
			defer c.Close()
			a.query(ctx, l, c)() // it is connected
			asks = append(asks, old{a, c})
		}
	}
	l.signal(leader, syscall.SIGSTOP)
	l.leader(leader)
	var others []string
	for _, n := range l.followers(leader) {
		others = append(others, n.Client)
	}
	for _, a := range all {
		c := l.client(a.account, others...)
		defer c.Close()
		a.order(ctx, l, c)()
	}
	var responses []func()
	for _, x := range asks { // into the kernel's buffers of the stopped node
		for range historyLate / 4 {
			responses = append(responses, x.a.query(ctx, l, x.c))
		}
	}
	l.signal(leader, syscall.SIGCONT)
	for _, await := range responses {
		await()
	}
}

// awaits waits until an account has n operations, or its clients wait for a leader.
func (l *linear) awaits(ctx context.Context, a *positionOf, n int) {
	l.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		a.mu.Lock()
		done := len(a.operations)
		a.mu.Unlock()
		if done >= n {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			l.fail("account %d has %d operations: %v", a.account, done, context.Cause(ctx))
		}
	}
}

// allow lets the clients of an account begin n further operations.
func (a *positionOf) allow(n int) {
	for range n {
		a.allowed <- struct{}{}
	}
}

// work has a client trade or query until allowed is closed.
func (a *positionOf) work(ctx context.Context, l *linear, trades bool) {
	l.t.Helper()
	c := l.client(a.account)
	a.workers.Go(func() {
		defer c.Close()
		for range a.allowed {
			if trades {
				a.order(ctx, l, c)()
			} else {
				a.query(ctx, l, c)()
			}
		}
	})
}

// order sends an order. The function that it returns waits for the response.
func (a *positionOf) order(ctx context.Context, l *linear, c *fleet.Client) (await func()) {
	in := bid{a.ids.Add(1), 1 + rand.Uint64N(5)}
	return a.send(ctx, l, c, in, orderbook.Command{Tag: orderbook.TagNew, ClientOrderID: in.id,
		Instrument: 1, Side: orderbook.Buy,
		Type: orderbook.Limit, TimeInForce: orderbook.ImmediateOrCancel, Price: 100, Quantity: in.quantity})
}

// query asks for the position. The function that it returns waits for the response.
func (a *positionOf) query(ctx context.Context, l *linear, c *fleet.Client) (await func()) {
	return a.send(ctx, l, c, bid{}, orderbook.Command{Tag: orderbook.TagQueryPosition, Instrument: 1})
}

func (a *positionOf) send(ctx context.Context, l *linear, c *fleet.Client, in bid,
	command orderbook.Command) (await func()) {
	began := l.clock.Now()
	call, err := c.Send(ctx, command)
	return func() {
		var r fleet.Result
		if err == nil {
			r, err = call.Wait(ctx)
		}
		o := porcupine.Operation{Input: in, Call: began, Return: l.clock.Now()}
		switch {
		case err == nil && in.id == 0:
			p := r.Answers[0].(orderbook.Position)
			o.Output = outcome{position: position{p.LastID, p.Accepted, p.Bought}}
		case err == nil:
			o.Output = outcome{accepted: r.Reports[0].Tag == orderbook.TagAccepted}
		case errors.Is(err, client.ErrUnknownOutcome) && in.id != 0: // it may be executed at any time
			o.Output, o.Return = outcome{unknown: true}, math.MaxInt64
		case errors.Is(err, client.ErrUnknownOutcome), errors.Is(err, client.ErrNotSent):
			return // it changed nothing
		default:
			l.cancel(fmt.Errorf("account %d: %w", a.account, err))
			return
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.operations = append(a.operations, o)
		if o.Return == math.MaxInt64 {
			a.unknown++
		}
	}
}

// check has porcupine check the history of an account. One that is refused is drawn into a page.
func (l *linear) check(a *positionOf) {
	l.t.Helper()
	if n := len(a.operations); n > historyMost || n < historyAround {
		l.fail("account %d has %d operations, want %d to %d", a.account, n, historyAround, historyMost)
	}
	switch result, info := porcupine.CheckOperationsVerbose(positions, a.operations, trioPatience); result {
	case porcupine.Unknown:
		l.fail("porcupine has not judged %d operations of account %d within %v", len(a.operations),
			a.account, trioPatience)
	case porcupine.Illegal:
		page := filepath.Join(l.dir, "history.html")
		l.fail("the positions of account %d are not linearizable, see %s (%v)", a.account, page,
			porcupine.VisualizePath(positions, info, page))
	}
}
