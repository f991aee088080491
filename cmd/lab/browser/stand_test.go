package browser

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/cmd/lab/program"
	"sluice/cmd/orderbook"
	"sluice/transport/client"
	"sluice/transport/wire"
)

const patience = 60 * time.Second // for what takes milliseconds on a quiet machine

// stand is a running sluice serve with its live page.
type stand struct {
	t       *testing.T
	program string
	tcp     string // address for clients
	unix    string // socket for clients
	admin   string // socket for operators
	base    string // of the pages, http://host:port
}

// newStand starts a server that runs until the end of the test.
func newStand(t *testing.T, flags ...string) *stand {
	t.Helper()
	dir := t.TempDir()
	path, err := program.Build(dir)
	if err != nil {
		t.Fatal(err)
	}
	d := &stand{t: t, program: path, unix: filepath.Join(dir, "s"), admin: filepath.Join(dir, "a")}
	cmd := exec.Command(path, append([]string{"serve", "--data-dir", filepath.Join(dir, "data"), "--listen-tcp", "127.0.0.1:0",
		"--listen-unix", d.unix, "--admin-address", "127.0.0.1:0", "--admin-socket", d.admin, "--shards", "4"}, flags...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // no server survives a test that is killed
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // an error says that it has ended
		_ = cmd.Wait()
	})
	if err := d.readAddresses(out); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }() // ends with the server
	return d
}

// readAddresses reads the block that a server prints when it is ready, up to the line of the live
// page.
func (d *stand) readAddresses(out io.Reader) error {
	for scan := bufio.NewScanner(out); scan.Scan(); {
		name, rest, _ := strings.Cut(strings.TrimSpace(scan.Text()), " ")
		words := strings.Fields(strings.ReplaceAll(rest, ",", ""))
		switch {
		case name == "clients" && len(words) > 1:
			d.tcp = words[1]
		case name == "live" && len(words) > 0:
			d.base = strings.TrimSuffix(words[0], "/")
			return nil
		}
	}
	return errors.New("the server ended before it was ready")
}

// operate runs a command of sluice admin.
func (d *stand) operate(args ...string) {
	d.t.Helper()
	args = append([]string{"admin", "--admin-socket", d.admin}, args...)
	if out, err := exec.Command(d.program, args...).CombinedOutput(); err != nil {
		d.t.Fatalf("sluice %v: %v\n%s", args, err, out)
	}
}

func (d *stand) dial(i int) *client.Conn {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	network, address := "tcp", d.tcp
	if i%2 == 1 {
		network, address = "unix", d.unix
	}
	c, err := client.Dial(ctx, network, address, client.Options{})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { c.Close() })
	return c
}

// body is the part of a request behind its header.
func body(c *orderbook.Command) []byte {
	frame, err := orderbook.AppendRequest(nil, 0, c)
	if err != nil {
		panic(err)
	}
	return frame[wire.PrefixSize+wire.RequestHeaderSize:]
}

// trade has clients send orders that match, at a total rate a second, and read the responses. The
// result ends the trading and waits for it.
func (d *stand) trade(clients int, rate func(since time.Duration) float64) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	began := time.Now()
	for i := range clients {
		c := d.dial(i)
		all.Go(func() { // until the connection is closed
			for {
				if _, _, err := c.Next(); err != nil {
					return
				}
			}
		})
		all.Go(func() {
			err := send(ctx, c, i, func() float64 { return rate(time.Since(began)) / float64(clients) })
			if err != nil && ctx.Err() == nil {
				d.t.Error(err)
			}
			c.Close()
		})
	}
	stop = sync.OnceFunc(func() { cancel(); all.Wait() })
	d.t.Cleanup(stop)
	return stop
}

// send sends the orders of one client. Neighbours trade with each other, so that the book stays
// small.
func send(ctx context.Context, c *client.Conn, i int, rate func() float64) error {
	const every = 5 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	defer context.AfterFunc(ctx, func() { c.Close() })() // a shut gate can leave a send without room
	order := orderbook.Command{
		Tag: orderbook.TagNew, Account: uint64(i + 1), Instrument: uint32(i/2 + 1), Side: orderbook.Buy, Type: orderbook.Limit,
		TimeInForce: orderbook.GoodTillCancel, Price: 100, Quantity: 1,
	}
	if i%2 == 1 {
		order.Side = orderbook.Sell
	}
	owed := math.Mod(float64(i)*0.37, 1) // clients do not send in step
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for owed += rate() * every.Seconds(); owed >= 1; owed-- {
			order.ClientOrderID++
			if err := c.Send(order.ClientOrderID, order.Tag, body(&order)); err != nil {
				return err
			}
		}
		if err := c.Flush(); err != nil {
			return err
		}
	}
}

// hoard has a client request more than it reads, until that many bytes wait for it beyond the
// kernel's buffers, which are small here. It is the nth client that does so.
func (d *stand) hoard(nth, unsent int) *client.Conn {
	d.t.Helper()
	c := d.dial(0)
	if err := c.NetConn().(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		d.t.Fatal(err)
	}
	query := orderbook.Command{Tag: orderbook.TagQueryPosition, Account: 1, Instrument: 1}
	seq := uint64(0)
	until(d.t, "a slow client", func() error {
		for range 200 {
			seq++
			if err := c.Send(seq, query.Tag, body(&query)); err != nil {
				return err
			}
		}
		if err := c.Flush(); err != nil {
			return err
		}
		var page struct {
			Top []struct {
				Unsent int     `json:"unsent_bytes"`
				Lag    float64 `json:"lag_seconds"`
			} `json:"top"`
		}
		err := d.get(fmt.Sprintf("/connections?by=buffered&top=%d&format=json", nth), &page)
		if top := page.Top; err == nil && (len(top) < nth || top[nth-1].Unsent < unsent || top[nth-1].Lag == 0) {
			err = fmt.Errorf("after %d requests: %+v", seq, top)
		}
		return err
	})
	return c
}

// get reads a page as JSON.
func (d *stand) get(path string, into any) error {
	response, err := http.Get(d.base + path)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return json.NewDecoder(response.Body).Decode(into)
}

// until waits for an effect of another goroutine or process.
func until(t *testing.T, what string, try func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("waited %v for %s: %v", patience, what, err)
		}
	}
}
