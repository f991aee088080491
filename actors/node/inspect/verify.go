package inspect

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"sluice/actors/sequencer"
	"sluice/durability"
	"sluice/durability/journal"
)

// Summary is what Verify found in an intact data directory. The first fields say which directory and log
// it is; those up to End describe the events as a whole, and those up to Checkpoint what is in them;
// the others describe what else is on disk and how it was left.
type Summary struct {
	Dir        string            `json:"dir"`
	Directory  string            `json:"directory"` // identity of the directory
	Log        string            `json:"log"`       // identity of the log
	First      uint64            `json:"first"`     // oldest event kept; 0 if there is none
	Last       uint64            `json:"last"`      // newest event
	Events     uint64            `json:"events"`
	Bytes      uint64            `json:"bytes"`            // of the events, without the log's own
	Begin      string            `json:"begin"`            // time of the oldest event, RFC 3339
	End        string            `json:"end"`              // time of the newest event
	Kinds      map[string]uint64 `json:"kinds"`            // events by kind
	Requests   map[string]uint64 `json:"requests"`         // requests by name
	Identities uint64            `json:"identities"`       // introduced
	Versions   []Version         `json:"versions"`         // of the application's rules, in order
	Skips      []Skip            `json:"skips"`            // in order
	Pending    []uint64          `json:"pending_skips"`    // events that the next start leaves out for the first time
	Checkpoint *Checkpoint       `json:"checkpoint"`       // the last one; nil if there is none
	Snapshots  []Snapshot        `json:"snapshots"`        // newest first
	Member     *Member           `json:"member,omitempty"` // of a cluster
	Condition
}

// Condition is how a directory was left.
type Condition struct {
	Torn    string `json:"torn"`     // the unfinished last write of a crash; empty if there is none
	Writing bool   `json:"writing"`  // a node has the journal open: Last is the last event that was complete
	Closed  bool   `json:"closed"`   // it was closed in order: no event is missing behind Last
	EndMark uint64 `json:"end_mark"` // an event that was certainly on disk; later ones may have been lost unless Closed. 0 for a member of a cluster
	Backup  bool   `json:"backup"`   // a node does not open it; it is to be restored
}

// Version says from which event on the application follows which rules.
type Version struct {
	Seq   uint64 `json:"seq"`
	Rules uint32 `json:"rules"`
}

// Skip is an event that an operator had left out, by an event of its own.
type Skip struct {
	Seq     uint64 `json:"seq"`
	Skipped uint64 `json:"skipped"`
}

// Checkpoint is the digest of all outputs before an event.
type Checkpoint struct {
	Seq     uint64 `json:"seq"`
	Digest  string `json:"digest"`
	Outputs uint64 `json:"outputs"`
}

// Snapshot is one on disk.
type Snapshot struct {
	Seq     uint64 `json:"seq"` // the last event it includes; 0 for one of a member of a cluster that was not opened
	Bytes   int64  `json:"bytes"`
	Damaged bool   `json:"damaged"` // the next start uses an older one
}

// verifyTries is how often Verify begins again because the running node removed what it read.
const verifyTries = 100

// Verify reads all events, and restores the genesis file and the newest snapshot if the application is a
// Restorer. The error names the first thing that is wrong. Beside a running node it begins again when the
// node has removed what it reads.
func (j *Journal) Verify() (s *Summary, err error) {
	for try := 0; ; try++ {
		s, err = j.verify()
		if !errors.Is(err, journal.ErrRemoved) || !j.log.Writing || try == verifyTries {
			return s, err
		}
		if err := j.open(); err != nil {
			return nil, err
		}
	}
}

func (j *Journal) verify() (*Summary, error) {
	s := &Summary{Dir: j.dir, Directory: j.log.Directory.String(), Log: j.log.Identity.String(),
		First: uint64(j.First()), Last: uint64(j.Last()), Member: j.Member(), Snapshots: j.snapshots(),
		Condition: j.condition(), Kinds: map[string]uint64{}, Requests: map[string]uint64{}}
	if err := j.Restore(j.restorer); err != nil {
		return nil, err
	}
	for r, err := range j.records() {
		if err != nil {
			return nil, err
		}
		if err := j.checkSkip(r); err != nil {
			return nil, err
		}
		s.add(r)
	}
	for _, seq := range j.skips {
		journaled := slices.ContainsFunc(s.Skips, func(k Skip) bool { return k.Skipped == uint64(seq) })
		if !journaled && seq > j.Snapshot() && seq <= j.Last() {
			s.Pending = append(s.Pending, uint64(seq))
		}
	}
	return s, nil
}

