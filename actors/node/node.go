package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"sluice/actors"
	"sluice/actors/sequencer"
	"sluice/cmd/orderbook"
	"sluice/durability"
	"sluice/durability/journal"
	"sluice/mailbox"
	"sluice/transport/listen"
)

// Server is an order book with clients, a journal and the response pipeline, in one process.
//
//	New -> Start -> Drain | Stop | Fence
//
// All methods may be called from any goroutine; Start once.
type Server struct {
	cfg      Config
	log      *slog.Logger
	listener *listen.Server
	ids      atomic.Uint64 // written by readers: last connection id given out

	mu      sync.Mutex // guards started, and Start against the end
	started bool

	book      *orderbook.Book
	recovery  *journal.Recovery
	journal   *journal.Journal
	committer *journal.Committer
	cursors   *durability.Cursors
	queue     *sequencer.Queue
	sequencer *sequencer.Sequencer[orderbook.Report, orderbook.Answer]
	snapshots *sequencer.Snapshots
	pipeline  *actors.Pipeline[orderbook.Report, orderbook.Answer]
	noisy     quiet // limits lines about single connections
	atDoor    quiet // limits lines about clients that never got in
	sluggish  quiet // limits lines about clients that become slow or recover
	roster    *roster

	command  atomic.Pointer[Command] // written by SetCommand, read by readers
	commands chan struct{}           // a token for each command being carried out

	reloading sync.Mutex // guards changes
	changes   Changes    // in force

	sequenced chan struct{} // closed when the sequencer's goroutine ended
	committed chan struct{} // closed when the journal's goroutine ended

	ready    atomic.Bool // written by Start and the end, read by anyone
	endOnce  sync.Once
	hurry    context.CancelFunc // turns a drain into a stop
	hurried  context.Context
	giveUp   context.CancelFunc // ends the wait for the disk
	gaveUp   context.Context
	ended    chan struct{}
	errMu    sync.Mutex    // guards err
	err      error         // first failure; the result of the end
	persists atomic.Uint64 // written by the journal's goroutine, read by anyone: last event on disk
}

// New checks a configuration and reads the keys file. It opens nothing else.
func New(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	book, err := orderbook.New(cfg.Book)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, log: cfg.Log, book: book, cursors: durability.NewCursors(0),
		sequenced: make(chan struct{}), committed: make(chan struct{}), ended: make(chan struct{}),
	}
	s.roster = newRoster(2*cfg.Pipeline.MaxConnections + 64)
	s.commands = make(chan struct{}, commandsMax)
	s.hurried, s.hurry = context.WithCancel(context.Background())
	s.gaveUp, s.giveUp = context.WithCancel(context.Background())
	if err := s.limits(); err != nil {
		return nil, err
	}
	lc := cfg.Listen
	lc.NextID = func() uint64 { return s.ids.Add(1) }
	lc.Reserve = func() bool { return s.pipeline.Connections() < cfg.Pipeline.MaxConnections }
	lc.Release = func() {} // Connect takes the permit; Reserve only looks, to refuse before the client is told it is in
	lc.Fatal = s.fail
	lc.Refused = s.refused(lc.Refused)
	if s.listener, err = listen.New(lc, (*handler)(s)); err != nil {
		return nil, err
	}
	return s, nil
}

// Start recovers the state from disk, then listens and serves. It returns the bound addresses in the order of the
// endpoints. On an error everything is released and the server cannot be started again.
func (s *Server) Start() (addresses []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started || s.hurried.Err() != nil {
		return nil, errors.New("server: Start after Start or Stop; make a new server")
	}
	s.started = true
	if err := s.build(); err != nil {
		s.unbuild()
		s.endOnce.Do(func() { s.finish(err) })
		return nil, err
	}
	s.run()
	s.ready.Store(true)
	addresses = s.listener.Addresses()
	s.log.Info("serving", "addresses", addresses, "engine", s.pipeline.Diagnosis().Engine, "policy", s.pipeline.Policy().Current().String(),
		"last_event", uint64(s.recovery.Last), "incarnation", s.recovery.Incarnation)
	s.warn()
	return addresses, nil
}

