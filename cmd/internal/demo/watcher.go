package demo

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"sluice/cmd/orderbook/marketdata"
	"sluice/transport/client"
	"sluice/transport/wire"
)

const (
	slowEvery   = 10                    // one of that many watchers reads slowly
	slowFrames  = 8                     // frames after which it sleeps
	slowSleep   = 50 * time.Millisecond // how long it sleeps
	slowBuffer  = 16 << 10              // bytes of its socket's receive buffer
	dialsAtOnce = 32                    // watchers that connect at the same time
)

// watcher subscribes to the depth of one instrument and keeps a copy of its book.
//
// Its groups of fields are: what it is to do; its connection and its copy; and how far it is.
type watcher struct {
	*market
	instrument uint32
	network    string
	over       <-chan struct{} // closed when the run ends early
	slow, idle bool            // reads slowly; reads nothing until the end, except at a restart

	session *client.Session
	topic   *client.Subscription
	view    *marketdata.BookView // of the session's goroutine until the session is closed

	mu        sync.Mutex // guards what follows
	at        position
	frames    uint64 // received
	gaps      uint64
	snapshots uint64
}

// open connects and subscribes.
func (w *watcher) open(ctx context.Context) error {
	at := w.server.Load().TCP
	if w.network == "unix" {
		at = w.server.Load().Unix
	}
	var err error
	w.session, err = client.OpenSession(client.SessionOptions{MinBackoff: 5 * time.Millisecond,
		MaxBackoff: 100 * time.Millisecond, Dial: w.dial}, at)
	if err == nil {
		w.view = marketdata.NewBookView(w.instrument, false)
		w.topic, err = w.session.Subscribe(ctx, wire.Subscribe{Topic: w.view.Topic()}, w.on)
	}
	if err != nil {
		return fmt.Errorf("demo: subscriber of instrument %d over %s: %w", w.instrument, w.network, err)
	}
	return nil
}

func (w *watcher) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if s, ok := conn.(interface{ SetReadBuffer(int) error }); ok && err == nil && (w.slow || w.idle) {
		err = s.SetReadBuffer(slowBuffer) // else its kernel reads ahead of it
	}
	return conn, err
}

// on applies an event to the copy.
func (w *watcher) on(e client.TopicEvent) (err error) {
	switch e.Kind {
	case client.SnapshotBegin:
		w.view.Begin(e.Seq)
	case client.SnapshotFrame:
		err = w.view.Describe(e.Tag, e.Body)
	case client.SnapshotEnd:
		err = w.view.End(e.Seq)
	case client.TopicFrame:
		err = w.view.Update(e.Seq, e.Tag, e.Body)
	case client.TopicGap:
		w.view.Gap()
	}
	w.mu.Lock()
	w.at = position{e.Epoch, e.Seq, w.view.Live() && e.Kind != client.TopicBroken}
	switch e.Kind {
	case client.TopicFrame:
		w.frames++
	case client.TopicGap:
		w.gaps++
	case client.SnapshotEnd:
		w.snapshots++
	}
	rest := w.slow && w.frames%slowFrames == 0
	w.mu.Unlock()
	switch {
	case err != nil || e.Kind != client.TopicFrame:
	case w.idle:
		w.wait(24 * time.Hour)
	case rest:
		w.wait(slowSleep)
	}
	return err
}

// wait does not read, for that long at most, until the market closes or its server is another one.
func (w *watcher) wait(most time.Duration) {
	limit := time.NewTimer(most)
	defer limit.Stop()
	select {
	case <-w.stop:
	case <-w.over:
	case <-limit.C:
	case <-w.server.Load().Exited():
	}
}

// position is that of the last frame of the copy, if it is complete.
type position struct {
	epoch, seq uint64
	live       bool
}

func (w *watcher) position() position {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

// watch starts the watchers, and returns once each has a book.
func (r *run) watch(ctx context.Context) error {
	var joining sync.WaitGroup
	failed := make(chan error, r.Subscribers)
	places := make(chan struct{}, dialsAtOnce)
	for i := range r.Subscribers {
		w := &watcher{market: &r.market, instrument: uint32(1 + i%instruments), network: "tcp", over: ctx.Done(),
			slow: i%slowEvery == 1, idle: i == r.Subscribers-1}
		if i/instruments%2 == 1 || w.slow || w.idle { // the kernel holds less for a unix-domain socket
			w.network = "unix"
		}
		r.watchers = append(r.watchers, w)
		joining.Go(func() {
			places <- struct{}{}
			failed <- w.open(ctx)
			<-places
		})
	}
	joining.Wait()
	for range r.watchers {
		if err := <-failed; err != nil {
			return err
		}
	}
	return nil
}

// closeWatchers ends what is left of them.
func (r *run) closeWatchers() {
	for _, w := range r.watchers {
		if w.session != nil {
			w.session.Close()
		}
	}
}

// catchUp waits until each watcher has the last frame of its topic, then closes all. The market is quiet:
// a subscription that begins now is told which frame that is.
func (r *run) catchUp(ctx context.Context) error {
	if len(r.watchers) == 0 {
		return nil
	}
	defer r.closeWatchers()
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	var last [instruments]*watcher
	for i := range last {
		last[i] = &watcher{market: &r.market, instrument: uint32(1 + i), network: "tcp"}
		if err := last[i].open(ctx); err != nil {
			return err
		}
		defer last[i].session.Close()
	}
	for {
		behind := slices.IndexFunc(r.watchers, func(w *watcher) bool {
			at := w.position()
			return !at.live || at != last[w.instrument-1].position()
		})
		if behind < 0 {
			return nil
		}
		w := r.watchers[behind]
		select {
		case <-w.topic.Done():
			return fmt.Errorf("demo: subscriber %d of instrument %d: %w", behind, w.instrument, w.topic.Err())
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("demo: subscriber %d of instrument %d has not caught up within %v", behind, w.instrument,
				settleTime)
		}
	}
}
