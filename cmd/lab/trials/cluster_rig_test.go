package trials

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sluice/cmd/internal/audit"
	"sluice/cmd/internal/fleet"
	"sluice/cmd/internal/history"
	"sluice/cmd/orderbook"
)

// trioPatience is the limit of whatever a trial of a cluster waits for.
const trioPatience = time.Minute

// trio is three real nodes and clients that trade with the one that leads. What the clients were told is
// compared with all journals at the end.
type trio struct {
	t       testing.TB
	dir     string
	fleet   *fleet.Fleet
	clock   *history.Clock
	clients []*tradingClient
	opened  uint64   // clients so far
	story   []string // what is worth knowing of a failure
	stop    chan struct{}
	cancel  context.CancelCauseFunc
	ctx     context.Context
}

// tradingClient is a client with an account of its own. The trader belongs to its goroutine until done
// is closed.
type tradingClient struct {
	fleet.Trader
	account uint64
	pace    time.Duration // between two requests, on average; 0: as fast as it can
	answers atomic.Int64  // commands answered
	done    chan struct{} // nil if it does not trade by itself
	err     error         // after done
}

// newTrio starts three nodes with additional flags of serve, and waits for a leader.
func newTrio(t testing.TB, program string, serve ...string) *trio {
	t.Helper()
	r := layTrio(t, fleet.Options{Program: program, Serve: serve})
	r.begin()
	return r
}

// layTrio makes the directories of three nodes, and starts none.
func layTrio(t testing.TB, o fleet.Options) *trio {
	t.Helper()
	dir, err := os.MkdirTemp(scratch(t), "sluice-trio-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			_ = os.RemoveAll(dir)
		}
	})
	r := &trio{t: t, dir: dir, clock: history.NewClock(), stop: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancelCause(t.Context())
	o.Dir, o.Nodes, o.Serve = dir, 3, append([]string{"--journal-segment", "1MiB"}, o.Serve...)
	if r.fleet, err = fleet.New(o); err == nil {
		err = os.Mkdir(r.histories(), 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.fleet.Kill)
	return r
}

// begin starts all nodes, and waits for a leader.
func (r *trio) begin() {
	r.t.Helper()
	if err := r.fleet.Start(r.ctx); err != nil {
		r.fail("%v", err)
	}
	r.leader()
}

func (r *trio) histories() string { return filepath.Join(r.dir, "histories") }

// leader waits for a node that leads, other than those given.
func (r *trio) leader(except ...*fleet.Node) *fleet.Node {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.ctx, trioPatience)
	defer cancel()
	n, err := r.fleet.Leader(ctx, except...)
	if err != nil {
		r.fail("%v", err)
	}
	return n
}

// followers are the nodes other than the leader.
func (r *trio) followers(leader *fleet.Node) []*fleet.Node {
	return slices.DeleteFunc(slices.Clone(r.fleet.Nodes), func(n *fleet.Node) bool { return n == leader })
}

// start starts a node again.
func (r *trio) start(n *fleet.Node) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.ctx, trioPatience)
	defer cancel()
	if err := n.Start(ctx); err != nil {
		r.fail("%v", err)
	}
}

// open makes a client of the nodes at the addresses, all by default.
func (r *trio) open(addresses ...string) *tradingClient {
	r.t.Helper()
	if len(addresses) == 0 {
		addresses = r.fleet.Addresses()
	}
	r.opened++
	c := &tradingClient{account: r.opened}
	var err error
	c.Client, err = fleet.Open(fleet.ClientOptions{Account: c.account, History: r.histories(), Clock: r.clock}, addresses...)
	if err != nil {
		r.fail("%v", err)
	}
	c.Window, c.Next, c.Response = 1, c.next, func(call *fleet.Call, _ fleet.Result) {
		if orderbook.UsesID(call.Command.Tag) {
			c.answers.Add(1)
		}
	}
	r.clients = append(r.clients, c)
	return c
}

