package node

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"sluice/actors/sequencer"
	"sluice/cmd/orderbook"
	"sluice/transport"
	"sluice/transport/client"
	"sluice/transport/wire"
)

const (
	stopRate     = 10_000           // requests a second
	stopWindow   = 12 * time.Second // of load, in which about three snapshots are due
	stopSnapshot = 40_000           // events between snapshots
)

// BenchmarkSnapshotStop is what a snapshot costs the clients of a running node, by the number of
// resting orders: the longest time between two requests of a load of one every 0.1 ms, as the
// sequencer sees them (gap), and response times as the client sees them, from when a request was due.
// The client is another process.
func BenchmarkSnapshotStop(b *testing.B) {
	for _, resting := range []int{10_000, 1_000_000} {
		for _, every := range []uint64{1 << 40, stopSnapshot} {
			name := map[bool]string{true: "yes", false: "no"}[every == stopSnapshot]
			b.Run(fmt.Sprintf("orders=%d/snapshots=%s", resting, name), func(b *testing.B) {
				benchmarkStop(b, resting, every)
			})
		}
	}
}

func benchmarkStop(b *testing.B, resting int, every uint64) {
	dir := b.TempDir()
	cfg := config(dir, transport.ModePoll, io.Discard)
	cfg.Journal.SegmentBytes, cfg.SnapshotEvents = 0, every
	live := new(timedBook)
	cfg.Application = func() bookApp {
		if live.Book == nil {
			live.Book = newBook(orderbook.Config{})
			return live
		}
		return newBook(orderbook.Config{})
	}
	n, _ := serve(b, cfg)
	load := startLoad(b, dir)
	load.do(b, loadCommand{Fill: resting})
	taken := 0
	for b.Loop() {
		until(b, "the end of a snapshot of the filling, or of the load before", func() bool {
			return n.store.writing.Rounds()%2 == 0
		})
		runtime.GC()
		live.gap, live.last = 0, time.Time{} // between requests: no load runs
		from := newestSnapshot(b, cfg.DataDir)
		r := load.do(b, loadCommand{Run: stopWindow})
		for _, m := range []struct {
			unit  string
			value float64
		}{
			{"gap-ms", float64(live.gap) / 1e6}, {"p50-ms", r.P50}, {"p99-ms", r.P99},
			{"p99.9-ms", r.P999}, {"max-ms", r.Max},
		} {
			b.ReportMetric(m.value, m.unit)
		}
		taken += int(newestSnapshot(b, cfg.DataDir)-from) / stopSnapshot
	}
	b.ReportMetric(float64(taken)/float64(b.N), "snapshots")
}

func newestSnapshot(b *testing.B, dataDir string) (seq uint64) {
	names, err := filepath.Glob(filepath.Join(dataDir, "journal/snap/*.snap"))
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range names {
		var s uint64
		if n, _ := fmt.Sscanf(filepath.Base(name), "%016x.snap", &s); n == 1 {
			seq = max(seq, s)
		}
	}
	return seq
}

// timedBook notes the longest time between two requests.
type timedBook struct {
	*orderbook.Book
	last time.Time
	gap  time.Duration
}

func (t *timedBook) Apply(ev *sequencer.Event,
	out sequencer.Emitter[orderbook.Report, orderbook.Answer]) {
	now := time.Now()
	if !t.last.IsZero() {
		t.gap = max(t.gap, now.Sub(t.last))
	}
	t.last = now
	t.Book.Apply(ev, out)
}

// The load is a process of its own; commands and results are lines of JSON.
type (
	loadCommand struct {
		Fill int           // requests, as fast as possible
		Run  time.Duration // load of stopRate, with a warm-up of a second
	}
	loadResult struct {
		P50, P99, P999, Max float64 // ms
		Error               string
	}
	loadProcess struct {
		to   *json.Encoder
		from *json.Decoder
	}
)

func startLoad(b *testing.B, dir string) *loadProcess {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, childApp+"=load")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	to, err := cmd.StdinPipe()
	from, err2 := cmd.StdoutPipe()
	if err := errors.Join(err, err2, cmd.Start()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { to.Close(); _ = cmd.Wait() })
	return &loadProcess{json.NewEncoder(to), json.NewDecoder(from)}
}

