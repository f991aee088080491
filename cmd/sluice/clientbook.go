package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"sluice/cmd/internal/config"
	"sluice/cmd/internal/top"
	"sluice/cmd/orderbook/marketdata"
	"sluice/cmd/orderbook/trade"
	"sluice/transport/client"
	"sluice/transport/wire"
)

// redrawEvery is the shortest time between two frames of a ladder.
const redrawEvery = 100 * time.Millisecond

// parseMarket reads the instruments of the requests book and trades.
func parseMarket(words []string) (instruments []uint32, err error) {
	p := &wordReader{words: words[1:], verb: words[0]}
	for len(p.words) > 0 || len(instruments) == 0 {
		instruments = append(instruments, p.instrument())
		if p.err != nil || words[0] == "book" {
			break
		}
	}
	if p.err == nil && len(p.words) > 0 {
		p.err = config.Usagef("book: unexpected argument %q; name one instrument", p.words[0])
	}
	return instruments, p.err
}

// market is `sluice client book` and `sluice client trades`.
func (c *clientConfig) market(e *env, key ed25519.PrivateKey, screen *screen, words []string) error {
	instruments, err := parseMarket(words)
	if err != nil {
		return err
	}
	s := &session{config: c, screen: screen, over: make(chan error, 1)}
	o, out, in := client.SessionOptions{OnState: s.state()}, (*os.File)(nil), (*os.File)(nil)
	book := words[0] == "book"
	if book && !c.Once && !c.JSON {
		out, in = terminals(e)
	}
	line := &connection{changed: make(chan struct{}, 1)}
	switch {
	case c.Once:
		o = client.SessionOptions{Once: true, OnState: func(client.State) {}}
	case out != nil:
		o.OnState = line.state
	}
	if s.Client, err = c.open(key, screen, o); err != nil {
		return err
	}
	defer s.Close()
	if err := c.within(func(ctx context.Context) error { _, err := s.Ready(ctx); return err }); err != nil {
		return c.unconnected(err)
	}
	switch {
	case c.Once:
		return s.printBook(instruments[0])
	case out != nil:
		return s.ladder(line, out, in, instruments[0])
	case book:
		return s.levels(instruments[0])
	}
	return s.trades(e, instruments)
}

// terminals returns standard output and input if both are a terminal.
func terminals(e *env) (out, in *os.File) {
	out, isFile := e.stdout.(*os.File)
	in, fromFile := e.stdin.(*os.File)
	if !isFile || !fromFile || !top.IsTerminal(out) || !top.IsTerminal(in) {
		return nil, nil
	}
	return out, in
}

// unfollowed explains why a topic cannot be followed.
func (c *clientConfig) unfollowed(err error) error {
	var refused *client.RefusedError
	switch {
	case errors.As(err, &refused) && refused.Reason == wire.RefusalUnknownTag:
		return fmt.Errorf("the server at %s has no topics; compare `sluice version` of both", c.server())
	case errors.As(err, &refused) && refused.Reason == wire.RefusalLimit:
		return fmt.Errorf("the server at %s: %v is reached; try again later, or raise its --max-topics or "+
			"--max-subscriptions", c.server(), refused.Reason)
	case errors.As(err, &refused):
		return fmt.Errorf("the server at %s refused: %v", c.server(), refused.Reason)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no snapshot from %s within %v: its disk may be slow, or its policy cannot be met",
			c.server(), c.Timeout)
	}
	return err
}

// follow subscribes with a function for the events of a topic.
func (s *session) follow(topic uint64, on func(client.TopicEvent) error) (b *client.Subscription, err error) {
	err = s.config.within(func(ctx context.Context) error {
		b, err = s.Session().Subscribe(ctx, wire.Subscribe{Topic: topic}, on)
		return err
	})
	return b, s.config.unfollowed(err)
}

// wait waits for the end of the session, or of one of the subscriptions.
func (s *session) wait(all ...*client.Subscription) error {
	ended := make(chan error, len(all))
	for _, b := range all {
		go func() { // ends with the session
			<-b.Done()
			ended <- b.Err()
		}()
	}
	err := <-ended
	if s.isOver(err) {
		return s.config.unconnected(err)
	}
	return s.config.unfollowed(err)
}

// isOver reports whether the session has ended with an error.
func (s *session) isOver(err error) bool {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	_, final := s.Ready(now)
	return final == err
}

