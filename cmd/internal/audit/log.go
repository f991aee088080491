package audit

import (
	"bytes"
	"errors"
	"fmt"
	"iter"

	"sluice/actors/node/cluster"
	"sluice/actors/node/inspect"
	"sluice/cmd/orderbook"
)

// source is a journal. Its first fields are those of inspect.Journal, once.
type source struct {
	JournalResult
	of       *cluster.Membership // nil: of a single node
	votes    bool
	snapshot uint64
	events   func() iter.Seq2[inspect.Event, error]
	begin    func(inspect.Restorer) error // gives the empty state
	restore  func(inspect.Restorer) error // gives the state after event snapshot
	rules    func() uint32                // of the book, in force at that state
	skips    []uint64

	next func() (inspect.Event, error, bool)
	stop func()
	head inspect.Event // the next event, if has
	has  bool
}

// log is what all journals have.
type log struct {
	sources []*source
	newest  *source // has everything that was committed
	voting  int     // sources of voters
	needed  int     // of those, sources that must have an event that was answered
	first   uint64  // oldest event that some source has, without a gap up to the last one; 0 if there is none
	base    *source // replayed from its state: its snapshot, or the empty one
	after   uint64  // the replay begins after this event
}

// entry is an event of the log.
type entry struct {
	seq     uint64
	payload []byte // valid until the next one
	copies  int    // sources of voters that have it, in a snapshot too
}

// open opens the journals of data directories.
func open(dirs []string) (*log, error) {
	var l log
	var electors cluster.Electors
	seen := map[uint8]string{}
	for _, dir := range dirs {
		j, err := inspect.Open(dir, new(orderbook.Book))
		if err != nil {
			return nil, err
		}
		s := &source{JournalResult: JournalResult{Name: dir, First: uint64(j.First()), Last: uint64(j.Last()),
			Committed: uint64(j.Committed())}, snapshot: uint64(j.Snapshot()), events: j.Events, begin: j.Begin,
			restore: j.Restore, rules: j.Rules}
		for _, seq := range j.Skips() {
			s.skips = append(s.skips, uint64(seq))
		}
		if m := j.Member(); m != nil {
			own, err := cluster.ReadMembership(dir)
			if err != nil {
				return nil, err
			}
			if l.sources != nil && l.sources[0].of != nil && own.Cluster != l.sources[0].of.Cluster {
				return nil, fmt.Errorf("audit: %s is of cluster %v and %s of cluster %v: name directories of one cluster",
					dirs[0], l.sources[0].of.Cluster, dir, own.Cluster)
			}
			if other, double := seen[own.Node]; double {
				return nil, fmt.Errorf("audit: %s and %s are both of node %d: name one directory for each node", other, dir,
					own.Node)
			}
			now, err := cluster.ReadElectors(dir, own)
			if err != nil {
				return nil, err
			}
			if electors.IDs == nil || now.Index > electors.Index {
				electors = now
			}
			s.of, seen[own.Node] = own, dir
			s.Name, s.Term, s.Index = fmt.Sprintf("node %d (%s)", own.Node, dir), m.Term, m.Index
		}
		l.sources = append(l.sources, s)
	}
	for _, s := range l.sources {
		s.votes = s.of == nil || electors.Include(s.of)
	}
	if len(dirs) > 1 && len(seen) != len(dirs) {
		return nil, errors.New("audit: name the directories of the members of one cluster, or one directory of a single node")
	}
	return &l, l.survey(max(1, len(electors.IDs)))
}

