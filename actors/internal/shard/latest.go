package shard

import "slices"

// latestKey is a key of a topic.
type latestKey struct{ topic, key uint64 }

// latestFrame is the newest frame of a key.
type latestFrame struct {
	frame uint64 // its number in the feed's tape
	bytes []byte
}

const (
	// latestMost is the number of keys of which a feed keeps the newest frame. With more, and if all
	// feeds of a shard keep more than a quarter of its budget, ModeLatest is ModeRecover.
	latestMost = 4096
	latestCost = 128 // bytes besides the capacity for the frame, about
)

// keepLatest notes the frame that was appended last as the newest of its key.
func (e *Shard) keepLatest(f *feed, topic, key uint64, frame []byte) {
	if f.many {
		return
	}
	k := latestKey{topic, key}
	l, cost := f.latest[k], 0
	if l == nil {
		if len(f.latest) == latestMost {
			e.dropLatest(f)
			return
		}
		l, cost = &latestFrame{}, latestCost
		f.latest[k] = l
	}
	cost -= cap(l.bytes)
	l.frame, l.bytes = f.tape.Next()-1, append(l.bytes[:0], frame...)
	cost += cap(l.bytes)
	f.kept += cost
	e.topics.latest += cost
	if int64(e.topics.latest) > e.slab.Budget()/4 {
		e.dropLatest(f)
	}
}

// dropLatest forgets the newest frames of a feed, which keeps none any more.
func (e *Shard) dropLatest(f *feed) {
	e.topics.latest -= f.kept
	f.latest, f.kept, f.many = nil, 0, true
}

// newest returns the newest frames of all keys that changed from a frame on, in their order, and
// false if they are not known or have more than most bytes.
func (f *feed) newest(from uint64, most int) (frames []*latestFrame, ok bool) {
	if f.many {
		return nil, false
	}
	total := 0
	for _, l := range f.latest {
		if l.frame >= from {
			frames, total = append(frames, l), total+len(l.bytes)
		}
	}
	if total > most {
		return nil, false
	}
	slices.SortFunc(frames, func(a, b *latestFrame) int { return int(int64(a.frame - b.frame)) })
	return frames, true
}
