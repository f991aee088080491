package main

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"sluice/cmd/internal/config"
	"sluice/cmd/orderbook"
	"sluice/transport/client"
)

const clientHead = `usage: sluice client [flags] REQUEST

` + orderHelp + `
  watch                                      read requests from standard input, one per line, and
                                             print responses as they arrive
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
}

func (c *clientConfig) set() *config.Set {
	return config.NewSet("",
		config.Setting{Name: "address", Group: "Flags",
			Value: config.Text(&c.Address, "ADDR"),
			Help:  "connect to this server: host:port, or the path of a unix-domain socket"},
		config.Setting{Name: "key", Group: "Flags",
			Value: config.Text(&c.Key, "FILE"), Help: "authenticate with the private key in this file"},
		config.Setting{Name: "account", Group: "Flags",
			Value: config.Count(&c.Account, 0, 1<<53, false), Help: "trade for this account"},
		config.Setting{Name: "id", Group: "Flags",
			Value: config.Count(&c.ID, 0, 1<<53, true),
			Help: "send the request with this client order id; auto asks for the last id of the " +
				"account and takes the next one; " +
				"a request with a used id is not executed again"},
		config.Setting{Name: "json", Group: "Flags",
			Value: config.Bool(&c.JSON), Help: "print one JSON object per line"},
		config.Setting{Name: "timeout", Group: "Flags",
			Value: config.Duration(&c.Timeout, time.Millisecond, time.Hour),
			Help:  "wait at most this time for the connection, and for each response"},
	)
}

// trade is `sluice client`.
func trade(e *env, args []string) error {
	c := &clientConfig{Address: config.DefaultAddress, Account: 1, Timeout: 5 * time.Second}
	words, done, err := load(e, c.set(), args, clientHead)
	if done || err != nil {
		return err
	}
	if len(words) > 0 && words[0] == "keygen" {
		return keygen(e, words[1:])
	}
	watching := len(words) == 1 && words[0] == "watch"
	var request orderbook.Command
	if !watching {
		if request, err = parseOrder(words); err != nil {
			return err
		}
	}
	var key ed25519.PrivateKey
	if c.Key != "" {
		if key, err = client.ReadKey(c.Key); err != nil {
			return err
		}
	}
	s, err := c.dial(key)
	if err != nil {
		return err
	}
	defer s.conn.Close()
	s.screen = &screen{w: e.stdout, json: c.JSON, clock: watching && !c.JSON}
	if watching || orderbook.UsesID(request.Tag) && c.ID == 0 {
		if err := s.askLast(); err != nil {
			return err
		}
	} else {
		s.last = uint64(c.ID) - 1
	}
	if watching {
		return s.watch(e)
	}
	if err := s.send(&request); err != nil {
		return err
	}
	return s.answer()
}

// session is a connection with its requests in flight.
type session struct {
	conn    *client.Conn
	config  *clientConfig
	screen  *screen
	account uint64
	last    uint64 // last client order id; belongs to the sender
	seq     uint64 // last request_seq; belongs to the sender

	mu   sync.Mutex
	sent []time.Time // times of sending of the requests in flight, guarded by mu
}

// dropNewest removes the newest request in flight. A server reports a shed request at once, even
// while older ones wait for the disk.
func (s *session) dropNewest() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = s.sent[:max(len(s.sent)-1, 0)]
}

// dial connects. Its errors name a remedy.
func (c *clientConfig) dial(key ed25519.PrivateKey) (*session, error) {
	network := "tcp"
	if strings.ContainsAny(c.Address, "/@") {
		network = "unix"
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
	defer cancel()
	conn, err := client.Dial(ctx, network, c.Address,
		client.Options{Key: key, HeartbeatEvery: 10 * time.Second})
	switch {
	case errors.Is(err, client.ErrNoKey):
		return nil, fmt.Errorf("the server at %s asks for a key: name yours with --key, "+
			"or make one with `sluice client keygen FILE`", c.Address)
	case errors.Is(err, client.ErrAuthFailed):
		return nil, fmt.Errorf("the server at %s does not know the key %s: add its line to the file of its "+
			"--authorized-keys, and send the server SIGHUP", c.Address, c.Key)
	case err != nil:
		return nil, fmt.Errorf("no server at %s %s: %w; start one with `sluice serve`, "+
			"or name another with --address", network, c.Address, err)
	}
	return &session{conn: conn, config: c, account: uint64(c.Account)}, nil
}

// send sends a request, with the next client order id if it needs one.
func (s *session) send(c *orderbook.Command) error {
	c.Account = s.account
	if orderbook.UsesID(c.Tag) {
		s.last++
		c.ClientOrderID = s.last
	}
	s.seq++
	const header = 4 + 8 + 1
	frame, err := orderbook.AppendRequest(nil, s.seq, c)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.sent = append(s.sent, time.Now())
	s.mu.Unlock()
	_ = s.conn.Send(s.seq, c.Tag, frame[header:]) // Flush returns the same error
	_ = s.conn.NetConn().SetWriteDeadline(time.Now().Add(s.config.Timeout))
	if err := s.conn.Flush(); err != nil {
		return fmt.Errorf("sending to %s: %w", s.config.Address, err)
	}
	return nil
}

// dropOldest removes the oldest request in flight and returns the time since it was sent.
func (s *session) dropOldest() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sent) == 0 {
		return 0
	}
	took := time.Since(s.sent[0])
	s.sent = s.sent[1:]
	return took
}

// answer prints the response to the only request.
func (s *session) answer() error {
	failed := false
	for {
		tag, body, err := s.next()
		if err != nil {
			return err
		}
		v, err := s.screen.frame(tag, body)
		if err != nil {
			return err
		}
		failed = failed || v == refused || v == shed
		if v == ended {
			s.screen.done(s.dropOldest())
		}
		switch {
		case v != ended && v != shed:
		case failed:
			return errors.New("the request was not executed")
		default:
			return nil
		}
	}
}

func (s *session) next() (tag uint8, body []byte, err error) {
	_ = s.conn.SetReadDeadline(time.Now().Add(s.config.Timeout))
	tag, body, err = s.conn.Next()
	var end *client.CloseError
	switch {
	case errors.As(err, &end):
		err = fmt.Errorf("%s closed the connection before it responded: %v; the request may have "+
			"been executed", s.config.Address, end.Reason)
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("no response from %s within %v: its disk may be slow, or its policy cannot be met; "+
			"the request may still be executed", s.config.Address, s.config.Timeout)
	case errors.Is(err, io.EOF):
		err = fmt.Errorf("%s closed the connection before it responded; the request may have "+
			"been executed", s.config.Address)
	case err != nil:
		err = fmt.Errorf("waiting for %s: %w", s.config.Address, err)
	}
	return tag, body, err
}

// askLast asks for the last client order id of the account.
func (s *session) askLast() error {
	if err := s.send(&orderbook.Command{Tag: orderbook.TagQueryPosition}); err != nil {
		return err
	}
	var last uint64
	for {
		tag, body, err := s.next()
		if err != nil {
			return err
		}
		if tag == orderbook.TagPosition {
			a, err := orderbook.DecodeAnswer(tag, body)
			if err != nil {
				return err
			}
			last = a.(orderbook.Position).LastID
			continue
		}
		switch v, err := (&screen{w: io.Discard}).frame(tag, body); {
		case err != nil:
			return err
		case v == shed:
			return fmt.Errorf("asking %s for the last id of the account: the server shed the "+
				"request, it is busy; "+
				"try again, or name the id with --id", s.config.Address)
		case v == ended:
			s.last = last
			s.dropOldest()
			return nil
		}
	}
}

// watch sends requests from the input and prints responses, until the input ends and every request
// is answered.
func (s *session) watch(e *env) error {
	if !s.config.JSON {
		fmt.Fprintf(e.stderr,
			"connected to %s as account %d, last #%d; type help for the requests, ctrl-D to end\n",
			s.config.Address, s.account, s.last)
	}
	_ = s.conn.SetReadDeadline(time.Time{})
	over := make(chan error, 1)
	go func() { over <- s.show() }()
	lines := make(chan string)
	go func() {
		defer close(lines)
		for scan := bufio.NewScanner(e.stdin); scan.Scan(); {
			lines <- scan.Text()
		}
	}()
	for {
		select {
		case err := <-over:
			if err == nil {
				err = fmt.Errorf("%s closed the connection", s.config.Address)
			}
			return err
		case line, ok := <-lines:
			if !ok || line == "quit" || line == "exit" {
				_ = s.conn.CloseWrite()
				select {
				case err := <-over:
					return err
				case <-time.After(s.config.Timeout):
					return fmt.Errorf("%s has not answered every request within %v",
						s.config.Address, s.config.Timeout)
				}
			}
			if err := s.typed(e, line); err != nil {
				return err
			}
		}
	}
}

// typed sends one line of input.
func (s *session) typed(e *env, line string) error {
	words := strings.Fields(line)
	switch {
	case len(words) == 0 || strings.HasPrefix(words[0], "#"):
		return nil
	case words[0] == "help":
		fmt.Fprintf(e.stderr, "%s\n  quit\n", orderHelp)
		return nil
	}
	request, err := parseOrder(words)
	if err != nil {
		fmt.Fprintln(e.stderr, err) // a mistyped line does not end the session
		return nil
	}
	return s.send(&request)
}

// show prints every frame until the connection ends. It returns nil if it ends between frames.
func (s *session) show() error {
	for {
		tag, body, err := s.conn.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		var end *client.CloseError
		if errors.As(err, &end) {
			return fmt.Errorf("%s closed the connection: %v", s.config.Address, end.Reason)
		}
		if err != nil {
			return fmt.Errorf("waiting for %s: %w", s.config.Address, err)
		}
		v, err := s.screen.frame(tag, body)
		if err != nil {
			return err
		}
		switch v {
		case ended:
			s.screen.done(s.dropOldest())
		case shed:
			s.dropNewest()
		}
	}
}
