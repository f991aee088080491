package trials

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/cmd/lab/program"
	"sluice/cmd/orderbook"
	"sluice/transport/client"
	"sluice/transport/wire"
)

// The real program is killed again and again, at random times. Each order it acknowledged is in the
// journal under the number of its acknowledgement, none is there twice, each was sent by a client,
// and what clients received equals what a replay of the journal gives.
//
// Lives are short, and some end before the server was ready. A kill -9 leaves the page cache
// intact, so the journal may be on tmpfs, which makes lives shorter still. Tests in
// durability/journal cover power failures.
//
// Clients connect over TCP, TLS and unix-domain sockets in turn. Both engines have their lives.
func TestKillsNeitherLoseNorInventOrders(t *testing.T) {
	kills := scale(4, 10, 2_000)
	eraLives := min(kills/2, 20) // with one data directory, so that no journal grows long
	program := buildProgram(t)
	seed := uint64(time.Now().UnixNano())
	sum := &tally{}
	began := time.Now()
	for sum.kills < kills {
		e := newEra(t, program, rand.New(rand.NewPCG(seed, uint64(sum.kills))), sum)
		for range min(eraLives, kills-sum.kills) {
			e.life()
			e.inspect()
		}
		e.replay()
		if sum.kills%100 == 0 {
			t.Logf("%v: %v", time.Since(began).Round(time.Second), sum)
		}
	}
	t.Logf("seed %d, journals in %s, %v: %v", seed, scratch(t), time.Since(began).Round(time.Millisecond), sum)
	if sum.acked < kills {
		t.Errorf("%d acknowledgements in %d lives are too few to prove anything", sum.acked, kills)
	}
	if sum.acked > 1000 && sum.sealed == 0 {
		t.Errorf("none of %d orders was acknowledged over TLS", sum.acked)
	}
}

// buildProgram builds the program under trial, without the race detector: under it the trial is skipped.
func buildProgram(t testing.TB) string {
	t.Helper()
	if raced {
		t.Skip("the program under trial is built without the race detector, which would find nothing here; " +
			"make test runs this trial")
	}
	path, err := program.Build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// scratch returns a directory in memory, if there is one.
func scratch(t testing.TB) string {
	if unix.Access("/dev/shm", unix.W_OK) == nil {
		return "/dev/shm"
	}
	return os.TempDir()
}

// tally counts the events of all lives.
type tally struct {
	eras               int // data directories
	kills, early, mute int // lives; lives killed before they were ready; lives without an acknowledgement
	acked, reports     int // acknowledged orders; received reports
	sealed             int // acknowledged over TLS
	events, unheard    int // orders in the journals; orders there whose acknowledgement was lost with the kill
	torn, trimmed      int // kills that left an unfinished write; kills after which snapshots had trimmed the log
}

func (s *tally) String() string {
	return fmt.Sprintf("%d kills (%d before the server was ready, %d lives without an acknowledgement, %d with an unfinished write, %d with a trimmed log): "+
		"%d orders acknowledged, %d of them over TLS, all found; %d orders in journals (%d unacknowledged), none twice, none invented; %d reports equal to the replay",
		s.kills, s.early, s.mute, s.torn, s.trimmed, s.acked, s.sealed, s.events, s.unheard, s.reports)
}

// traders is the number of clients of a life. Client i trades for account i+1.
const traders = 4

// placement identifies an order by the numbers that its client gave it.
type placement struct{ account, id uint64 }

// era is a sequence of lives with one data directory.
type era struct {
	t        testing.TB
	dir      string
	cmd      func() *exec.Cmd
	pin      *client.TLS // of the server's certificate
	most     int         // acknowledgements after which a life ends early
	rng      *rand.Rand
	sum      *tally
	events   map[uint64][]byte    // the journal as it was after each kill, by event number
	placed   map[placement]uint64 // event number of each order in it
	last     uint64               // newest event
	used     [traders]uint64      // highest client order id sent
	sessions []*session           // sessions of all lives
	checked  int                  // sessions whose acknowledgements were checked
}

// session is the record of one client in one life.
type session struct {
	account, last uint64 // last: highest client order id sent
	tls           bool
	reports       [][]byte // tag and body, in order
	acks          []orderbook.Report
}

func newEra(t testing.TB, program string, rng *rand.Rand, sum *tally) *era {
	t.Helper()
	dir, err := os.MkdirTemp(scratch(t), "sluice-crash-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			_ = os.RemoveAll(dir)
		}
	})
	cert, key, pin := certificateFiles(t, dir)
	args := []string{"serve", "--data-dir", filepath.Join(dir, "data"), "--listen-tcp", "127.0.0.1:0",
		"--listen-tls", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key,
		"--listen-unix", filepath.Join(dir, "s"), "--admin-address", "127.0.0.1:0", "--journal-segment", "64KiB", "--log-level", "warn",
		"--io", []string{"auto", "poll"}[sum.eras%2], "--shards", fmt.Sprint(1 + rng.IntN(3)),
	}
	sum.eras++
	e := &era{t: t, dir: dir, pin: pin, rng: rng, sum: sum, most: 6_000, events: map[uint64][]byte{},
		placed: map[placement]uint64{}}
	if rng.IntN(2) == 0 {
		// Snapshots trim the journal. A life has time for fewer than two, including one that the events
		// of lives before it made due, so its events are all there when it ends.
		args, e.most = append(args, "--snapshot-events", "4000"), 3_000
	}
	e.cmd = func() *exec.Cmd { return exec.Command(program, args...) }
	return e
}

