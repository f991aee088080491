package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"sluice/cmd/internal/fleet"
	"sluice/cmd/orderbook"
	"sluice/cmd/orderbook/trade"
	"sluice/transport/client"
	"sluice/transport/listen"
)

// options of one run.
type options struct {
	program   string // of the server
	honest    int
	rate      int
	length    time.Duration // of the flood
	discarded bool          // the flood goes to a process that drops it
	only      string        // part of the names of the attacks to make; empty: all
	refused   bool          // the flood goes on until it was refused in each way
}

// report is what a run found.
type report struct {
	Discarded bool
	Honest    honestCounts
	Flood     floodCounts
	Full      string             // what an honest trader could not make at the end, if anything
	Use       orderbook.LimitUse // of the limits of the book, at the end
	Audit     []line             // of the audit file
}

// line is a line of the audit file.
type line struct{ What, Name, Key, Reason string }

// named returns how many lines of the audit file say a thing about a key, and of these how many lack its fingerprint.
func (r *report) named(what, reason, name string) (lines, anonymous int) {
	for _, l := range r.Audit {
		if l.What == what && l.Reason == reason && l.Name == name {
			lines++
			if len(l.Key) != 16 {
				anonymous++
			}
		}
	}
	return lines, anonymous
}

// String is the report for people.
func (r *report) String() string {
	to := "the server"
	if r.Discarded {
		to = "a process that discards it"
	}
	h, f := r.Honest, r.Flood
	text := fmt.Sprintf("flood to %s\n"+
		"  honest  requests %d, rejected %d, refused %d, failed %d, connections closed %d, p50 %v, p99 %v\n"+
		"  flood   sent %d: served %d, rejected %d, refused %d, busy %d; connections %d, turned away %d, closed %d\n",
		to, h.Requests, h.Rejected, h.Refused, h.Failed, h.Closed, h.P50.Round(time.Microsecond),
		h.P99.Round(time.Microsecond), f.Sent, f.Served, f.Rejected, f.Refused, f.Busy, f.Connections, f.Turned, f.Closed)
	for _, name := range orderbook.LimitNames() {
		text += fmt.Sprintf("  %-12s %d of %d used\n", name, *r.Use.Used.Named(name), *r.Use.Limit.Named(name))
	}
	for _, problem := range []string{h.Error, r.Full} {
		if problem != "" {
			text += "  " + problem + "\n"
		}
	}
	return text
}

// keys are the keys of a run: of honest traders by account, from 1, and of the flood.
type keys struct {
	honest       []ed25519.PrivateKey // at 0 the one that looks at the end
	flood, churn ed25519.PrivateKey
}

// Options of the flood's keys: as an operator would write them for a trader.
const (
	floodRights = "accounts=1000-1999 instruments=1-20 connections=16 rate=2000/4000 orders=1000"
	churnRights = "accounts=none connections=4 connect-rate=10/20"
)

// writeKeys makes keys and their file.
func writeKeys(file string, honest int) (k keys, err error) {
	var text []byte
	line := func(options string) ed25519.PrivateKey {
		public, private, _ := ed25519.GenerateKey(nil) // never fails
		text = listen.AppendKeyLine(text, listen.Trader, public, "")
		text = append(text[:len(text)-1], " "+options+"\n"...)
		return private
	}
	k.honest = append(k.honest, line("name=late accounts=500000"))
	for i := range honest {
		k.honest = append(k.honest, line(fmt.Sprintf("name=honest%d accounts=%d connections=2", i+1, i+1)))
	}
	k.flood, k.churn = line("name=mallory "+floodRights), line("name=trudy "+churnRights)
	return k, os.WriteFile(file, text, 0o600)
}

const patience = 60 * time.Second