// build makes everything and starts nothing.
func (s *Server) build() error {
	pc := s.cfg.Pipeline
	pc.OnFail = s.fail
	pc.OnNotice = s.notice(s.cfg.Pipeline.OnNotice)
	var err error
	if s.pipeline, err = actors.New(pc, orderbook.Encoder{}, s.cursors); err != nil {
		return err
	}
	if err := s.recover(); err != nil {
		return err
	}
	if err := s.listener.Listen(); err != nil {
		return err
	}
	queue, requests := sequencer.NewQueue(s.cfg.QueueBytes)
	ring, events := mailbox.NewBytes(s.cfg.Journal.RingBytes)
	s.queue = queue
	s.committer = s.newCommitter(events)
	s.snapshots = sequencer.NewSnapshots(s.writeSnapshot, func(err error) {
		s.log.Error("a snapshot failed; the journal only grows longer until one succeeds", "error", err)
	})
	s.sequencer = sequencer.New(sequencer.Config[orderbook.Report, orderbook.Answer]{
		Application: s.book, Requests: requests, Journal: ring, Slots: s.pipeline.Slots(), Now: s.pipeline.Now,
		Last: s.recovery.Last, Snapshots: s.snapshots,
		SnapshotEvents: s.cfg.SnapshotEvents, SnapshotBytes: s.cfg.SnapshotBytes,
	})
	s.gauges()
	return nil
}

// unbuild releases what a failed build left. The rings of a pipeline are given back by running it to its end.
func (s *Server) unbuild() {
	if s.pipeline != nil {
		s.pipeline.Start()
		ctx, cancel := context.WithTimeout(context.Background(), s.cfg.FailTimeout)
		defer cancel()
		_ = s.pipeline.Stop(ctx) // the error that ended the build is the one to report
	}
	_ = s.listener.Close()
	if s.journal != nil {
		if err := s.journal.Close(); err != nil {
			s.log.Error("closing the journal failed", "error", err)
		}
	}
}

// run starts every goroutine, the readers last.
func (s *Server) run() {
	s.pipeline.Start()
	go func() {
		defer close(s.committed)
		if err := s.commit(); err != nil {
			s.fail(fmt.Errorf("server: nothing more is acknowledged: %w", err))
		}
	}()
	go func() {
		defer close(s.sequenced)
		if err := s.sequencer.Run(); err != nil {
			s.fail(err)
		}
	}()
	go s.collect()
	s.listener.Serve()
}

// commit is the journal's goroutine. A panic in it must end the server and not the process, so that what is on disk is
// still answered.
func (s *Server) commit() (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("server: the journal's goroutine panicked: %v\n%s", v, debug.Stack())
		}
	}()
	return s.committer.Run()
}

// newCommitter makes the journal's goroutine's loop. What it says is on disk moves the persisted cursor, which opens the
// gate.
func (s *Server) newCommitter(events *mailbox.BytesReader) *journal.Committer {
	idle := actors.NewAdaptive(0)
	signal := mailbox.NewSignal(idle)
	events.SetSignal(signal)
	var c *journal.Committer
	c = journal.NewCommitter(journal.CommitterOptions{
		Writer: s.journal.Writer(), Input: events, MaxBatchBytes: s.cfg.Journal.BatchBytes,
		Wait: func() {
			signal.Prepare()
			if events.Len() == 0 && !events.Done() && !c.Offered() {
				idle.Sleep(time.Minute)
			}
			signal.Cancel()
		},
		Wake: idle.Wake,
		OnPersisted: func(seq durability.Seq) {
			if sequenced := s.sequencer.Sequenced(); seq > sequenced {
				panic(fmt.Sprintf("server: the journal persisted event %d, the sequencer is at %d: they do not count alike", seq, sequenced))
			}
			s.persists.Store(uint64(seq))
			s.cursors.SetPersisted(seq)
		},
		OnSnapshot: func(seq durability.Seq, err error) {
			if err != nil {
				s.log.Error("a snapshot could not be installed; the journal only grows longer until one can", "event", uint64(seq), "error", err)
			}
		},
	})
	return c
}

// writeSnapshot puts a copy of the book on disk, on the goroutine of the snapshots.
func (s *Server) writeSnapshot(seq durability.Seq, state []byte) error {
	prepared, err := s.journal.PrepareSnapshot(seq, writeAll(state))
	if err != nil {
		return err
	}
	return s.committer.Offer(prepared)
}

func (s *Server) journalDir() string { return filepath.Join(s.cfg.DataDir, "journal") }

// warn says aloud what an operator may not have meant.
func (s *Server) warn() {
	var v durability.View
	if s.cursors.Snapshot(&v) && s.pipeline.Policy().Current().Evaluate(&v).NoWait {
		s.log.Warn("the policy waits for nothing: a response may leave before its event is on disk",
			"policy", s.pipeline.Policy().Current().String())
	}
}

// makeDataDir creates the data directory.
func (s *Server) makeDataDir() error {
	if err := os.MkdirAll(s.cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("server: creating the data directory: %w", err)
	}
	return nil
}
