package audit

import (
	"fmt"
	"strings"
)

// Kind is a kind of fault.
type Kind string

// Kinds of faults.
const (
	Loss          Kind = "loss"
	Double        Kind = "double"
	Contradiction Kind = "contradiction"
)

// Fault is one thing that must not be.
type Fault struct {
	Kind  Kind   `json:"kind"`
	Event uint64 `json:"event,omitempty"` // 0 if it concerns none
	Text  string `json:"text"`
}

// Result is what an audit found.
type Result struct {
	Journals  []JournalResult `json:"journals"`
	Voting    int             `json:"voting"`   // journals of voters
	Needed    int             `json:"needed"`   // of those, journals that must have an event that was answered
	First     uint64          `json:"first"`    // oldest event that was compared; 0 if there is none
	Last      uint64          `json:"last"`     // newest event of the log
	Replayed  uint64          `json:"replayed"` // the replay begins after this event
	Histories int             `json:"histories"`
	Counts
	Faults []Fault `json:"faults"` // at most maxFaults
	More   int     `json:"more"`   // further faults
}

// Counts are numbers of what was compared, and of what could not be.
type Counts struct {
	Answered  int `json:"answered"`  // requests that were answered as an event
	Found     int `json:"found"`     // of those, requests that the log has as that event
	Early     int `json:"early"`     // of those, requests before the oldest event kept: not checked
	Refused   int `json:"refused"`   // requests
	Unknown   int `json:"unknown"`   // requests without a response
	Frames    int `json:"frames"`    // that arrived
	Same      int `json:"same"`      // of those, frames that the replay has too
	Lost      int `json:"lost"`      // frames of the replay that need not have arrived, and did not
	Unchecked int `json:"unchecked"` // frames of connections that began before the replay, or after a fault
	Queries   int `json:"queries"`   // that were answered
	Agreed    int `json:"agreed"`    // of those, queries whose response the replay gives too
	Unasked   int `json:"unasked"`   // of those, queries from before the replay
	Strangers int `json:"strangers"` // requests in the log of clients without a history
}

// JournalResult is what a journal has.
type JournalResult struct {
	Name      string `json:"name"`
	First     uint64 `json:"first"` // oldest event kept
	Last      uint64 `json:"last"`
	Committed uint64 `json:"committed"` // last event that the node knows to be in the log for good
	Term      uint64 `json:"term"`      // of the last entry; 0 for a single node
	Index     uint64 `json:"index"`     // of the last entry
	Replaced  uint64 `json:"replaced"`  // events at the end that are not in the log, and were never known to be
}

// maxFaults bounds the list of faults.
const maxFaults = 50

func (r *Result) fault(kind Kind, event uint64, format string, args ...any) {
	if len(r.Faults) == maxFaults {
		r.More++
		return
	}
	r.Faults = append(r.Faults, Fault{kind, event, fmt.Sprintf(format, args...)})
}

// Failed is the number of faults.
func (r *Result) Failed() int { return len(r.Faults) + r.More }

// String is the result in lines for a person to read.
func (r *Result) String() string {
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-10s %s\n", name, fmt.Sprintf(format, args...))
	}
	for _, j := range r.Journals {
		text := fmt.Sprintf("%s: events %d to %d", j.Name, j.First, j.Last)
		if j.Term != 0 {
			text += fmt.Sprintf(", %d known to be committed, last entry %d of term %d", j.Committed, j.Index, j.Term)
		}
		if j.Replaced > 0 {
			text += fmt.Sprintf("; the last %d were not committed and are not in the log", j.Replaced)
		}
		row("journal", "%s", text)
	}
	row("log", "events %d to %d, replayed after event %d; an answered request must be in %d of %d journals of voters", r.First,
		r.Last, r.Replayed, r.Needed, r.Voting)
	row("requests", "%d answered as an event, %d of them found, %d before the log and not checked; %d refused, %d without "+
		"a response", r.Answered, r.Found, r.Early, r.Refused, r.Unknown)
	row("frames", "%d received, %d of them as in the replay, %d not checked; %d were lost with a connection", r.Frames,
		r.Same, r.Unchecked, r.Lost)
	row("queries", "%d answered, %d of them as in the replay, %d not checked", r.Queries, r.Agreed, r.Unasked)
	row("clients", "%d with a history; the log has %d requests of others", r.Histories, r.Strangers)
	for _, f := range r.Faults {
		row(string(f.Kind), "%s", f.Text)
	}
	if r.More > 0 {
		row("...", "further faults: %d", r.More)
	}
	row("result", "%s", r.Verdict())
	return b.String()
}

// Verdict is the result in a few words.
func (r *Result) Verdict() string {
	switch r.Failed() {
	case 0:
		return "nothing is lost, nothing is there twice, nothing contradicts"
	case 1:
		return "1 fault"
	}
	return fmt.Sprintf("%d faults", r.Failed())
}