// measure runs a server, honest traders and a flood.
func measure(o options) (r report, err error) {
	dir, err := os.MkdirTemp("", "sluice-hostile-")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "keys")
	keys, err := writeKeys(file, o.honest)
	if err != nil {
		return r, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return r, err
	}
	defer log.Close()
	server, err := fleet.Spawn(ctx, o.program, []string{"serve", "--data-dir", filepath.Join(dir, "data"),
		"--listen-tcp", "127.0.0.1:0", "--admin-address", "127.0.0.1:0", "--admin-socket", filepath.Join(dir, "admin"),
		"--authorized-keys", file, "--audit-file", filepath.Join(dir, "audit")}, log)
	if err != nil {
		return r, fmt.Errorf("%w\n%s", err, fleet.Tail(log.Name(), 20))
	}
	defer server.Kill()
	target := server.TCP
	if o.discarded {
		stop, address, err := discarder()
		if err != nil {
			return r, err
		}
		defer stop()
		target = address
	}
	r.Discarded = o.discarded
	h := &honest{}
	r.Flood, err = h.beside(server.TCP, keys, o.length, floodOrder{target, keys.flood, keys.churn, o.rate,
		o.only, o.refused})
	r.Honest = h.result()
	if err == nil {
		r.Use, r.Full = late(server.TCP, keys.honest[0])
		err = server.Drain(patience)
	}
	if err == nil {
		r.Audit, err = readAudit(filepath.Join(dir, "audit"))
	}
	return r, err
}

func readAudit(file string) (lines []line, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	for from := json.NewDecoder(bytes.NewReader(text)); ; {
		var l line
		if err := from.Decode(&l); err == io.EOF {
			return lines, nil
		} else if err != nil {
			return nil, fmt.Errorf("audit file: %w", err)
		}
		lines = append(lines, l)
	}
}

// beside has the honest traders trade, beside a flood.
func (h *honest) beside(address string, k keys, length time.Duration, order floodOrder) (floodCounts, error) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	errs := make(chan error, len(k.honest))
	for i, key := range k.honest[1:] {
		all.Go(func() { errs <- h.trade(ctx, address, uint64(i+1), key) })
	}
	counts, err := runFlood(order, length)
	cancel()
	all.Wait()
	close(errs)
	for e := range errs {
		err = errors.Join(err, e)
	}
	return counts, err
}

// child starts this program again, in a role.
func child(role string) (in io.WriteCloser, out io.Reader, cmd *exec.Cmd, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, nil, err
	}
	cmd = exec.Command(self, role)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	if in, err = cmd.StdinPipe(); err != nil {
		return nil, nil, nil, err
	}
	if out, err = cmd.StdoutPipe(); err != nil {
		return nil, nil, nil, err
	}
	return in, out, cmd, cmd.Start()
}

// runFlood floods for a time.
func runFlood(order floodOrder, length time.Duration) (counts floodCounts, err error) {
	in, out, cmd, err := child(floodRole)
	if err != nil {
		return counts, err
	}
	if err = json.NewEncoder(in).Encode(order); err == nil {
		time.Sleep(length)
	}
	err = errors.Join(err, in.Close())
	err = errors.Join(err, json.NewDecoder(out).Decode(&counts))
	return counts, errors.Join(err, cmd.Wait())
}

// discarder starts a process that discards a flood.
func discarder() (stop func(), address string, err error) {
	in, out, cmd, err := child(discardRole)
	if err != nil {
		return nil, "", err
	}
	stop = func() {
		_ = in.Close()
		_ = cmd.Wait()
	}
	if address, err = bufio.NewReader(out).ReadString('\n'); err != nil {
		stop()
		return nil, "", err
	}
	return stop, strings.TrimSpace(address), nil
}

// late is a trader that comes after the flood: what it needs must be left. It returns what is used of the limits,
// and what it did not get.
func late(address string, key ed25519.PrivateKey) (use orderbook.LimitUse, problem string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := trade.Open(trade.Options{Account: 500_000,
		Session: client.SessionOptions{Conn: client.Options{Key: key}}}, address)
	if err != nil {
		return use, err.Error()
	}
	defer c.Close()
	for _, o := range []trade.Order{
		{Instrument: market, Side: orderbook.Buy, Price: 1, Quantity: 1},
		{Instrument: market, Side: orderbook.Sell, Price: 900_000, Quantity: 1},
		{Instrument: 900_000, Side: orderbook.Buy, Price: 1, Quantity: 1},
	} {
		if _, err := c.New(ctx, o); err != nil {
			return use, fmt.Sprintf("after the flood, an order in instrument %d: %v", o.Instrument, err)
		}
	}
	sent, err := c.Send(ctx, orderbook.Command{Tag: orderbook.TagQueryLimits})
	if err != nil {
		return use, err.Error()
	}
	response, err := sent.Response(ctx)
	if err != nil {
		return use, err.Error()
	}
	answer, err := orderbook.DecodeAnswer(response.Frames[0].Tag, response.Frames[0].Body)
	if err != nil {
		return use, err.Error()
	}
	use, _ = answer.(orderbook.LimitUse)
	return use, ""
}
