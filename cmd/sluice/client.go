package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"

	"sluice/cmd/internal/config"
	"sluice/cmd/orderbook"
	"sluice/cmd/orderbook/trade"
	"sluice/transport/client"
	"sluice/transport/wire"
)

const clientHead = `usage: sluice client [flags] REQUEST

` + orderHelp + `
  watch                                      read requests from standard input, one per line, and
                                             print responses as they arrive
  book INSTRUMENT                            follow all price levels: a live ladder on a terminal,
                                             which q ends, or one line for each change
  trades INSTRUMENT...                       follow the trades of these instruments
  keygen FILE [ROLE [COMMENT]]               make a key that only you may read, and print its
                                             line for --authorized-keys;
                                             ROLE is operator, trader (default) or readonly

Prices are whole ticks, quantities whole lots.

Exit codes: 0 done, 1 failed or rejected by the server, 64 usage error.`

// clientConfig has the settings of `sluice client`.
type clientConfig struct {
	Address string
	Key     string
	Account int
	ID      int
	JSON    bool
	Timeout time.Duration
	Once    bool
	Dial    config.Dial
	tls     *client.TLS // from Dial

	at atomic.Pointer[string] // address of the last attempt; nil: none began
}

func (c *clientConfig) set() *config.Set {
	settings := []config.Setting{
		{Name: "address", Group: "Flags",
			Value: config.Text(&c.Address, "ADDR"),
			Help: "connect to this server: host:port, or the path of a unix-domain socket, which has a " +
				"slash (./socket) or begins with @"},
		{Name: "key", Group: "Flags",
			Value: config.Text(&c.Key, "FILE"), Help: "authenticate with the private key in this file"},
		{Name: "account", Group: "Flags",
			Value: config.Count(&c.Account, 0, 1<<53, false), Help: "trade for this account"},
		{Name: "id", Group: "Flags",
			Value: config.Count(&c.ID, 0, 1<<53, true),
			Help: "send the request with this client order id; auto asks for the last id of the " +
				"account and takes the next one; " +
				"a request with a used id is not executed again"},
		{Name: "json", Group: "Flags",
			Value: config.Bool(&c.JSON), Help: "print one JSON object per line"},
		{Name: "timeout", Group: "Flags",
			Value: config.Duration(&c.Timeout, time.Millisecond, time.Hour),
			Help:  "wait at most this time for the connection, and for each response"},
		{Name: "once", Group: "Flags",
			Value: config.Bool(&c.Once), Help: "book: print the book as it is, and exit"},
	}
	return config.NewSet("", append(settings, c.Dial.Settings()...)...)
}

// tradeByHand is `sluice client`.
func tradeByHand(e *env, args []string) error {
	c := &clientConfig{Address: config.DefaultAddress, Account: 1, Timeout: 5 * time.Second}
	words, done, err := load(e, c.set(), args, clientHead)
	if done || err != nil {
		return err
	}
	if len(words) > 0 && words[0] == "keygen" {
		return keygen(e, words[1:])
	}
	watching := len(words) == 1 && words[0] == "watch"
	market := len(words) > 0 && (words[0] == "book" || words[0] == "trades")
	var request orderbook.Command
	switch {
	case c.Once && (!market || words[0] != "book"):
		return config.Usagef("--once is for `sluice client book INSTRUMENT`")
	case !watching && !market:
		if request, err = parseOrder(words); err != nil {
			return err
		}
		if request.Tag == orderbook.TagSetCancelOnDisconnect {
			return config.Usagef("cancel-on-disconnect is a setting of the connection, which would end " +
				"with this request; write it in `sluice client watch`")
		}
	}
	if c.tls, err = c.Dial.Options(); err != nil {
		return err
	}
	var key ed25519.PrivateKey
	if c.Key != "" {
		if key, err = client.ReadKey(c.Key); err != nil {
			return err
		}
	}
	screen := &screen{w: e.stdout, json: c.JSON, clock: (watching || market && !c.Once) && !c.JSON}
	switch {
	case watching:
		return c.watch(e, key, screen)
	case market:
		return c.market(e, key, screen, words)
	}
	return c.once(e, key, screen, request)
}