func (l *loadProcess) do(b *testing.B, c loadCommand) (r loadResult) {
	if err := errors.Join(l.to.Encode(c), l.from.Decode(&r)); err != nil || r.Error != "" {
		b.Fatal(err, r.Error)
	}
	return r
}

// load is the child.
func load(dir string) {
	commands, results := json.NewDecoder(bufio.NewReader(os.Stdin)), json.NewEncoder(os.Stdout)
	c, err := client.Dial(context.Background(), "unix", filepath.Join(dir, "s"), client.Options{})
	l := loader{conn: c}
	for {
		var cmd loadCommand
		if commands.Decode(&cmd) != nil {
			return
		}
		var r loadResult
		if err == nil && cmd.Fill > 0 {
			err = l.fill(cmd.Fill)
		} else if err == nil {
			r, err = l.run(cmd.Run)
		}
		if err != nil {
			r.Error = err.Error()
		}
		_ = results.Encode(r)
	}
}

// loader sends orders that rest, and pairs of an order and its cancellation.
type loader struct {
	conn  *client.Conn
	id    uint64
	frame []byte
}

func (l *loader) send(cmd *orderbook.Command) (err error) {
	l.id++
	cmd.ClientOrderID = l.id
	if l.frame, err = orderbook.AppendRequest(l.frame[:0], l.id, cmd); err != nil {
		return err
	}
	return l.conn.Send(l.id, cmd.Tag, l.frame[wire.PrefixSize+wire.RequestHeaderSize:])
}

// fill sends orders that rest: in 1,000 instruments, at 100 prices each.
func (l *loader) fill(n int) error {
	const open = 1024
	for i, answered := 0, 0; answered < n; {
		for ; i < n && i-answered < open; i++ {
			cmd := order(1, 0, orderbook.Buy, int64(1+i/1000%100), 1)
			cmd.Instrument = uint32(1 + i%1000)
			if err := l.send(cmd); err != nil {
				return err
			}
		}
		if err := l.conn.Flush(); err != nil {
			return err
		}
		for least := min(open/2, i-answered); least > 0; {
			tag, body, err := l.conn.Next()
			switch {
			case err != nil:
				return err
			case tag == wire.TagBatchEnd:
				answered++
				least--
			case tag != orderbook.TagAccepted:
				return fmt.Errorf("%s", words(tag, body))
			}
		}
	}
	return nil
}

// run sends stopRate requests a second on schedule, and measures from when each was due.
func (l *loader) run(d time.Duration) (r loadResult, err error) {
	const warm = time.Second
	began, first := time.Now(), l.id+1
	due := func(id uint64) time.Duration { return time.Duration(id-first) * (time.Second / stopRate) }
	total := uint64((warm + d) / (time.Second / stopRate))
	sent := make(chan error, 1)
	go func() {
		tick := time.NewTicker(100 * time.Microsecond)
		defer tick.Stop()
		for i := uint64(0); i < total; {
			at := time.Since(began)
			for ; i < total && due(first+i) <= at; i++ {
				cmd := order(2, 0, orderbook.Buy, 50, 1)
				if l.id >= first && l.id%2 == first%2 {
					cmd = &orderbook.Command{Tag: orderbook.TagCancel, Account: 2, Target: l.id}
				}
				if err := l.send(cmd); err != nil {
					sent <- err
					return
				}
			}
			if err := l.conn.Flush(); err != nil {
				sent <- err
				return
			}
			<-tick.C
		}
		sent <- nil
	}()
	hist := hdrhistogram.New(1, int64(time.Minute), 3)
	for answered := uint64(0); answered < total; {
		tag, body, err := l.conn.Next()
		switch {
		case err != nil:
			return r, err
		case tag == wire.TagBatchEnd:
			if at := due(first + answered); at >= warm {
				_ = hist.RecordValue(int64(time.Since(began) - at))
			}
			answered++
		case tag != orderbook.TagAccepted && tag != orderbook.TagCancelled:
			return r, fmt.Errorf("%s", words(tag, body))
		}
	}
	ms := func(ns int64) float64 { return float64(ns) / 1e6 }
	return loadResult{P50: ms(hist.ValueAtQuantile(50)), P99: ms(hist.ValueAtQuantile(99)),
		P999: ms(hist.ValueAtQuantile(99.9)), Max: ms(hist.Max())}, <-sent
}
