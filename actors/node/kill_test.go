package node

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sluice/actors/sequencer"
	"sluice/cmd/orderbook"
	"sluice/durability/journal"
	"sluice/transport"
	"sluice/transport/client"
)

// childDir, in the environment, makes the test binary a server with its data there; childApp names
// its application: presence, or else the order book.
const (
	childDir = "SLUICE_TEST_SERVE"
	childApp = "SLUICE_TEST_APPLICATION"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if os.Getenv(childApp) == "load" {
			load(dir)
			return
		}
		if os.Getenv(childApp) == "presence" {
			cfg := presenceConfig(dir, os.Stderr)
			cfg.SnapshotEvents = 300
			child(cfg)
			return
		}
		cfg := config(dir, transport.ModeAuto, os.Stderr)
		cfg.SnapshotEvents = 300
		child(cfg)
		return
	}
	os.Exit(m.Run())
}

// child serves until it is killed.
func child[R, Q any](cfg Config[R, Q]) {
	s, err := Open(context.Background(), cfg)
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	fmt.Println("ready")
	<-s.Ended()
	fmt.Println("ended:", s.Err())
}

const (
	kills        = 50
	ordersPerRun = 250 // of each client, so that the log of a run is still there when the next one has ended
)

// killed is what the whole test knows: the journal as it was after each kill, and what clients
// received.
type killed struct {
	t      *testing.T
	dir    string
	events map[uint64][]byte
	last   uint64
	got    map[uint64][][]byte // reports received, by connection id
	acked  uint64              // highest client order id of account 1 that was acknowledged
	acks   int
}

// R35: whenever the server is killed, what clients were told is in the journal, and the next run
// goes on from there.
func TestKillLosesNothingAcknowledged(t *testing.T) {
	k := &killed{t: t, dir: t.TempDir(), events: map[uint64][]byte{}, got: map[uint64][][]byte{}}
	rng := rand.New(rand.NewPCG(7, 1))
	quick := 0
	for run := range uint64(kills) {
		n := k.run(run+1, int64(max(rng.IntN(250)-10, 0)), run*ordersPerRun)
		if n == 0 {
			quick++
		}
		k.readJournal(run + 1)
	}
	k.compare()
	if k.acks < kills || quick == kills {
		t.Errorf("only %d acknowledgements in %d runs: too few to mean anything", k.acks, kills)
	}
	t.Logf("%d kills, %d events in the journal, %d reports received, %d runs without any", kills,
		k.last, k.acks, quick)
}

// run starts a server, checks that it knows what was acknowledged before, trades with it and kills
// it after that many reports: at once after none.
func (k *killed) run(incarnation uint64, after int64, firstID uint64) (received int) {
	kill, ended := startChild(k.t, k.dir, "")
	defer ended()
	seller, buyer := dial(k.t, "unix", filepath.Join(k.dir, "s")), dial(k.t, "unix",
		filepath.Join(k.dir, "s"))
	k.checkPosition(seller)
	done := make(chan [][]byte, 2)
	var seen atomic.Int64
	report := func() {
		if seen.Add(1) == after {
			kill()
		}
	}
	go func() { done <- trade(seller.conn, 1, orderbook.Sell, firstID, report) }()
	go func() { done <- trade(buyer.conn, 2, orderbook.Buy, firstID, report) }()
	if after == 0 {
		kill()
	}
	defer time.AfterFunc(patience, kill).Stop()
	for range 2 {
		for _, frame := range <-done {
			conn := incarnation<<connBits | uint64(frame[0])
			k.got[conn] = append(k.got[conn], frame[1:])
			k.note(frame[1:])
			received++
		}
	}
	k.acks += received
	return received
}

// startChild starts a server in a process of its own and returns once it serves. kill is SIGKILL;
// ended kills it again, in case the test failed in between, and waits for its end.
func startChild(t *testing.T, dir, app string) (kill, ended func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, childApp+"="+app)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd.Stderr = &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // no server survives a test that is killed
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() { _ = cmd.Process.Kill() }
	ended = func() {
		kill()
		_ = cmd.Wait() // says that it was killed
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		ended()
		t.Fatalf("the server does not start: %s\n%s", lines.Text(), &log)
	}
	return kill, ended
}

func (k *killed) note(frame []byte) {
	var r orderbook.Report
	if err := orderbook.DecodeReport(frame[0], frame[1:], &r); err != nil {
		k.t.Fatal(err)
	}
	if r.Tag == orderbook.TagAccepted && r.Account == 1 {
		k.acked = max(k.acked, r.ClientOrderID)
	}
}

// checkPosition asks the new run for the last order of account 1.
func (k *killed) checkPosition(c *trader) {
	c.command(position(1))
	tag, b, err := c.conn.Next()
	if err != nil {
		k.t.Fatal(err)
	}
	answer, err := orderbook.DecodeAnswer(tag, b)
	if err != nil {
		k.t.Fatal(err)
	}
	if a := answer.(orderbook.Position); a.LastID < k.acked || a.Seq != k.last {
		k.t.Fatalf("the new run is at event %d with order %d; the journal ends at %d, and order "+
			"%d was acknowledged",
			a.Seq, a.LastID, k.last, k.acked)
	}
	c.expect("end")
}

