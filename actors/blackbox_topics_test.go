package actors

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"sluice/durability"
	"sluice/encode"
	"sluice/mailbox"
	"sluice/telemetry"
	"sluice/transport"
)

// Frames of docs/wire.md, topics.
const (
	subTopicData     = 0x81
	subSnapshotBegin = 0x82
	subSnapshotEnd   = 0x83
	subGap           = 0x84
)

// press is a producer of topics, as a sequencer is one: it knows the subscribers, numbers the frames,
// and makes snapshots when shards ask for them.
type press struct {
	*rig
	feedback []*mailbox.Reader[Feedback]
	seqs     map[uint64]uint64
	subs     map[uint64]map[uint64]bool // by topic: connections
	kept     map[uint64]bool            // connections that are not known to be gone
	n        uint64                     // of the last slot, which stands in every payload
}

func newPress(t testing.TB, w way, change func(*Config)) *press {
	p := &press{seqs: map[uint64]uint64{}, subs: map[uint64]map[uint64]bool{}, kept: map[uint64]bool{}}
	p.rig = newRig(t, w, func(c *Config) {
		c.Feedback, p.feedback = NewFeedback(c.Shards)
		if change != nil {
			change(c)
		}
	})
	return p
}

// slot claims the next slot.
func (p *press) slot() *Slot[tick, struct{}] {
	p.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		if room := p.Slots().Claim(1); room != nil {
			p.seq++
			p.n++
			p.slots++
			now := p.Now()
			room[0] = Slot[tick, struct{}]{Seq: durability.Seq(p.seq), Received: now, Matched: now}
			return &room[0]
		}
		p.Slots().Publish()
		p.persist()
		if time.Now().After(deadline) {
			p.t.Fatal("the slot ring stays full")
		}
		runtime.Gosched()
	}
}

func (p *press) done() {
	p.Slots().Commit(1)
	p.Slots().Publish()
	p.persist()
}

// publish publishes a frame of size bytes of a topic, with a key.
func (p *press) publish(topic, key uint64, size int) {
	var shards uint64
	for conn := range p.subs[topic] {
		shards |= 1 << ShardOf(conn, p.cfg.Shards)
	}
	p.seqs[topic]++
	if shards == 0 {
		return
	}
	s := p.slot()
	p.slots-- // the ledger of responses does not count it
	s.SetTopic(topic, p.seqs[topic], key, shards)
	s.Report = tick{n: p.n, size: size}
	p.done()
}

// own publishes a response of a connection's own.
func (p *press) own(conn uint64) {
	s := p.slot()
	s.Conn, s.Last, s.Report = conn, true, tick{n: p.n, size: 20}
	s.Request = askedFirst + p.n
	p.done()
}

// subscribe makes a snapshot without contents for a connection and joins it to a topic.
func (p *press) subscribe(conn, topic uint64, mode Mode) {
	if p.subs[topic] == nil {
		p.subs[topic] = map[uint64]bool{}
	}
	p.subs[topic][conn] = true
	s := p.slot()
	s.Conn = conn
	s.SetSubscription(KindSnapshotBegin, topic, p.seqs[topic], 1, 0)
	p.done()
	s = p.slot()
	s.Conn = conn
	s.SetSubscription(KindSnapshotEnd, topic, p.seqs[topic], 0, mode)
	p.done()
}

func (p *press) unsubscribe(conn, topic uint64) {
	delete(p.subs[topic], conn)
	s := p.slot()
	s.Conn = conn
	s.SetSubscription(KindLeave, topic, 0, 0, 0)
	p.done()
}

// listen handles what the shards report.
func (p *press) listen() {
	for _, r := range p.feedback {
		for _, fb := range r.Batch(64) {
			switch fb.Kind {
			case FeedbackGone:
				for _, conns := range p.subs {
					delete(conns, fb.Conn)
				}
			case FeedbackResync:
				if p.subs[fb.Topic][fb.Conn] {
					p.subscribe(fb.Conn, fb.Topic, fb.Mode)
				}
			}
			r.Release(1)
		}
	}
}

// subscriberClient checks the stream of a connection.
type subscriberClient struct {
	c     *client
	modes map[uint64]Mode
	mu    sync.Mutex
	next  map[uint64]uint64 // by topic: number of the next frame; 0 without a snapshot
	at    uint64            // n of the last payload
	seen  uint64            // topic frames
	gaps  uint64
	skips uint64 // frames left out in ModeLatest
	err   error
}

// read reads until the end of the stream, pausing as pause says.
func (s *subscriberClient) read(pause func()) {
	for s.err == nil {
		tag, body, err := s.c.frame()
		if err == io.EOF {
			return
		}
		if err != nil {
			s.err = err
			return
		}
		s.mu.Lock()
		switch tag {
		case encode.TagExtended:
			s.err = s.topic(body)
		case tickTag:
			s.err = s.payload(body)
		}
		s.mu.Unlock()
		if pause != nil {
			pause()
		}
	}
}

// payload checks that frames are in the order of their slots.
func (s *subscriberClient) payload(body []byte) error {
	n := binary.LittleEndian.Uint64(body)
	if n <= s.at {
		return fmt.Errorf("payload %d after %d", n, s.at)
	}
	s.at = n
	return nil
}

