package actors

import (
	"slices"
	"sync"
	"testing"
	"time"

	"sluice/telemetry"
	"sluice/transport"
)

// topicFigures lists the topics and returns the figures of one.
func (p *press) topicFigures(by TopicOrder, topic uint64) TopicFigures {
	p.t.Helper()
	top, _, err := p.TopTopics(p.t.Context(), by, MaxTop)
	if err != nil {
		p.t.Fatal(err)
	}
	if i := slices.IndexFunc(top, func(f TopicFigures) bool { return f.Topic == topic }); i >= 0 {
		return top[i]
	}
	return TopicFigures{}
}

func TestTopicsAreListed(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		p := newPress(t, w, func(c *Config) {
			c.Topics = TopicConfig{TapeBytes: 16 << 10, HistoryBytes: 4 << 10}
		})
		const clients, idle = 7, 6
		var fast []*subscriberClient // all that read
		start := make(chan struct{})
		var reading sync.WaitGroup
		for id := uint64(1); id <= clients; id++ {
			s := &subscriberClient{c: p.dial(id, socket{small: id == idle}), modes: map[uint64]Mode{},
				next: map[uint64]uint64{}}
			if id != idle {
				fast = append(fast, s)
			}
			reading.Go(func() {
				if id == idle {
					<-start
				}
				s.read(nil)
			})
			p.subscribe(id, 7, ModeRecover)
			if id <= 2 {
				p.subscribe(id, 8, ModeRecover)
			}
		}
		p.until("the list has all subscribers", func() bool {
			f := p.topicFigures(BySubscribers, 7)
			return f.Subscribers == clients && p.topicFigures(ByGaps, 8).Subscribers == 2
		})
		publish := func() { // no reader may fall behind as the idle one does
			p.publish(7, 0, 500)
			p.until("the others have the frame", func() bool {
				return !slices.ContainsFunc(fast, func(s *subscriberClient) bool {
					s.mu.Lock()
					defer s.mu.Unlock()
					return s.next[7] != p.seqs[7]+1
				})
			})
		}
		full := time.Time{} // the kernel may take more a little later
		p.until("the client that reads nothing takes nothing", func() bool {
			if p.topicFigures(ByRate, 7).LagBytes < 8<<10 {
				full = time.Now()
				publish()
			}
			return time.Since(full) > 500*time.Millisecond
		})
		p.until("the list shows rates, and the client that reads nothing", func() bool {
			for range 10 {
				publish()
			}
			f := p.topicFigures(ByRate, 7)
			return f.Rate > 10 && f.Deliveries > 6*f.Rate && f.LagBytes > 32<<10 && f.LagFrames > 64 &&
				f.Memory >= 16<<10 && f.Gaps == 0
		})
		top, known, err := p.TopTopics(t.Context(), ByBehind, 1)
		if err != nil || known != 2 || len(top) != 1 || top[0].Topic != 7 || top[0].Feeds < 2 {
			t.Errorf("%d topics, first by lag %+v: %v", known, top, err)
		}
		conns, _, err := p.Top(t.Context(), ByBuffered, 1)
		if err != nil || len(conns) != 1 || conns[0].Conn != idle || conns[0].Topics != 1 ||
			conns[0].Behind < 32<<10 || conns[0].Unsent > 16<<10 {
			t.Errorf("the connection with most unsent bytes is %+v: %v", conns, err)
		}
		close(start)
		p.until("the client that lost frames waits for a snapshot", func() bool {
			f := p.topicFigures(ByGaps, 7)
			return f.Gaps == 1 && f.Waiting == 1 && f.Subscribers == clients-1
		})
		p.until("it has one", func() bool {
			p.listen()
			f := p.topicFigures(ByMemory, 7)
			return f.Waiting == 0 && f.Subscribers == clients && f.LagBytes == 0
		})
		p.until("the gauges agree", func() bool {
			return p.gauge(telemetry.TopicSubscribed) == clients+2 && p.gauge(telemetry.TopicTapes) > 0 &&
				p.gauge(telemetry.TopicFeeds) >= 2 && p.gauge(telemetry.KnownTopics) >= 2
		})
		p.drain()
		reading.Wait()
		p.ledgerHolds()
	})
}

func TestBadListsOfTopics(t *testing.T) {
	p := newPress(t, way{transport.ModePoll, "tcp"}, nil)
	for _, n := range []int{0, MaxTop + 1} {
		if _, _, err := p.TopTopics(t.Context(), ByRate, n); err == nil {
			t.Errorf("%d topics are listed", n)
		}
	}
	for o := BySubscribers; o <= ByMemory; o++ {
		if got, err := ParseTopicOrder(o.String()); err != nil || got != o {
			t.Errorf("%v is parsed as %v: %v", o, got, err)
		}
	}
	if _, err := ParseTopicOrder("size"); err == nil {
		t.Error("an unknown order is parsed")
	}
	p.drain()
}
