package status

import (
	"sync"
	"time"

	"sluice/actors/node"
)

// pointEvery is the distance of points.
const pointEvery = time.Second

// Watcher takes a point of a node's history once a second until Close. Its methods may be called
// from any goroutine, including after Close: then Snapshot has the history up to that moment.
type Watcher struct {
	node    node.Running
	began   time.Time
	pulse   *Pulse
	history *history
	onPoint func(Point)

	slowMu   sync.Mutex // guards what follows, and is held while a list is made
	slowAt   time.Time  // time of the list
	slowest  []Client   // the last list of slow clients
	topicsAt time.Time  // time of the list
	busiest  []Topic    // the last list of topics

	stop chan struct{}
	done chan struct{}
}

// Watch starts to watch a node that is observed since began. p, if not nil, is looked at by another
// goroutine. onPoint, if not nil, is called with
// each point, on the goroutine that takes them.
func Watch(n node.Running, began time.Time, p *Pulse, onPoint func(Point)) *Watcher {
	w := &Watcher{
		node: n, began: began, pulse: p, onPoint: onPoint, slowest: []Client{}, busiest: []Topic{},
		history: newHistory(n.Collector(), n.Now, time.Now),
		stop:    make(chan struct{}), done: make(chan struct{}),
	}
	go w.run()
	return w
}

func (w *Watcher) run() {
	defer close(w.done)
	tick := time.NewTicker(pointEvery)
	defer tick.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-tick.C:
			point := w.history.take()
			if w.onPoint != nil {
				w.onPoint(point)
			}
		}
	}
}

// Close ends the watching. Call it once.
func (w *Watcher) Close() {
	close(w.stop)
	<-w.done
}

// Status reads the present state of the node.
func (w *Watcher) Status() Status { return Read(w.node, w.began, w.pulse) }
