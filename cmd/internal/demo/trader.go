package demo

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"sluice/cmd/internal/fleet"
	"sluice/cmd/orderbook"
	"sluice/telemetry"
	"sluice/transport/client"
	"sluice/transport/wire"
)

const (
	window     = 4                // requests that a trader has in flight
	answerTime = 10 * time.Second // limit for a response
)

// market is the state that all traders share.
type market struct {
	seed    maphash.Seed
	stop    chan struct{}  // closed when traders must not send new requests
	quiet   sync.WaitGroup // traders that wait for responses
	settled chan struct{}  // closed when no trader waits

	server atomic.Pointer[fleet.Process] // written by Run, read by traders: the server to connect to
	killed atomic.Int64                  // written by Run, read by traders: number of servers it has killed

	orders, fills, answers atomic.Int64 // written by traders, read by Run
	firstAnswer            atomic.Int64 // written by traders, read by Run: first response after the kill, ns
}

// sent is a request in flight.
type sent struct {
	command orderbook.Command
	at      int64 // time of sending, ns; 0 if it was sent again
	acked   bool
}

// ack is an acknowledgement: the command with this client order id is event seq.
type ack struct{ id, seq uint64 }

// trader is one client with an account of its own. It belongs to its goroutine until that has
// ended.
type trader struct {
	*market
	account  uint64
	network  string
	strategy *strategy
	clock    telemetry.Clock
	times    *telemetry.Recorder

	last     uint64 // last client order id
	pending  []sent // requests without a response yet, in order
	acks     []ack
	sessions []*session
	unacked  int // executed commands whose acknowledgements were lost in the crash
	repeats  int // commands sent again because they had not been executed
	position [instruments]orderbook.Position

	frame []byte
}

// session is the record of one connection.
type session struct {
	life  int64    // number of the server process, from 1
	first uint64   // event of its first acknowledged command, 0 for none
	got   []uint64 // hashes of all received reports, in order
	whole bool     // closed in order: no report may be missing
}

// errLost wraps the loss of a connection, which is expected if the server was killed.
var errLost = errors.New("connection lost")

// run trades until the market closes. It reconnects after a crash.
func (t *trader) run(ctx context.Context) error {
	defer t.times.Park()
	for quiet := false; ; {
		s := &session{}
		conn, err := t.connect(ctx, s)
		if err == nil {
			t.sessions = append(t.sessions, s)
			err = t.session(ctx, conn, s, &quiet)
			conn.Close()
		}
		switch {
		case err == nil:
			s.whole = true
			return nil
		case ctx.Err() != nil || !errors.Is(err, errLost) || t.killed.Load() < s.life:
			if !quiet {
				t.quiet.Done()
			}
			return fmt.Errorf("trader %d over %s: %w", t.account, t.network, err)
		}
	}
}

// connect connects to the current server. It retries until it succeeds or ctx ends.
func (t *trader) connect(ctx context.Context, s *session) (*client.Conn, error) {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		s.life = t.killed.Load() + 1
		address := t.server.Load().TCP
		if t.network == "unix" {
			address = t.server.Load().Unix
		}
		limit, cancel := context.WithTimeout(ctx, answerTime)
		conn, err := client.Dial(limit, t.network, address,
			client.Options{HeartbeatEvery: 10 * time.Second})
		cancel()
		if err == nil {
			return conn, nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, fmt.Errorf("no connection: %w", err)
		}
	}
}