// next fills in a request: one of four is a query.
func (c *tradingClient) next(command *orderbook.Command) {
	if c.pace > 0 {
		<-time.After(rand.N(2 * c.pace))
	}
	*command = *orderOf(placement{c.account, c.LastID + 1})
	switch rand.IntN(8) {
	case 0:
		*command = orderbook.Command{Tag: orderbook.TagQueryTop, Instrument: 1 + rand.Uint32N(2)}
	case 1:
		*command = orderbook.Command{Tag: orderbook.TagQueryPosition, Instrument: 1}
	}
	command.ClientOrderID = 0
}

// trade lets n clients trade until finish.
func (r *trio) trade(n, window int) { r.tradeAt(n, window, 0) }

// tradeAt lets n clients trade at a pace.
func (r *trio) tradeAt(n, window int, pace time.Duration) {
	r.t.Helper()
	for range n {
		c := r.open()
		c.Window, c.pace, c.Patience, c.done = window, pace, 2*trioPatience, make(chan struct{})
		stop := r.stop
		go func() {
			defer close(c.done)
			if c.err = c.Run(r.ctx, stop); c.err != nil {
				r.cancel(fmt.Errorf("client %d: %w", c.account, c.err)) // nothing waits for this client
			}
		}()
	}
}

// answered waits until every client that trades has had n further orders answered.
func (r *trio) answered(n int64) {
	r.t.Helper()
	limit := time.After(trioPatience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for _, c := range r.clients {
		if c.done == nil {
			continue
		}
		for from := c.answers.Load(); c.answers.Load() < from+n; {
			select {
			case <-tick.C:
			case <-r.ctx.Done():
				r.fail("%v", context.Cause(r.ctx))
			case <-limit:
				r.stacks()
				r.fail("client %d got no response to %d orders within %v", c.account, n, trioPatience)
			}
		}
	}
}

// stacks leaves the goroutines of every node in its log, and those of this process beside it: a request without
// a response waits in one of them. The nodes have ended afterwards.
func (r *trio) stacks() {
	all := make([]byte, 4<<20)
	_ = os.WriteFile(filepath.Join(r.dir, "goroutines"), all[:runtime.Stack(all, true)], 0o600)
	for _, n := range r.fleet.Nodes {
		if n.Signal(syscall.SIGQUIT) != nil {
			continue
		}
		select {
		case <-n.Exited():
		case <-time.After(trioPatience):
		}
	}
}

// finish ends the trading and the nodes, and compares what clients were told with all journals.
func (r *trio) finish() *audit.Result {
	r.t.Helper()
	r.quit()
	r.fleet.Kill()
	return r.audit()
}

// quit ends the trading. The clients stay listed.
func (r *trio) quit() {
	r.t.Helper()
	close(r.stop)
	r.stop = make(chan struct{})
	var failed []error
	for _, c := range r.clients {
		if c.done != nil {
			<-c.done
		}
		failed = append(failed, c.err, c.Client.Close())
	}
	if err := errors.Join(failed...); err != nil {
		r.fail("%v", err)
	}
}

// audit compares what clients were told with all journals, of nodes that have ended.
func (r *trio) audit() *audit.Result {
	r.t.Helper()
	result, err := audit.Run(r.fleet.Dirs(), []string{r.histories()})
	if err != nil {
		r.fail("%v", err)
	}
	if result.Failed() > 0 || result.Found == 0 {
		r.fail("%v", result)
	}
	return result
}

// fail ends the test, and names the directory of the data.
func (r *trio) fail(format string, args ...any) {
	r.t.Helper()
	for _, n := range r.fleet.Nodes {
		r.t.Logf("the log of node %d ends:\n%s", n.Number, fleet.Tail(n.Log, 8))
	}
	for _, line := range r.story {
		r.t.Log(line)
	}
	r.t.Fatalf("data in %s: %s", r.dir, fmt.Sprintf(format, args...))
}
