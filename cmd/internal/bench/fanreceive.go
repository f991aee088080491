package bench

import (
	"encoding/binary"
	"fmt"

	"github.com/HdrHistogram/hdrhistogram-go"

	"sluice/transport/wire"
)

// TopicExtra is how many bytes longer a topic frame is than the application's frame in it.
const TopicExtra = wire.TopicDataSize

// subscriptions checks the topic frames of one client: those of each topic are 1, 2, 3, ... Numbers
// are left out only as the mode of the run allows. It belongs to the client's receiver.
type subscriptions struct {
	first   int      // first topic, from 0
	all     int      // topics of the run
	next    []uint64 // number of the last frame, by topic from the first on
	gap     []bool   // the server has said that frames are lost
	jumps   bool     // mode latest: numbers may be left out
	sum     uint64   // of next
	skipped uint64   // frames that a Gap or a later one replaced
}

func newSubscriptions(spec *Spec, client int) *subscriptions {
	if spec.Fan.Topics == 0 || spec.Server == slotsServer {
		return nil
	}
	return &subscriptions{first: spec.First(client), all: spec.Fan.Topics, next: make([]uint64, spec.Fan.Each),
		gap: make([]bool, spec.Fan.Each), jumps: spec.Fan.Mode == "latest"}
}

// index returns the place of a topic, or a place that does not exist.
func (s *subscriptions) index(topic uint64) int {
	i := int(topic) - 1 - s.first
	if i < 0 {
		i += s.all
	}
	return i
}

// frame checks frame seq of a topic, if it is not simply the next one.
func (c *reader) topicFrame(topic, seq uint64) {
	s := c.topics
	i := s.index(topic)
	switch {
	case uint(i) >= uint(len(s.next)):
		c.check.faults.Foreign++
		c.check.note("a frame of topic %d, to which it does not subscribe", topic)
		return
	case seq <= s.next[i]:
		c.check.faults.Repeats++
		c.check.note("number %d of topic %d arrived again, the latest was %d", seq, topic, s.next[i])
		return
	case seq > s.next[i]+1 && s.jumps:
		s.skipped += seq - s.next[i] - 1
	case seq > s.next[i]+1:
		c.check.faults.Gaps += seq - s.next[i] - 1
		c.check.note("number %d of topic %d arrived after %d", seq, topic, s.next[i])
	}
	s.sum += seq - s.next[i]
	s.next[i] = seq
}

// topicControl checks the other frames of a topic.
func (c *reader) topicControl(body []byte) error {
	s := c.topics
	if topic, _, ok := wire.DecodeGap(body); ok {
		if i := s.index(topic); uint(i) < uint(len(s.gap)) {
			s.gap[i] = true
		}
		return nil
	}
	topic, seq, ok := wire.DecodeSnapshotEnd(body)
	i := s.index(topic)
	if !ok || uint(i) >= uint(len(s.next)) {
		return fmt.Errorf("torn stream: a topic frame that begins with %x", body[:min(len(body), 20)])
	}
	if seq > s.next[i] && s.gap[i] {
		s.skipped += seq - s.next[i]
		s.sum += seq - s.next[i]
		s.next[i] = seq
	}
	if s.gap[i] = false; seq != s.next[i] {
		c.check.faults.Gaps++
		c.check.note("a snapshot of topic %d at number %d, after %d", topic, seq, s.next[i])
	}
	return nil
}

// end compares the last numbers with those published.
func (s *subscriptions) end(check *checker, published []uint64) {
	if s == nil {
		return
	}
	for i, next := range s.next {
		topic := (s.first + i) % s.all
		if want := published[topic]; next != want {
			check.faults.Short += max(want, next) - min(want, next)
			check.note("topic %d ends with number %d, published were %d", topic+1, next, want)
		}
	}
}

// expected is the sum of the numbers that a client has at the end.
func (s *subscriptions) expected(published []uint64) (n uint64) {
	if s == nil {
		return 0
	}
	for i := range s.next {
		n += published[(s.first+i)%s.all]
	}
	return n
}

// parseTopics does what parse does, for a client with topics. Frames in a row that were scheduled for the
// same time are recorded together.
func (r *receiver) parseTopics(c *reader, b []byte, now int64) (n uint64, err error) {
	le, s := binary.LittleEndian, c.topics
	stamp, same := int64(0), int64(0)
	for len(b) >= 6 && err == nil {
		size, at := 4+int(le.Uint32(b)), int64(0)
		switch {
		case b[4] != wire.TagExtended:
			var f Report
			if f, size, err = nextFrame(b); size > 0 && f.Conn != 0 {
				c.check.frame(&f)
				at = f.Stamp
			}
		case size > frameMost+TopicExtra:
			size, err = 0, fmt.Errorf("torn stream: a topic frame of %d bytes", size)
		case len(b) < size:
			size = 0
		case b[5] == wire.SubTopicData && size >= TopicExtra+frameLeast:
			topic, seq := le.Uint64(b[6:]), le.Uint64(b[14:])
			if i := s.index(topic); uint(i) < uint(len(s.next)) && seq == s.next[i]+1 {
				s.next[i] = seq
				s.sum++
			} else {
				c.topicFrame(topic, seq)
			}
			at = int64(le.Uint64(b[TopicExtra+21:]))
			if r.last != nil {
				r.reached(le.Uint64(b[TopicExtra+13:]), at, now)
			}
		default:
			err = c.topicControl(b[5:size])
		}
		if size == 0 {
			break // incomplete, or torn
		}
		if b = b[size:]; at == 0 {
			continue // of the transport
		}
		if n++; at == stamp {
			same++
			continue
		}
		r.record(stamp, same, now)
		stamp, same = at, 1
	}
	r.record(stamp, same, now)
	c.rest = append(c.rest[:0], b...)
	return n, err
}

// record records frames that were scheduled for the time stamp.
func (r *receiver) record(stamp, n, now int64) {
	if n > 0 && stamp >= r.from && stamp < r.to {
		_ = r.hist.RecordValues(min(max(now-stamp, 1), latencyMost), n) // within the bounds
	}
}

// reached notes the latency of a topic frame for the client that receives it last.
func (r *receiver) reached(event uint64, stamp, now int64) {
	if stamp >= r.from && stamp < r.to && event < uint64(len(r.last)) {
		r.last[event] = max(r.last[event], min(max(now-stamp, 1), latencyMost))
	}
}

// lastReached is the distribution over the topic frames of the latency of the last subscriber.
func lastReached(receivers []*receiver) *hdrhistogram.Histogram {
	hist := hdrhistogram.New(1, latencyMost, 3)
	if len(receivers) == 0 {
		return hist
	}
	for event := range receivers[0].last {
		took := int64(0)
		for _, r := range receivers {
			took = max(took, r.last[event])
		}
		if took > 0 {
			_ = hist.RecordValue(took) // within the bounds
		}
	}
	return hist
}

// lastEvents returns room for the latencies of all topic frames of a run at a rate, nil at full speed.
func (s *Spec) lastEvents() []int64 {
	if s.Fan.Topics == 0 || s.Rate == 0 || s.Server == slotsServer {
		return nil
	}
	return make([]int64, int(float64(s.Rate)*(s.Warm+s.Run).Seconds())+2)
}