// checkSkip reports a journaled skip of an event that the next start would not leave out.
func (j *Journal) checkSkip(r *Record) error {
	at, skipped := j.Snapshot(), durability.Seq(r.Skipped)
	if r.kind != sequencer.KindSkip || skipped <= at || slices.Contains(j.skips, skipped) {
		return nil
	}
	return fmt.Errorf("inspect: event %d says that an operator had event %d left out, but the list of "+
		"skipped events (%s) lacks it; restore the list from a backup, or skip the event again", r.Seq,
		r.Skipped, filepath.Join(j.dir, "skips"))
}

func (s *Summary) add(r *Record) {
	if s.Events == 0 {
		s.Begin = r.Time
	}
	s.End = r.Time
	s.Events++
	s.Bytes += uint64(r.bytes)
	s.Kinds[r.Kind]++
	switch r.kind {
	case sequencer.KindRequest:
		s.Requests[r.Name]++
	case sequencer.KindIdentity:
		s.Identities++
	case sequencer.KindVersion:
		s.Versions = append(s.Versions, Version{r.Seq, r.Rules})
	case sequencer.KindSkip:
		s.Skips = append(s.Skips, Skip{r.Seq, r.Skipped})
	case sequencer.KindCheckpoint:
		s.Checkpoint = &Checkpoint{r.Seq, r.Digest, r.Outputs}
	}
}

// String is the summary in lines for a person to read.
func (s *Summary) String() string {
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-11s %s\n", name, fmt.Sprintf(format, args...))
	}
	if s.Writing {
		fmt.Fprintf(&b, "%s is intact up to event %d; a server is writing to it\n", s.Dir, s.Last)
	} else {
		fmt.Fprintf(&b, "%s is intact\n", s.Dir)
	}
	if s.Backup {
		restore := "sluice restore makes a data directory from it"
		if s.Member != nil {
			restore = "sluice cluster restore makes a new cluster from it"
		}
		row("backup", "no server starts in it; %s", restore)
	}
	row("directory", "%s", s.Directory)
	if s.Log != s.Directory {
		row("log", "%s", s.Log)
	}
	if m := s.Member; m != nil {
		row("member", "of a cluster; its last entry is %d, of term %d; events up to %d are known to be committed", m.Index,
			m.Term, m.Committed)
	}
	if s.Events == 0 {
		row("events", "none")
	} else {
		row("events", "%d to %d: %d events, %d bytes", s.First, s.Last, s.Events, s.Bytes)
		row("time", "%s to %s", s.Begin, s.End)
		row("kinds", "%s", counts(s.Kinds))
		row("requests", "%s", counts(s.Requests))
	}
	for _, v := range s.Versions {
		row("version", "%d of the application's rules since event %d", v.Rules, v.Seq)
	}
	for _, skip := range s.Skips {
		row("skip", "event %d was left out by an operator, says event %d", skip.Skipped, skip.Seq)
	}
	for _, seq := range s.Pending {
		row("skip", "event %d will be left out at the next start", seq)
	}
	if c := s.Checkpoint; c != nil {
		row("checkpoint", "%d in all, the last is event %d: digest %s of %d outputs",
			s.Kinds[sequencer.KindCheckpoint.String()], c.Seq, c.Digest, c.Outputs)
	}
	for _, snap := range s.Snapshots {
		damaged := ""
		if snap.Damaged {
			damaged = ", damaged: an older one is used"
		}
		after := fmt.Sprintf("after event %d", snap.Seq)
		if snap.Seq == 0 && s.Member != nil {
			after = "another one"
		}
		row("snapshot", "%s: %d bytes%s", after, snap.Bytes, damaged)
	}
	switch {
	case s.Writing:
	case s.Closed:
		row("end", "closed")
	default:
		row("end", "the last run did not end in order (killed, or the machine failed). %s here. If the disk lost "+
			"later writes, that cannot be seen from these files.", s.kept())
	}
	if s.Torn != "" {
		row("last write", "incomplete, as after a crash; the next start drops it: %s", s.Torn)
	}
	return b.String()
}

func (s *Summary) kept() string {
	if s.Events == 0 {
		return "No events are"
	}
	return fmt.Sprintf("Events %d to %d are", s.First, s.Last)
}

// counts lists names with their numbers, the largest first.
func counts(of map[string]uint64) string {
	if len(of) == 0 {
		return "none"
	}
	names := slices.SortedFunc(maps.Keys(of), func(a, b string) int {
		return cmp.Or(cmp.Compare(of[b], of[a]), strings.Compare(a, b))
	})
	var b strings.Builder
	for i, name := range names {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%d %s", of[name], name)
	}
	return b.String()
}