// session trades over one connection. It returns nil when every request is answered and the
// positions are known.
func (t *trader) session(ctx context.Context, conn *client.Conn, s *session, quiet *bool) error {
	cut := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer cut()
	if err := t.resume(conn, s); err != nil {
		return err
	}
	for ctx.Err() == nil {
		stopped := false
		select {
		case <-t.stop:
			stopped = true
		default:
		}
		if stopped && len(t.pending) == 0 {
			return t.finish(ctx, conn, s, quiet)
		}
		for !stopped && len(t.pending) < window {
			t.decide(conn)
		}
		if err := t.flush(conn); err != nil {
			return err
		}
		// Half a window is answered before the next requests leave, so that requests share system
		// calls.
		for least := len(t.pending) / 2; len(t.pending) > least || stopped && len(t.pending) > 0; {
			if err := t.receive(conn, s); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// finish waits until every trader has its responses, then asks for the positions.
func (t *trader) finish(ctx context.Context, conn *client.Conn, s *session, quiet *bool) error {
	if !*quiet {
		*quiet = true
		t.quiet.Done()
	}
	select {
	case <-t.settled:
	case <-ctx.Done():
		return ctx.Err()
	}
	return t.askPositions(conn, s)
}

// resume asks a restarted server which commands in flight were executed, and sends the others
// again.
func (t *trader) resume(conn *client.Conn, s *session) error {
	if t.last == 0 {
		return nil
	}
	under := t.pending
	t.pending = nil
	t.send(conn, orderbook.Command{Tag: orderbook.TagQueryPosition, Instrument: 1})
	if err := t.flush(conn); err != nil {
		t.pending = under
		return err
	}
	for len(t.pending) > 0 {
		if err := t.receive(conn, s); err != nil {
			t.pending = under
			return err
		}
	}
	executed := t.position[0].LastID
	if n := len(t.acks); n > 0 && executed < t.acks[n-1].id {
		return fmt.Errorf("command #%d was acknowledged as event %d, but after the restart the "+
			"server knows commands up to #%d only", t.acks[n-1].id, t.acks[n-1].seq, executed)
	}
	if executed > t.last {
		return fmt.Errorf("the server knows command #%d, but the last one sent was #%d", executed,
			t.last)
	}
	for _, p := range under {
		switch {
		case p.command.ClientOrderID == 0: // a query: it need not be repeated
		case p.command.ClientOrderID <= executed:
			t.unacked++
			if p.command.Tag == orderbook.TagNew && t.strategy.maker {
				t.strategy.open = append(t.strategy.open, p.command.ClientOrderID)
			}
		default:
			t.repeats++
			t.send(conn, p.command)
			t.pending[len(t.pending)-1].at = 0
		}
	}
	return nil
}

// decide sends the next request of the strategy.
func (t *trader) decide(conn *client.Conn) {
	var c orderbook.Command
	t.strategy.next(&c)
	if c.Tag != orderbook.TagQueryTop {
		t.last++
		c.ClientOrderID = t.last
		t.orders.Add(1)
	}
	t.send(conn, c)
}

// send buffers a request.
func (t *trader) send(conn *client.Conn, c orderbook.Command) {
	c.Account = t.account
	const header = 4 + 8 + 1
	frame, err := orderbook.AppendRequest(t.frame[:0], c.ClientOrderID, &c)
	if err != nil {
		panic(fmt.Sprintf("demo: %v", err)) // impossible: strategies make only requests that the book knows
	}
	t.frame = frame
	_ = conn.Send(c.ClientOrderID, c.Tag, frame[header:]) // Flush returns the same error
	t.pending = append(t.pending, sent{command: c, at: t.clock.Now()})
}

func (t *trader) flush(conn *client.Conn) error {
	_ = conn.NetConn().SetDeadline(time.Now().Add(answerTime))
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("%w: %w", errLost, err)
	}
	return nil
}

// receive reads one frame.
func (t *trader) receive(conn *client.Conn, s *session) error {
	tag, body, err := conn.Next()
	if err != nil {
		return fmt.Errorf("%w: %w", errLost, err)
	}
	switch {
	case tag == wire.TagBatchEnd:
		return t.answered()
	case tag == orderbook.TagPosition || tag == orderbook.TagTopOfBook:
		a, err := orderbook.DecodeAnswer(tag, body)
		if err != nil {
			return err
		}
		if p, ok := a.(orderbook.Position); ok && p.Instrument >= 1 && p.Instrument <= instruments {
			t.position[p.Instrument-1] = p
		}
		return nil
	case orderbook.IsReport(tag):
		var r orderbook.Report
		if err := orderbook.DecodeReport(tag, body, &r); err != nil {
			return err
		}
		t.report(&r, s)
		return nil
	}
	return fmt.Errorf("the server sent a frame with tag %#02x, which is not a response to any "+
		"request of this demonstration", tag)
}

// report records a report about an order.
func (t *trader) report(r *orderbook.Report, s *session) {
	s.got = append(s.got, maphash.Comparable(t.seed, *r))
	if r.Tag == orderbook.TagFill {
		t.fills.Add(1)
	}
	var mine *orderbook.Command
	if len(t.pending) > 0 && answers(r, &t.pending[0].command) {
		p := &t.pending[0]
		mine = &p.command
		if !p.acked {
			p.acked = true
			t.acks = append(t.acks, ack{mine.ClientOrderID, r.Seq})
			if s.first == 0 {
				s.first = r.Seq
			}
		}
	}
	t.strategy.learn(r, mine)
}

// answers reports whether r is the acknowledgement of c.
func answers(r *orderbook.Report, c *orderbook.Command) bool {
	switch r.Tag {
	case orderbook.TagAccepted, orderbook.TagRejected:
		return r.ClientOrderID == c.ClientOrderID
	case orderbook.TagCancelled, orderbook.TagReplaced:
		return r.Command == c.ClientOrderID && c.Tag != orderbook.TagNew
	}
	return false
}

// answered completes the oldest request.
func (t *trader) answered() error {
	if len(t.pending) == 0 {
		return errors.New("the server completed a request that was not sent")
	}
	p := &t.pending[0]
	if p.command.ClientOrderID != 0 && !p.acked {
		return fmt.Errorf("command #%d was completed without an acknowledgement",
			p.command.ClientOrderID)
	}
	now := t.clock.Now()
	if p.at != 0 {
		t.times.B.H[telemetry.StageWhole].Record(uint64(now - p.at))
	}
	t.answers.Add(1)
	if t.killed.Load() > 0 && t.firstAnswer.Load() == 0 && len(t.sessions) > 1 {
		t.firstAnswer.CompareAndSwap(0, now)
	}
	t.pending = t.pending[1:]
	return nil
}

// askPositions asks for the account's position in every instrument. Reports of earlier events
// arrive before the positions.
func (t *trader) askPositions(conn *client.Conn, s *session) error {
	for i := range uint32(instruments) {
		t.send(conn, orderbook.Command{Tag: orderbook.TagQueryPosition, Instrument: 1 + i})
	}
	if err := t.flush(conn); err != nil {
		return err
	}
	for len(t.pending) > 0 {
		if err := t.receive(conn, s); err != nil {
			return err
		}
	}
	return nil
}