// survey finds the newest source, how many must have an event, and where the replay can begin, in a
// cluster of that many voters. The other sources only show what was.
func (l *log) survey(voters int) error {
	for _, s := range l.sources {
		if s.votes {
			l.voting++
		} else {
			s.Name += ", which is not a voter"
		}
	}
	majority := voters/2 + 1
	if l.voting < majority {
		return fmt.Errorf("audit: the journals of %d voters of a cluster of %d: name at least %d, or an event that is missing "+
			"might be on the others", l.voting, voters, majority)
	}
	l.needed = max(1, majority-(voters-l.voting))
	for _, s := range l.sources {
		if !s.votes {
			continue
		}
		if n := l.newest; n == nil || s.Term > n.Term || s.Term == n.Term && s.Index > n.Index {
			l.newest = s
		}
	}
	l.first = l.newest.First
	if l.first == 0 && l.newest.Last > 0 {
		l.first = l.newest.Last + 1 // a snapshot only
	}
	for again := true; again; {
		again = false
		for _, s := range l.sources {
			if s.First != 0 && s.First < l.first && l.first <= s.Last+1 {
				l.first, again = s.First, true
			}
		}
	}
	if l.first <= 1 {
		l.base = l.newest
		return nil
	}
	for _, s := range l.sources {
		if s.snapshot+1 >= l.first && (l.base == nil || s.snapshot < l.after) {
			l.base, l.after = s, s.snapshot
		}
	}
	if l.base == nil {
		return fmt.Errorf("audit: no journal has a snapshot from which event %d can be replayed", l.first)
	}
	return nil
}

// state gives the book the state after event l.after, and the rules in force there.
func (l *log) state(book *orderbook.Book) error {
	give := l.base.restore
	if l.after == 0 {
		give = l.base.begin
	}
	if err := give(book); err != nil {
		return err
	}
	return book.UseRules(l.base.rules())
}

// all iterates over the log, and reports where the sources contradict. An error ends it.
func (l *log) all(r *Result) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		for _, s := range l.sources {
			s.next, s.stop = iter.Pull2(s.events())
			defer s.stop()
			if err := s.advance(); err != nil {
				yield(entry{}, err)
				return
			}
		}
		for seq := l.first; seq <= l.newest.Last && l.first > 0; seq++ {
			e, err := l.at(seq, r)
			if err == nil && e.payload == nil {
				err = fmt.Errorf("audit: no journal has event %d", seq)
			}
			if !yield(e, err) || err != nil {
				return
			}
			for _, s := range l.sources {
				if err := s.pass(seq); err != nil {
					yield(entry{}, err)
					return
				}
			}
		}
		for _, s := range l.sources {
			if s.Last <= l.newest.Last {
				continue
			}
			if s.Committed > l.newest.Last {
				r.fault(Loss, s.Committed, "%s knows that event %d is committed, and the log of %s, whose last entry is newer, "+
					"ends at event %d", s.Name, s.Committed, l.newest.Name, l.newest.Last)
			}
			s.Replaced += s.Last - l.newest.Last
		}
	}
}

// advance moves to the next event of a source.
func (s *source) advance() error {
	e, err, ok := s.next()
	if s.head, s.has = e, ok && err == nil; err != nil {
		return fmt.Errorf("audit: %s: %w", s.Name, err)
	}
	return nil
}

// pass moves a source behind an event.
func (s *source) pass(seq uint64) error {
	for s.has && uint64(s.head.Seq) <= seq {
		if err := s.advance(); err != nil {
			return err
		}
	}
	return nil
}

// at compares what the sources have under a number.
func (l *log) at(seq uint64, r *Result) (entry, error) {
	e := entry{seq: seq}
	var right *source
	for _, s := range l.sources {
		if err := s.pass(seq - 1); err != nil {
			return e, err
		}
		if !s.has || uint64(s.head.Seq) != seq {
			if seq <= s.snapshot && s.votes {
				e.copies++
			}
			continue
		}
		if right == nil || s == l.newest || right != l.newest && right.Committed < seq && s.Committed >= seq {
			right = s
		}
	}
	if right == nil {
		return e, nil
	}
	e.payload = right.head.Payload
	for _, s := range l.sources {
		switch {
		case !s.has || uint64(s.head.Seq) != seq:
		case s.head.Term == right.head.Term && bytes.Equal(s.head.Payload, e.payload):
			if s.votes {
				e.copies++
			}
		case s.Committed >= seq:
			r.fault(Contradiction, seq, "event %d of %s is %s, and that of %s is %s; both know it to be in the log for good",
				seq, right.Name, describe(right.head), s.Name, describe(s.head))
		default:
			s.Replaced++
		}
	}
	return e, nil
}
