package demo

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"path/filepath"
	"time"

	"sluice/actors/node/observe/status"
	"sluice/cmd/internal/fleet"
	"sluice/telemetry"
)

// Config is the configuration of Run.
type Config struct {
	Program string        // path of the sluice binary
	Serve   []string      // additional flags of sluice serve
	For     time.Duration // time of trading
	Clients int           // number of traders, half over TCP, half over unix-domain sockets
	// Subscribers is the number of clients that follow the book of an instrument; some of them read slowly,
	// and one nothing. Not with Cluster.
	Subscribers int
	Dir         string // working directory; "" for a new temporary one
	Keep        bool   // keep Dir even after success
	Hold        bool   // trade until the context of Run ends, at most for holdMost, and check after that
	Cluster     bool   // three nodes, of which the leader is killed
	Out         io.Writer
	Terminal    bool // Out is a terminal: progress is one line that is overwritten
}

const (
	readyTime  = 20 * time.Second // limit for the server to start or recover
	settleTime = 15 * time.Second // limit for the last responses
	drainTime  = 10 * time.Second // limit for the server to drain
	holdMost   = 30 * time.Minute // limit of Hold, since journal and memory grow while the clients trade
)

// ErrFailed means that the audit found contradictions. Run has printed them.
var ErrFailed = errors.New("demo: something acknowledged is missing or different, see above")

// Run runs the demonstration and prints the results. ErrFailed means that a promise was broken; any
// other error means that the demonstration could not be completed. ctx ends it early.
func Run(ctx context.Context, cfg Config) (err error) {
	r := &run{Config: cfg}
	if r.Dir == "" {
		if r.Dir, err = os.MkdirTemp("", "sluice-demo-"); err != nil {
			return fmt.Errorf("demo: %w", err)
		}
	} else if err := os.MkdirAll(r.Dir, 0o700); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer func() {
		if err == nil && !cfg.Keep {
			_ = os.RemoveAll(r.Dir) // on an error, files remain in a temporary directory
			return
		}
		if cfg.Cluster {
			fmt.Fprintf(cfg.Out, "\nThe nodes' journals and logs, and the clients' histories are in %s.\n", r.Dir)
			return
		}
		fmt.Fprintf(cfg.Out, "\nJournal, measurements and the server's log are in %s; "+
			"`sluice journal --data-dir %s verify` checks the journal.\n", r.Dir, filepath.Join(r.Dir, "data"))
	}()
	limit := cfg.For + 3*readyTime + settleTime + drainTime
	if cfg.Hold {
		limit += holdMost
		r.held, ctx = ctx, context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if cfg.Hold { // until hold is reached, held ends the whole run
		r.release = context.AfterFunc(r.held, cancel)
		defer r.release()
	}
	if cfg.Cluster {
		return r.cluster(ctx)
	}
	return r.single(ctx)
}

// single is the demonstration with one server.
func (r *run) single(ctx context.Context) (err error) {
	fmt.Fprintf(r.Out, "%d clients trade %d instruments for %v, half over TCP, half over unix "+
		"sockets; kill -9 in the middle\n\n", r.Clients, instruments, r.For)
	if err := r.trade(ctx); err != nil {
		return fmt.Errorf("%w\nThe server's log ends:\n%s", err, fleet.Tail(r.path("server.log"), 5))
	}
	r.say("replaying the journal")
	r.found, err = audit(r.path("data", "journal"), r.seed, r.traders, r.watchers)
	if err != nil {
		return fmt.Errorf("demo: cannot audit the journal: %w", err)
	}
	if r.server2, err = status.ReadMeasurements(r.path("stats.json")); err != nil {
		return err
	}
	r.clear()
	r.table()
	if len(r.found.wrong) > 0 {
		return ErrFailed
	}
	return nil
}

// run is the state of one demonstration. First what it works with: the settings, the market and its traders, the clock. Then
// what it found out, in the order in which it happens.
type run struct {
	Config
	market
	traders  []*trader
	watchers []*watcher
	held     context.Context // with Hold: the context whose end ends the trading
	release  func() bool     // with Hold: makes the end of held end only the trading
	clock    telemetry.Clock
	times    *telemetry.Collector // latencies of round trips

	began    time.Time
	kill     int64         // time of the kill, ns of clock
	before   time.Duration // time of trading until the kill
	recovery time.Duration // from the second start until clients could connect
	traded   time.Duration // time of trading in all, without the time of the restart
	found    *findings
	server2  *status.Measurements // measurements of the second server process
}

func (r *run) path(parts ...string) string {
	return filepath.Join(append([]string{r.Dir}, parts...)...)
}

// hold lets the clients trade until the user ends it with ctrl-C.
func (r *run) hold(ctx context.Context, live string) error {
	if !r.Hold || !r.release() {
		return nil
	}
	r.clear()
	fmt.Fprintf(r.Out,
		"The clients keep trading for at most %v. ctrl-C ends that and checks every response.\n"+
			"  live page   %s\n\n", holdMost, live)
	ctx, cancel := context.WithTimeout(ctx, holdMost)
	defer cancel()
	defer context.AfterFunc(r.held, cancel)()
	if err := r.wait(ctx, "held", 2*holdMost); err != nil && r.held.Err() == nil &&
		!errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return err
	}
	return nil
}

