package main

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"sluice/cmd/orderbook"
	"sluice/cmd/orderbook/trade"
	"sluice/transport/client"
)

// session is `sluice client watch`: requests come from standard input, and their responses are
// printed in the order of the requests. Reports that no request asked for, and breaks of the
// connection, are printed as they happen.
type session struct {
	config *clientConfig
	*trade.Client
	screen *screen
	calls  chan *call  // under way, from the goroutine that reads the input to the one that prints
	over   chan error  // holds the error with which the session ended
	lost   int         // requests without a response; of the printing goroutine
	cancel atomic.Bool // cancel-on-disconnect was turned on last
}

// call is a request under way.
type call struct {
	*trade.Sent
	at time.Time
}

// watch sends requests from the input and prints responses, until the input ends and every request
// has its response.
func (c *clientConfig) watch(e *env, key ed25519.PrivateKey, screen *screen) error {
	s := &session{config: c, screen: screen, calls: make(chan *call, client.DefaultWindow),
		over: make(chan error, 1)}
	var err error
	if s.Client, err = c.open(key, screen, client.SessionOptions{OnState: s.state()}); err != nil {
		return err
	}
	defer s.Close()
	if err := c.within(func(ctx context.Context) error { _, err := s.Ready(ctx); return err }); err != nil {
		return c.unconnected(err)
	}
	var last uint64
	if err := c.within(func(ctx context.Context) error {
		p, err := s.Position(ctx, 0)
		last = p.LastID
		return err
	}); err != nil {
		return c.explain(err)
	}
	if !c.JSON {
		fmt.Fprintf(e.stderr,
			"connected to %s as account %d, last #%d; type help for the requests, ctrl-D to end\n",
			c.server(), c.Account, last)
	}
	printed := make(chan error, 1)
	go func() { printed <- s.print() }()
	return s.read(e, printed)
}

// state returns the observer of the connection. It prints a break and the next connection, and
// none of the attempts between.
func (s *session) state() func(client.State) {
	ready, broken := false, false // of the session's goroutine
	to := ""                      // where a server has sent this one, as printed last
	return func(state client.State) {
		switch state.Phase {
		case client.Ready:
			if broken {
				text := "to " + state.Address + " again"
				if s.cancel.Swap(false) {
					text += "; cancel-on-disconnect is off, as on every new connection"
				}
				s.screen.show("connected", map[string]any{"address": state.Address}, text)
			}
			ready, broken, to = true, false, ""
		case client.Disconnected:
			in := state.In.Round(time.Millisecond)
			if ready {
				s.screen.show("lost", map[string]any{"address": state.Address, "error": state.Err.Error(),
					"retry_ms": state.In.Milliseconds()}, fmt.Sprintf("%v; connecting again in %v", state.Err, in))
			}
			if state.Directed && to != state.Next {
				to = state.Next
				s.screen.show("directed", map[string]any{"address": state.Address, "next": to,
					"retry_ms": state.In.Milliseconds()},
					fmt.Sprintf("%s does not lead; going to %s in %v", state.Address, to, in))
			}
			ready, broken = false, broken || ready
		case client.Ended:
			s.over <- state.Err
		}
	}
}

// read sends the requests of the input. It returns when the input has ended and all responses are
// printed, or the session has ended.
func (s *session) read(e *env, printed <-chan error) error {
	lines := make(chan string)
	go func() { // ends with the process, because a read of standard input cannot be cancelled
		defer close(lines)
		for scan := bufio.NewScanner(e.stdin); scan.Scan(); {
			lines <- scan.Text()
		}
	}()
	for {
		select {
		case err := <-s.over:
			return s.config.unconnected(err)
		case line, ok := <-lines:
			if ok && line != "quit" && line != "exit" {
				s.typed(e, line)
				continue
			}
			close(s.calls)
			select {
			case err := <-printed:
				return err
			case <-time.After(s.config.Timeout):
				return fmt.Errorf("%s has not answered every request within %v", s.config.server(),
					s.config.Timeout)
			}
		}
	}
}

// typed sends one line of input. A mistyped line does not end the session, and neither does a
// request that cannot be sent.
func (s *session) typed(e *env, line string) {
	words := strings.Fields(line)
	switch {
	case len(words) == 0 || strings.HasPrefix(words[0], "#"):
		return
	case words[0] == "help":
		fmt.Fprintf(e.stderr, "%s\n  quit\n", orderHelp)
		return
	}
	request, err := parseOrder(words)
	var sent *trade.Sent
	if err == nil {
		err = s.config.within(func(ctx context.Context) (err error) {
			sent, err = s.Send(ctx, request)
			return err
		})
		err = s.config.explain(err)
	}
	if err != nil {
		fmt.Fprintln(e.stderr, err)
		return
	}
	if request.Tag == orderbook.TagSetCancelOnDisconnect {
		s.cancel.Store(request.On)
	}
	s.calls <- &call{sent, time.Now()}
}

// print prints the responses in the order of the requests.
func (s *session) print() error {
	for c := range s.calls {
		response, err := c.Response(context.Background())
		_, err = s.screen.response(response, err, time.Since(c.at))
		for err == nil && nextPage(&c.Command, response) {
			began := time.Now()
			if c.Sent, err = s.Send(context.Background(), c.Command); err == nil {
				response, err = c.Response(context.Background())
				_, err = s.screen.response(response, err, time.Since(began))
			}
		}
		if err == nil {
			continue
		}
		s.lost++
		id := c.Command.ClientOrderID
		what := "a query"
		if id != 0 {
			what = fmt.Sprintf("#%d", id)
		}
		s.screen.show("unknown", map[string]any{"client_order_id": id, "error": err.Error()},
			fmt.Sprintf("%s: %v", what, s.config.explain(err)))
	}
	if s.lost > 0 {
		return fmt.Errorf("%s got no response and may have been executed; the request `outcome ID` tells",
			plural(uint64(s.lost), "request"))
	}
	return nil
}