// orderOf returns the order that an account sends under an id. Half the accounts sell what the
// others buy.
func orderOf(p placement) *orderbook.Command {
	c := &orderbook.Command{
		Tag: orderbook.TagNew, Account: p.account, ClientOrderID: p.id, Instrument: 1 + uint32(p.id%2), Side: orderbook.Buy,
		Type: orderbook.Limit, TimeInForce: orderbook.GoodTillCancel, Price: 100 + int64(p.id%3), Quantity: 1 + p.id%5,
	}
	if p.account%2 == 0 {
		c.Side = orderbook.Sell
	}
	return c
}

// life starts a server, trades with it and kills it.
func (e *era) life() {
	e.t.Helper()
	cmd := e.cmd()
	var log bytes.Buffer
	cmd.Stderr = &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // no server survives a test that is killed
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		e.t.Fatal(err)
	}
	kill := func() { _ = cmd.Process.Kill() } // an error means that it has ended, which its status shows
	defer kill()                              // also if the test fails in between
	early := e.rng.IntN(8) == 0
	if early {
		time.AfterFunc(time.Duration(e.rng.IntN(60_000))*time.Microsecond, kill)
	}
	at, ready := addresses(out)
	if ready {
		var acks atomic.Int64
		enough := int64(100 + e.rng.IntN(e.most-100)) // otherwise fast clients would finish before the kill
		ended := e.open(at, func() {
			if acks.Add(1) == enough {
				kill()
			}
		})
		if !early {
			time.AfterFunc(50*time.Millisecond+time.Duration(e.rng.IntN(250_000))*time.Microsecond, kill)
		}
		acked := 0
		for range traders {
			s := <-ended
			if acked += len(s.acks); s.tls {
				e.sum.sealed += len(s.acks)
			}
			e.used[s.account-1] = s.last
			e.sessions = append(e.sessions, s)
		}
		if acked == 0 {
			e.sum.mute++
		}
	} else {
		e.sum.early++
	}
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait() // returns what the status below shows
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != unix.SIGKILL || !ready && !early {
		kill()
		e.t.Fatalf("life %d ended by itself (%v, ready %t); its data is in %s\n%s", e.sum.kills+1, cmd.ProcessState, ready, e.dir, &log)
	}
	e.sum.kills++
}

// addresses reads the block that a server prints when it is ready: "  clients   tcp 127.0.0.1:1234,
// tls 127.0.0.1:1235, unix /path" and, last, how to end it. The result has the address of each kind.
func addresses(out io.Reader) (at map[string]string, ready bool) {
	at = map[string]string{}
	for scan := bufio.NewScanner(out); scan.Scan(); {
		line := strings.TrimSpace(scan.Text())
		if list, ok := strings.CutPrefix(line, "clients "); ok {
			for _, where := range strings.Split(strings.TrimSpace(list), ", ") {
				kind, address, _ := strings.Cut(where, " ")
				at[kind] = address
			}
		}
		if strings.Contains(line, "kill drains") {
			return at, true
		}
	}
	return at, false
}

// open connects the clients of a life, over TCP, TLS and unix-domain sockets in turn, and an account
// otherwise than in the life before. Each session is delivered when its connection has ended; acked is
// called for each acknowledgement.
func (e *era) open(at map[string]string, acked func()) <-chan *session {
	ended := make(chan *session, traders)
	ways := []how{{network: "tcp", address: at["tcp"]}, {network: "tcp", address: at["tls"], tls: e.pin},
		{network: "unix", address: at["unix"]}}
	for i := range uint64(traders) {
		h := ways[(int(i)+e.sum.kills)%len(ways)]
		s := &session{account: i + 1, last: e.used[i], tls: h.tls != nil}
		window := 1 << e.rng.IntN(6)
		go func() {
			defer func() { ended <- s }()
			s.trade(h, window, acked)
		}()
	}
	return ended
}

// trade sends orders, at most window of them unacknowledged, until the server is gone.
func (s *session) trade(h how, window int, acked func()) {
	c, err := connect(h, s.account, 0)
	if err != nil {
		return // killed already
	}
	defer c.Close()
	for open := 0; ; {
		for ; open < window; open++ {
			s.last++
			frame, err := orderbook.AppendRequest(nil, s.last, orderOf(placement{s.account, s.last}))
			if err != nil || c.Send(s.last, orderbook.TagNew, frame[wire.PrefixSize+wire.RequestHeaderSize:]) != nil {
				break
			}
		}
		_ = c.Flush() // an error is that of the kill; what arrived before it is still to be read
		tag, body, err := c.frame()
		if err != nil {
			return
		}
		var r orderbook.Report
		if orderbook.DecodeReport(tag, body, &r) != nil {
			open-- // the end of a response
			continue
		}
		s.reports = append(s.reports, append([]byte{tag}, body...))
		if r.Tag == orderbook.TagAccepted || r.Tag == orderbook.TagRejected {
			s.acks = append(s.acks, r)
			acked()
		}
	}
}