// start starts a server on the data directory.
func (r *run) start(ctx context.Context, tcp string, log io.Writer) (*fleet.Process, error) {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	// The audit needs every event, so no snapshot may shorten the journal.
	args := []string{
		"serve", "--data-dir", r.path("data"), "--listen-tcp", tcp, "--listen-unix", r.path("socket"),
		"--stats-file", r.path("stats.json"), "--admin-address", "127.0.0.1:0",
		"--snapshot-events", "1073741824", "--snapshot-bytes", "1TiB",
		"--topic-tape", "64KiB", // less than a subscriber that reads nothing misses
	}
	return fleet.Spawn(ctx, r.Program, append(args, r.Serve...), log)
}

// trade runs the server, the traders and the kill.
func (r *run) trade(ctx context.Context) error {
	log, err := os.Create(r.path("server.log"))
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer log.Close()
	first, err := r.start(ctx, fleet.Loopback()+":0", log) // the next process takes the same port
	if err != nil {
		return err
	}
	defer first.Kill()
	r.server.Store(first)
	if r.Hold {
		fmt.Fprintf(r.Out, "live page until the kill: %s\n", first.Live)
	}
	defer r.closeWatchers()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r.seed, r.clock = maphash.MakeSeed(), telemetry.NewClock()
	r.stop, r.settled = make(chan struct{}), make(chan struct{})
	if err := r.watch(ctx); err != nil {
		return err
	}
	ended := r.open(ctx, cancel)
	if err := r.wait(ctx, "trading", r.For/2); err != nil {
		return err
	}

	r.killed.Add(1)
	r.kill, r.before = r.clock.Now(), time.Since(r.began)
	first.Kill()
	r.say("killed with -9")
	second, err := r.start(ctx, first.TCP, log)
	if err != nil {
		return err
	}
	defer second.Kill()
	r.recovery = second.Ready
	r.server.Store(second)
	again := time.Now()
	if err := r.wait(ctx, "resumed", r.For-r.For/2); err != nil {
		return err
	}
	if err := r.hold(ctx, second.Live); err != nil {
		return err
	}
	r.traded = r.before + time.Since(again)
	close(r.stop)
	if err := r.settle(ctx, ended); err != nil {
		return err
	}
	if err := r.catchUp(ctx); err != nil {
		return err
	}
	return second.Drain(drainTime)
}

// open starts the traders. The channel is closed when all of them have ended. The first error
// cancels ctx.
func (r *run) open(ctx context.Context, cancel context.CancelCauseFunc) (ended chan struct{}) {
	ended = make(chan struct{})
	r.times = telemetry.NewCollector(r.clock)
	r.began = time.Now()
	r.quiet.Add(r.Clients)
	left := make(chan struct{}, r.Clients)
	for i := range r.Clients {
		network := "tcp"
		if i%2 == 1 {
			network = "unix"
		}
		account := uint64(i + 1)
		t := &trader{market: &r.market, account: account, network: network,
			strategy: newStrategy(uint64(i/2 + 1)), clock: r.clock,
			times: r.times.Register("client", i)}
		r.traders = append(r.traders, t)
		go func() {
			if err := t.run(ctx); err != nil {
				cancel(err)
			}
			left <- struct{}{}
		}()
	}
	go func() {
		for range r.Clients {
			<-left
		}
		close(ended)
	}()
	return ended
}

// settle waits for the last responses, then for the positions.
func (r *run) settle(ctx context.Context, ended chan struct{}) error {
	limit := time.NewTimer(settleTime)
	defer limit.Stop()
	all := make(chan struct{})
	go func() { r.quiet.Wait(); close(all) }()
	select {
	case <-all:
	case <-limit.C:
		return fmt.Errorf("demo: not every request was answered within %v of the last one", settleTime)
	}
	close(r.settled)
	select {
	case <-ended:
	case <-limit.C:
		return fmt.Errorf("demo: not every position was answered within %v", settleTime)
	}
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	return nil
}