// trade sends orders, up to 16 without an answer, until the server is gone. It returns the reports,
// each with the account in front.
func trade(c *client.Conn, account uint64, side orderbook.Side, firstID uint64, report func()) (frames [][]byte) {
	defer c.Close()
	open, id := 0, firstID
	for {
		for ; open < 16 && id < firstID+ordersPerRun; open++ {
			id++
			cmd := order(account, id, side, 100+int64(id%3), 1+id%5)
			if c.Send(id, cmd.Tag, body(cmd)) != nil {
				break
			}
		}
		_ = c.Flush() // what arrived before the end is still to be read
		tag, b, err := c.Next()
		if err != nil {
			return frames
		}
		if tag < 0x30 {
			open--
			continue
		}
		frames = append(frames, append([]byte{byte(account), tag}, b...))
		report()
	}
}

// readJournal adds what is on disk to what was there before, and fails on a gap or a contradiction.
func (k *killed) readJournal(run uint64) {
	log, err := journal.Inspect(filepath.Join(k.dir, "data/journal"))
	if err != nil {
		k.t.Fatalf("after kill %d: %v", run, err)
	}
	if uint64(log.First) > k.last+1 || uint64(log.Last) < k.last {
		k.t.Fatalf("after kill %d the journal holds %d..%d, it held events up to %d", run,
			log.First, log.Last, k.last)
	}
	for ev, err := range log.Events() {
		if err != nil {
			k.t.Fatal(err)
		}
		if old, ok := k.events[uint64(ev.Seq)]; ok && !bytes.Equal(old, ev.Payload) {
			k.t.Fatalf("after kill %d event %d is another one", run, ev.Seq)
		}
		k.events[uint64(ev.Seq)] = bytes.Clone(ev.Payload)
	}
	k.last = uint64(log.Last)
}

// compare applies the whole journal to a new book. What every client received must be the beginning
// of what the book says to its connection.
func (k *killed) compare() {
	book, err := orderbook.New(orderbook.Config{})
	if err != nil {
		k.t.Fatal(err)
	}
	says := &recorder{frames: map[uint64][][]byte{}}
	for seq := uint64(1); seq <= k.last; seq++ {
		var ev sequencer.Event
		if err := sequencer.DecodeEvent(k.events[seq], &ev); err != nil {
			k.t.Fatalf("event %d: %v", seq, err)
		}
		ev.Seq = seq
		sequencer.Deliver(book, &ev, says)
		says.flush(k.t)
	}
	for conn, got := range k.got {
		want := says.frames[conn]
		if len(got) > len(want) {
			k.t.Fatalf("connection %#x received %d reports, the journal gives it %d", conn,
				len(got), len(want))
		}
		for i := range got {
			if !bytes.Equal(got[i], want[i]) {
				k.t.Fatalf("connection %#x: report %d was %s, the journal says %s", conn, i,
					words(got[i][0], got[i][1:]), words(want[i][0], want[i][1:]))
			}
		}
	}
}

// recorder is an Emitter that keeps reports as bytes.
type recorder struct {
	frames map[uint64][][]byte
	conns  []uint64
	open   []*orderbook.Report
}

func (r *recorder) Report(conn uint64) *orderbook.Report {
	r.conns, r.open = append(r.conns, conn), append(r.open, new(orderbook.Report))
	return r.open[len(r.open)-1]
}

func (r *recorder) Query(uint64) *orderbook.Answer { panic("an event has no answers to queries") }

func (r *recorder) Publish(_, _ uint64) *orderbook.Report { return new(orderbook.Report) }

func (r *recorder) flush(t *testing.T) {
	for i, report := range r.open {
		b, err := orderbook.Encoder{}.AppendReport(nil, report)
		if err != nil {
			t.Fatal(err)
		}
		r.frames[r.conns[i]] = append(r.frames[r.conns[i]], b[4:])
	}
	r.conns, r.open = r.conns[:0], r.open[:0]
}

// The book after a restart is byte for byte the one before, whether it comes from the journal, a
// snapshot or both.
func TestStateIsTheSameAfterRestart(t *testing.T) {
	for _, every := range []uint64{1 << 30, 100, 1} {
		t.Run(fmt.Sprintf("a snapshot every %d events", every), func(t *testing.T) {
			cfg := config(t.TempDir(), transport.ModePoll, &lines{})
			cfg.SnapshotEvents = every
			cfg.Pipeline.Slots = 64 // much smaller than the replay
			s, at := serve(t, cfg)
			clients := []*trader{dial(t, "tcp", at[0]), dial(t, "tcp", at[0])}
			rng := rand.New(rand.NewPCG(3, every))
			for i := range uint64(500) {
				side := 1 + rng.IntN(2)
				cmd := order(uint64(side), i+1, orderbook.Side(side), 100+int64(rng.IntN(5)),
					1+rng.Uint64N(9))
				c := clients[side-1]
				c.command(cmd)
				for c.next() != "end" {
				}
			}
			halt(t, s) // without a last snapshot, so that events are replayed
			want := bookBytes(t, bookOf(s))
			for range 2 {
				s, _ = serve(t, cfg)
				if got := bookBytes(t, bookOf(s)); !bytes.Equal(got, want) {
					t.Fatalf("the book has %d bytes, %d before, or differs", len(got), len(want))
				}
				if every < 500 && s.store.recovery.SnapshotSeq == 0 {
					t.Error("no snapshot was taken")
				}
				halt(t, s)
			}
		})
	}
}

func bookBytes(t *testing.T, b *orderbook.Book) []byte {
	var out bytes.Buffer
	if err := b.Snapshot(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