// open starts to connect.
func (c *clientConfig) open(key ed25519.PrivateKey, screen *screen, o client.SessionOptions) (*trade.Client, error) {
	o.Conn.Key, o.Conn.TLS, o.DialTimeout = key, c.tls, c.Timeout
	observer := o.OnState
	o.OnState = func(s client.State) {
		if s.Phase == client.Connecting {
			c.at.Store(&s.Address)
		}
		observer(s)
	}
	t, err := trade.Open(trade.Options{Account: uint64(c.Account), Session: o,
		OnReport: func(r *orderbook.Report) {
			if r.Unasked() {
				screen.unasked(r)
			}
		}}, c.Address)
	if err != nil {
		return nil, config.Usagef("%v", err)
	}
	return t, nil
}

// once sends one request, and those for further pages, and prints the responses.
func (c *clientConfig) once(e *env, key ed25519.PrivateKey, screen *screen, request orderbook.Command) error {
	t, err := c.open(key, screen, client.SessionOptions{Once: true, OnState: func(s client.State) {
		if s.Directed {
			fmt.Fprintf(e.stderr, "%s does not lead; going to %s\n", s.Address, s.Next)
		}
	}})
	if err != nil {
		return err
	}
	defer t.Close()
	if err := c.within(func(ctx context.Context) error { _, err := t.Ready(ctx); return err }); err != nil {
		return c.unconnected(err)
	}
	if orderbook.UsesID(request.Tag) {
		request.ClientOrderID = uint64(c.ID)
	}
	limit := time.Now().Add(c.Timeout)
	for {
		var sent *trade.Sent
		if err := c.within(func(ctx context.Context) (err error) { sent, err = t.Send(ctx, request); return err }); err != nil {
			return c.explain(err)
		}
		began := time.Now()
		var response client.Response
		err = c.within(func(ctx context.Context) (err error) { response, err = sent.Response(ctx); return err })
		if c.ID == 0 && duplicate(response) && time.Now().Before(limit) {
			if err := c.within(func(ctx context.Context) error { return renumber(ctx, t, &request) }); err != nil {
				return c.explain(err)
			}
			continue
		}
		executed, err := screen.response(response, err, time.Since(began))
		switch id := sent.Command.ClientOrderID; {
		case errors.Is(err, client.ErrUnknownOutcome) && orderbook.UsesID(request.Tag):
			return fmt.Errorf("%w; `sluice client --account %d outcome %d` tells", c.explain(err), c.Account, id)
		case err != nil:
			return c.explain(err)
		case !executed:
			return errors.New("the request was not executed")
		case !nextPage(&request, response):
			return nil
		}
	}
}

// duplicate reports whether a command was rejected because its id was used. If the id was automatic,
// another client of the account was faster, and nothing was executed.
func duplicate(r client.Response) bool {
	var report orderbook.Report
	return len(r.Frames) > 0 && r.Frames[0].Tag == orderbook.TagRejected &&
		orderbook.DecodeReport(r.Frames[0].Tag, r.Frames[0].Body, &report) == nil &&
		report.Reason == orderbook.Duplicate
}

// renumber gives a command the id after the last one of the account.
func renumber(ctx context.Context, t *trade.Client, command *orderbook.Command) error {
	p, err := t.Position(ctx, 0)
	command.ClientOrderID = p.LastID + 1
	return err
}

// server is the address of the server that the client has turned to last.
func (c *clientConfig) server() string {
	if at := c.at.Load(); at != nil {
		return *at
	}
	return c.Address
}

// within calls f with a context that ends after the timeout.
func (c *clientConfig) within(f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
	defer cancel()
	return f(ctx)
}