func (s *subscriberClient) topic(body []byte) error {
	le := binary.LittleEndian
	topic := le.Uint64(body[1:])
	switch body[0] {
	case subSnapshotEnd:
		s.next[topic] = le.Uint64(body[9:]) + 1
	case subGap:
		s.gaps++
		if s.next[topic] == 0 || le.Uint64(body[9:]) < s.next[topic] {
			return fmt.Errorf("topic %d: a gap up to %d, next is %d", topic, le.Uint64(body[9:]), s.next[topic])
		}
		s.next[topic] = 0
	case subTopicData:
		seq, want := le.Uint64(body[9:]), s.next[topic]
		if want == 0 || seq < want || seq > want && s.modes[topic] != ModeLatest {
			return fmt.Errorf("topic %d (%v): frame %d, want %d", topic, s.modes[topic], seq, want)
		}
		s.skips += seq - want
		s.seen++
		s.next[topic] = seq + 1
		return s.payload(body[18:])
	}
	return nil
}

// ledgerHolds checks that each published frame was delivered or skipped, for each subscriber.
func (p *press) ledgerHolds() {
	p.t.Helper()
	published, delivered := p.count(telemetry.TopicPublished), p.count(telemetry.TopicDelivered)
	skipped := uint64(0)
	for c := telemetry.TopicSkippedGap; c <= telemetry.TopicSkippedFailed; c++ {
		skipped += p.count(c)
	}
	if published != delivered+skipped {
		p.t.Errorf("%d frames published to subscribers, %d delivered, %d skipped", published, delivered, skipped)
	}
}

func TestTopicFramesReachEverySubscriberInSlotOrder(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		for seed := range uint64(4) {
			topicStory(t, w, seed)
		}
	})
}

// topicStory has clients of all modes join, leave and receive responses of their own while topics are
// published faster than some of them read.
func topicStory(t *testing.T, w way, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 7))
	p := newPress(t, w, func(c *Config) {
		c.MaxFrame, c.Topics = 2048, TopicConfig{TapeBytes: 16 << 10, HistoryBytes: 4 << 10}
	})
	const clients, topics = 24, 6
	var all []*subscriberClient
	var readers sync.WaitGroup
	slow := make(chan struct{})
	for id := uint64(1); id <= clients; id++ {
		s := &subscriberClient{c: p.dial(id, socket{small: id%3 == 0}), modes: map[uint64]Mode{},
			next: map[uint64]uint64{}}
		for topic := range uint64(topics) {
			s.modes[topic] = pickMode(rng, id)
		}
		all = append(all, s)
		var pause func()
		if id%3 == 0 {
			pause = func() { <-slow }
		}
		readers.Go(func() { s.read(pause) })
	}
	for range 6000 {
		p.listen()
		id, topic := 1+rng.Uint64N(clients), rng.Uint64N(topics)
		switch k := rng.IntN(100); {
		case k < 75:
			p.publish(topic, rng.Uint64N(4), 20+rng.IntN(900))
		case k < 92:
			p.own(id)
		case k < 98:
			p.subscribe(id, topic, all[id-1].modes[topic])
		case p.subs[topic][id]:
			p.unsubscribe(id, topic)
		}
	}
	close(slow)
	p.until("every subscriber has the newest frame of each of its topics", func() bool {
		p.listen()
		return p.current(all)
	})
	p.drain()
	for _, s := range all {
		s.c.halfClose()
	}
	readers.Wait()
	p.ledgerHolds()
	for i, s := range all {
		why, closed := p.closed(uint64(i + 1))
		if why == transport.ReasonSlowFeed && errors.Is(s.err, io.ErrUnexpectedEOF) {
			continue // its socket took a part of the last frame
		}
		if s.err != nil || closed && why != transport.ReasonShutdown && why != transport.ReasonSlowFeed {
			t.Errorf("seed %d: client %d, closed %v: %v", seed, i+1, why, s.err)
		}
	}
	if p.count(telemetry.TopicMixed) == 0 || p.count(telemetry.TopicGaps) == 0 {
		t.Errorf("seed %d: nothing was mixed, or no client was too slow: this run shows nothing", seed)
	}
}

// current reports that every open connection has the newest frame of each topic to which it subscribes.
func (p *press) current(all []*subscriberClient) bool {
	for topic, conns := range p.subs {
		for conn := range conns {
			s := all[conn-1]
			s.mu.Lock()
			next := s.next[topic]
			s.mu.Unlock()
			if _, closed := p.closed(conn); !closed && next != p.seqs[topic]+1 {
				return false
			}
		}
	}
	return true
}

// pickMode has fast clients want every frame.
func pickMode(rng *rand.Rand, id uint64) Mode {
	if id%3 != 0 {
		return pick3(rng, ModeEvery, ModeRecover, ModeLatest)
	}
	return pick3(rng, ModeRecover, ModeRecover, ModeLatest)
}

func pick3(rng *rand.Rand, modes ...Mode) Mode { return modes[rng.IntN(len(modes))] }