// trades prints the trades of instruments as they happen.
func (s *session) trades(e *env, instruments []uint32) error {
	var all []*client.Subscription
	for _, instrument := range instruments {
		var b *client.Subscription
		err := s.config.within(func(ctx context.Context) (err error) {
			b, err = s.Trades(ctx, instrument, func(e trade.TradeEvent) error {
				s.screen.trade(instrument, e)
				return nil
			})
			return err
		})
		if err != nil {
			return s.config.unfollowed(err)
		}
		all = append(all, b)
	}
	if !s.config.JSON {
		fmt.Fprintf(e.stderr, "trades at %s are shown as they happen; ctrl-C to end\n", s.config.server())
	}
	return s.wait(all...)
}

// levels prints each change of a book on a line, the first snapshot included.
func (s *session) levels(instrument uint32) error {
	view := marketdata.NewBookView(instrument, false)
	b, err := s.follow(view.Topic(), func(e client.TopicEvent) error {
		switch e.Kind {
		case client.SnapshotBegin:
			view.Begin(e.Seq)
			s.screen.show("snapshot", map[string]any{"instrument": instrument, "topic_seq": e.Seq},
				fmt.Sprintf("instrument %d: these are all price levels", instrument))
		case client.SnapshotFrame:
			if err := view.Describe(e.Tag, e.Body); err != nil {
				return err
			}
			return s.screen.level(e)
		case client.SnapshotEnd:
			return view.End(e.Seq)
		case client.TopicFrame:
			if err := view.Update(e.Seq, e.Tag, e.Body); err != nil {
				return err
			}
			return s.screen.level(e)
		case client.TopicGap:
			s.screen.show("gap", map[string]any{"instrument": instrument, "topic_seq": e.Seq},
				fmt.Sprintf("instrument %d: changes are lost, because this client reads too slowly; a snapshot follows",
					instrument))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.wait(b)
}

// book follows a book.
func (s *session) book(instrument uint32) (b *trade.Book, err error) {
	err = s.config.within(func(ctx context.Context) error {
		b, err = s.Book(ctx, instrument)
		return err
	})
	return b, s.config.unfollowed(err)
}

// printBook prints a book once.
func (s *session) printBook(instrument uint32) error {
	b, err := s.book(instrument)
	if err != nil {
		return err
	}
	b.View(func(v *marketdata.BookView, at client.ReplicaPosition) { s.screen.book(instrument, v, at) })
	return nil
}

// connection is the state of the connection, in words.
type connection struct {
	text    atomic.Pointer[string]
	changed chan struct{} // holds a token after a change
}

func (l *connection) state(s client.State) {
	text := "connecting to " + s.Address
	switch s.Phase {
	case client.Ready:
		text = s.Address
	case client.Disconnected:
		text = fmt.Sprintf("not connected: %v", s.Err)
	}
	l.text.Store(&text)
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// ladder draws a book on a terminal, until q or a signal.
func (s *session) ladder(line *connection, out, in *os.File, instrument uint32) error {
	b, err := s.book(instrument)
	if err != nil {
		return err
	}
	d, err := top.OpenDisplay(in, out)
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		changed, over := b.Changed(), false
		width, height := d.Size()
		var frame string
		b.View(func(v *marketdata.BookView, at client.ReplicaPosition) {
			frame = drawLadder(v, at, *line.text.Load(), width, height-1)
		})
		if err := d.Draw(frame); err != nil {
			return err
		}
		if over, err = s.undrawn(d, b, changed, line.changed); over {
			return err
		}
	}
}

// undrawn waits until another frame is to be drawn, or the end of the ladder.
func (s *session) undrawn(d *top.Display, b *trade.Book, changed, moved <-chan struct{}) (over bool, err error) {
	pause := time.NewTimer(redrawEvery)
	defer pause.Stop()
	var book, line <-chan struct{} // nil while the last frame is new
	for {
		select {
		case <-pause.C:
			book, line = changed, moved
		case <-book:
			return false, nil
		case <-line:
			return false, nil
		case <-b.Done():
			return true, s.wait(b.Subscription)
		case got := <-d.Signals():
			return d.Ended(got), nil
		case key, ok := <-d.Keys():
			if d.Quit(key, ok) {
				return true, nil
			}
		}
	}
}