// unconnected explains why there is no connection, and names a remedy.
func (c *clientConfig) unconnected(err error) error {
	var end *client.CloseError
	switch {
	case errors.Is(err, client.ErrNoKey):
		return fmt.Errorf("the server at %s asks for a key: name yours with --key, "+
			"or make one with `sluice client keygen FILE`", c.server())
	case errors.Is(err, client.ErrNotChallenged):
		return fmt.Errorf("the server at %s asks for no key: leave out --key, or name an address where "+
			"the server proves nothing with it", c.server())
	case errors.Is(err, client.ErrAuthFailed):
		return fmt.Errorf("the server at %s does not know the key %s: add its line to the file of its "+
			"--authorized-keys, and send the server SIGHUP", c.server(), c.Key)
	case errors.Is(err, client.ErrServerCertificate), errors.Is(err, client.ErrNotTLS):
		return fmt.Errorf("%s: %w", c.server(), err)
	case errors.Is(err, client.ErrNoChallenge):
		return fmt.Errorf("the server at %s has not begun a handshake: if it speaks TLS, add --tls; if it speaks "+
			"another protocol, name another address with --address (%w)", c.server(), err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the server at %s has not begun a handshake within %v: name another address with --address, "+
			"add --tls if it speaks TLS, or raise --timeout (%w)", c.server(), c.Timeout, err)
	case errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("the server at %s reset the connection, as one does that has ended; try again (%w)",
			c.server(), err)
	case errors.As(err, &end):
		return fmt.Errorf("the server at %s closed the connection: %v: %s", c.server(), end.Reason,
			remedy(end.Reason))
	}
	return fmt.Errorf("no server at %s: %w; start one with `sluice serve`, or name another with --address",
		c.server(), err)
}

// remedy says why a server closes a connection, and what to do.
func remedy(reason wire.CloseReason) string {
	all := [...]string{
		wire.CloseShutdown: "it drains or stops; connect again once it runs",
		wire.CloseKicked: "an operator ended this connection with `sluice admin kick`; ask them before " +
			"you connect again",
		wire.CloseSlow: "this client read too slowly and too much was unsent; ask for less at a time, or " +
			"raise its --soft-limit and --hard-limit",
		wire.CloseProtocolError: "it cannot read what this client sends; compare `sluice version` of both",
		wire.CloseSilent: "this client sent nothing for too long, not even heartbeats; look at the network " +
			"and at the load of this machine, and connect again",
		wire.CloseLimit: "it has no room for another connection, or too many came from this address; try " +
			"again later, or raise its --max-connections or --connect-rate",
		wire.CloseUnauthorized: "it does not know this key; add its line to the file of its " +
			"--authorized-keys, and send the server SIGHUP",
		wire.CloseHandshakeTimeout: "the handshake took too long; look at the network, and try again",
		wire.CloseInternal:         "it failed to serve this connection, and its log says why; try again later",
		wire.CloseNotLeader: "another server of its cluster leads, or none does at the moment; name another " +
			"with --address, or try again",
		wire.CloseElsewhere: "another server of its cluster has taken over; connect again",
		wire.CloseBehind:    "it is behind the others of the cluster; name another address with --address",
		wire.CloseRevoked:   "the key is no longer accepted; ask an operator for a new one",
		wire.CloseSlowFeed:  "this client read a topic too slowly; read faster, and connect again",
	}
	if int(reason) >= len(all) || all[reason] == "" {
		return "this client does not know the reason; compare `sluice version` of both"
	}
	return all[reason]
}

// explain adds to the error of a request what it means.
func (c *clientConfig) explain(err error) error {
	var end *client.CloseError
	var refused *client.RefusedError
	switch {
	case errors.As(err, &refused) && refused.Reason == wire.RefusalMalformed:
		return fmt.Errorf("%w; a key can be authorized for some accounts only, and account %d was used: choose another one "+
			"with --account", err, c.Account)
	case errors.Is(err, client.ErrBusy): // of the question for the last id
		return fmt.Errorf("asking %s for the last id of the account: the server shed the request, it is busy, "+
			"and the order was not executed; try again, or name the id with --id", c.server())
	case errors.Is(err, client.ErrNotSent) && errors.Is(err, client.ErrUnknownOutcome): // likewise
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("the order was not sent: the server did not return the last id of account %d "+
				"within %v", c.Account, c.Timeout)
		}
		return fmt.Errorf("the order was not sent: the server did not return the last id of account %d: it "+
			"closed the connection", c.Account)
	case errors.Is(err, client.ErrNotSent) && errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("not sent within %v: %w", c.Timeout, err)
	case !errors.Is(err, client.ErrUnknownOutcome):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no response from %s within %v: its disk may be slow, or its policy cannot be met; "+
			"the request may still be executed", c.server(), c.Timeout)
	case errors.As(err, &end):
		return fmt.Errorf("%s closed the connection before it responded: %v; the request may have been executed",
			c.server(), end.Reason)
	}
	return fmt.Errorf("%s closed the connection before it responded; the request may have been executed: %w",
		c.server(), err)
}
