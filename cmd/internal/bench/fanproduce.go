package bench

import (
	"time"

	"sluice/actors"
	"sluice/mailbox"
)

// publisher is the part of the producer that publishes topic frames. It belongs to the goroutine of
// producer.run.
type publisher struct {
	events   uint64   // topic frames
	seqs     []uint64 // number of the last frame, by topic - 1
	shards   []uint64 // shards with subscribers, by topic - 1
	clients  [][]int  // by topic - 1, for slotsServer
	own      float64  // responses of one client that are due
	mode     actors.Mode
	feedback []*mailbox.Reader[actors.Feedback]
}

// topical is a target whose subscribers report back.
type topical interface {
	Feedback() []*mailbox.Reader[actors.Feedback]
}

// latestKeys is the number of keys of a topic.
const latestKeys = 64

func newPublisher(spec *Spec, t Target) *publisher {
	if spec.Fan.Topics == 0 {
		return nil
	}
	mode, err := actors.ParseMode(spec.Fan.Mode)
	if err != nil {
		panic(err) // the plan has checked it
	}
	p := &publisher{seqs: make([]uint64, spec.Fan.Topics), shards: make([]uint64, spec.Fan.Topics),
		clients: make([][]int, spec.Fan.Topics), mode: mode}
	groups, firsts := spec.Groups()
	for topic := range p.seqs {
		for _, first := range firsts[topic] {
			p.clients[topic] = append(p.clients[topic], groups[first]...)
		}
		for _, client := range p.clients[topic] {
			p.shards[topic] |= 1 << actors.ShardOf(uint64(client)+1, max(spec.Shards, 1))
		}
	}
	if t, ok := t.(topical); ok {
		p.feedback = t.Feedback()
	}
	return p
}

// join makes every client a subscriber of its topics, which have no frame yet.
func (p *producer) join() {
	if p.spec.Server != "sluice" || p.fan == nil {
		return
	}
	n := 0
	p.write(p.spec.Connections*p.spec.Fan.Each, func(s *Slot) {
		client := n / p.spec.Fan.Each
		topic := (p.spec.First(client) + n%p.spec.Fan.Each) % p.spec.Fan.Topics
		n++
		p.subscribe(s, uint64(client)+1, uint64(topic)+1)
	})
}

// subscribe writes the slot from which on a client receives a topic.
func (p *producer) subscribe(s *Slot, conn, topic uint64) {
	s.Conn, s.Request, s.Report = conn, 0, Report{}
	s.SetSubscription(actors.KindSnapshotEnd, topic, p.fan.seqs[topic-1], 0, p.fan.mode)
}

// resubscribe lets clients go on that lost frames and read again.
func (p *producer) resubscribe() {
	if p.fan == nil {
		return
	}
	for _, r := range p.fan.feedback {
		batch := r.Batch(64)
		for _, fb := range batch {
			if fb.Kind == actors.FeedbackResync {
				p.write(1, func(s *Slot) { p.subscribe(s, fb.Conn, fb.Topic) })
			}
		}
		if len(batch) > 0 {
			r.Release(len(batch))
		}
	}
}

// publishEvents writes n topic frames, and the responses of one client between them.
func (p *producer) publishEvents(n int, at int64) {
	f := p.fan
	if p.spec.Fan.Own == 0 && p.spec.Server != slotsServer {
		p.write(n, func(s *Slot) { p.topicSlot(s, at) })
		return
	}
	for range n {
		f.own += p.spec.ownPerEvent()
		own := int(f.own)
		f.own -= float64(own)
		if p.spec.Server != slotsServer {
			first := true
			p.write(1+own, func(s *Slot) {
				if first {
					p.topicSlot(s, at)
				} else {
					p.ownSlot(s, int(p.pick()), at)
				}
				first = false
			})
			continue
		}
		clients := f.clients[int(f.events)%len(f.clients)]
		f.events++
		p.write(len(clients)+own, func(s *Slot) {
			if len(clients) > 0 {
				p.ownSlot(s, clients[0], at)
				clients = clients[1:]
			} else {
				p.ownSlot(s, int(p.pick()), at)
			}
		})
	}
}

// topicSlot writes the next frame of the next topic.
func (p *producer) topicSlot(s *Slot, at int64) {
	f := p.fan
	topic := int(f.events) % len(f.seqs)
	f.events++
	f.seqs[topic]++
	seq := f.seqs[topic]
	s.Report = Report{Conn: 0, Seq: f.events, Stamp: at, Size: int32(p.spec.Frame - TopicExtra)}
	s.SetTopic(uint64(topic)+1, seq, seq%latestKeys, f.shards[topic])
}

// ownSlot writes a response of one client.
func (p *producer) ownSlot(s *Slot, client int, at int64) {
	p.counts[client]++
	s.Conn = uint64(client) + 1
	s.Report = Report{Conn: s.Conn, Seq: p.counts[client], Stamp: at, Size: int32(p.spec.Frame)}
}

// floodTick is the interval at which flood looks whether the clients have caught up. A shorter one costs
// CPU time that is not the server's.
const floodTick = time.Millisecond

// flood publishes topic frames while the clients keep up.
func (p *producer) flood() error {
	ahead, each := p.spec.Fan.Ahead*p.spec.Fan.Topics/p.spec.Fan.Each, p.spec.perEvent()
	step := max(min(ahead/4, 256), 1)
	if p.spec.Fan.Own > 0 || p.spec.Server == slotsServer {
		step = max(min(step, 4096/int(each)), 1)
	}
	for {
		now := p.clock.now()
		p.beside(now)
		if now >= p.to {
			return nil
		}
		if int(p.wanted)-int(float64(p.taken.sum())/each)+step > ahead {
			if err := wait(p.tick); err != nil {
				return err
			}
			if now >= p.from {
				p.sampled.waitPeer.Add(p.clock.now() - now)
			}
			continue
		}
		p.publish(step, now)
	}
}
