package audit

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sluice/actors/sequencer"
	"sluice/cmd/internal/history"
	"sluice/cmd/orderbook"
)

// audited audits the journals of some nodes.
func audited(t *testing.T, s *scene, nodes ...int) *Result {
	t.Helper()
	dir := t.TempDir()
	s.write(t, dir)
	return auditedIn(t, dir, nodes...)
}

func auditedIn(t *testing.T, dir string, nodes ...int) *Result {
	t.Helper()
	var dirs []string
	for _, node := range nodes {
		dirs = append(dirs, filepath.Join(dir, fmt.Sprint("node", node)))
	}
	r, err := Run(dirs, []string{filepath.Join(dir, "histories")})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestIntactClusterHasNoFaults(t *testing.T) {
	for _, nodes := range [][]int{{1, 2, 3}, {3, 1}, {2, 3}} {
		r := audited(t, newScene(t), nodes...)
		if r.Failed() != 0 {
			t.Fatalf("nodes %v:\n%s", nodes, r)
		}
		if r.Answered != 8 || r.Found != 8 || r.Refused != 1 || r.Unknown != 2 || r.Queries != 2 || r.Agreed != 2 ||
			r.Frames == 0 || r.Same != r.Frames || r.Histories != 2 || r.Strangers != 0 || r.Needed != len(nodes)-1 ||
			!strings.Contains(r.String(), "nothing is lost") {
			t.Errorf("nodes %v: %+v", nodes, r)
		}
	}
	r := audited(t, newScene(t), 1, 2, 3)
	if j := r.Journals[0]; j.Replaced != 2 || j.Committed != 7 || !strings.Contains(r.String(),
		"the last 2 were not committed and are not in the log\n") {
		t.Errorf("node 1: %+v\n%s", j, r)
	}
}

// lineOf is the line of a client with a request.
func (s *scene) lineOf(client int, number uint64) *history.Line {
	i := slices.IndexFunc(s.lines[client], func(l history.Line) bool { return l.Request == number })
	return &s.lines[client][i]
}

// cut ends the log after an event, and forgets what clients did after it.
func (s *scene) cut(seq int) {
	s.events, s.terms = s.events[:seq], s.terms[:seq]
	for client := range s.lines {
		s.lines[client] = slices.DeleteFunc(s.lines[client], func(l history.Line) bool {
			return l.Event > uint64(seq) || l.AsOf > uint64(seq) || l.Conn == a2 || l.Conn == b2
		})
	}
}

func TestFaultsAreFound(t *testing.T) {
	answered := func(l *history.Line, event uint64) {
		l.Outcome, l.Event, l.Answered = history.Answered, event, l.Sent+10
	}
	for _, c := range []struct {
		name  string
		plant func(s *scene)
		kind  Kind
		event uint64
		want  string
	}{
		{"an answered request is another event", func(s *scene) { answered(s.lineOf(0, 3), 8) }, Loss, 8,
			"request 3 of connection 1.1.1 of trader-1 was answered as event 8, which is a disconnected event"},
		{"an answered request is behind the log", func(s *scene) { answered(s.lineOf(0, 3), 99) }, Loss, 99,
			"was answered as event 99, and the log ends at event 14"},
		{"only the node that died has an answered request", func(s *scene) { s.cut(7); answered(s.lineOf(0, 3), 8) }, Loss, 8,
			"which 1 of 3 journals have; it must be in 2"},
		{"an answered request has other bytes", func(s *scene) { s.lineOf(0, 2).Hash++ }, Loss, 6, "was answered as event 6, which is request 2 of"},
		{"a request that was answered without a number", func(s *scene) { answered(s.lineOf(0, 3), 0) }, Loss, 0,
			"request 3 of connection 1.1.1 of trader-1 was answered, and is not in the log"},
		{"a query is as of an event that the log lacks", func(s *scene) { s.lineOf(0, 5).AsOf = 77 }, Loss, 77,
			"request 5 of connection 2.1.1 of trader-1 is answered as of event 77, and the log ends at event 14"},
		{"a request is in the log twice", func(s *scene) { s.apply(3, s.events[11]) }, Double, 15, "and so is event 12; trader-1 sent it once"},
		{"two requests are one event", func(s *scene) {
			l := *s.lineOf(0, 2)
			l.Frames, l.Request = nil, 9
			s.lines[0] = append(s.lines[0], l)
		}, Contradiction, 6, "was answered as event 6, as another request was"},
		{"a refused request is in the log", func(s *scene) {
			l := s.lineOf(0, 2)
			l.Outcome, l.Event, l.Answered = history.Refused, 0, 0
		}, Contradiction, 6, "trader-1 sent it once and was told once that it was not executed"},
		{"a request was not sent", func(s *scene) {
			i := slices.IndexFunc(s.lines[0], func(l history.Line) bool { return l.Request == 2 })
			s.lines[0][i] = history.Line{Conn: a1, Frames: s.lines[0][i].Frames}
		}, Contradiction, 6, "), which trader-1 did not send"},
		{"another frame", func(s *scene) { s.lineOf(1, 3).Frames[0]++ }, Contradiction, 5,
			"trader-2 received another frame 3 on connection 1.1.2 than the log explains: event 5 causes accepted, order #2 of account 2"},
		{"a frame too many", func(s *scene) {
			s.lines[1][len(s.lines[1])-1].Frames = append(s.lines[1][len(s.lines[1])-1].Frames, 1)
		}, Contradiction, 14, "trader-2 received 1 frames on connection 2.1.2 that the log does not explain"},
		{"a frame too few", func(s *scene) {
			l := s.lineOf(1, 8)
			l.Frames = l.Frames[:len(l.Frames)-1]
		}, Contradiction, 14, "trader-2 did not receive frame 6 on connection 2.1.2, although later responses arrived: event 14 causes a fill of order #5 " +
			"of account 2: 1 @ 100"},
		{"another response to a query", func(s *scene) { s.lineOf(0, 5).Answer[0]++ }, Contradiction, 13,
			"got another response as of event 13 than the log gives"},
		{"a query as of an event that nobody can ask for", func(s *scene) {
			s.lineOf(0, 5).AsOf = 14
			s.events = slices.Insert(s.events, 13, checkpoint(s.events[12].Time))
			s.terms = slices.Insert(s.terms, 13, uint64(3))
			s.lineOf(1, 8).Event = 15
		}, Contradiction, 14, "as of event 14, which changes nothing"},
		{"an old leader answers a query", func(s *scene) {
			l := s.lineOf(1, 2)
			l.Sent, l.Answered = s.tick(), s.tick()
		}, Contradiction, 4, "request 2 of connection 1.1.2 of trader-2 is answered as of event 4, and was sent after request 8 of " +
			"connection 2.1.2 of trader-2 had been answered with event 14"},
		{"a request comes before one that had been answered", func(s *scene) {
			l := s.lineOf(0, 2)
			l.Sent, l.Answered = s.tick(), s.tick()
		}, Contradiction, 6, "request 2 of connection 1.1.1 of trader-1 is event 6, and was sent after"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t)
			c.plant(s)
			r := audited(t, s, 1, 2, 3)
			if !slices.ContainsFunc(r.Faults, func(f Fault) bool {
				return f.Kind == c.kind && f.Event == c.event && strings.Contains(f.Text, c.want)
			}) {
				t.Errorf("want a %s at event %d: %q\n%s", c.kind, c.event, c.want, r)
			}
			if !strings.Contains(r.String(), "result     "+r.Verdict()+"\n") {
				t.Errorf("%s", r)
			}
		})
	}
}

func checkpoint(time int64) sequencer.Event {
	return sequencer.Event{Kind: sequencer.KindCheckpoint, Time: time, Body: make([]byte, 16)}
}

// Clients that a Session numbers do not know on which connection a request was sent.
func TestRequestsWithoutAConnection(t *testing.T) {
	s := newScene(t)
	for client, lines := range s.lines {
		s.lines[client] = nil
		for _, l := range lines {
			if l.Frames != nil {
				s.lines[client] = append(s.lines[client], history.Line{Conn: l.Conn, Frames: l.Frames})
			}
			if l.Conn, l.Frames = 0, nil; l.Outcome != "" {
				s.lines[client] = append(s.lines[client], l)
			}
		}
	}
	if r := audited(t, s, 1, 2, 3); r.Failed() != 0 || r.Found != 8 || r.Same != r.Frames {
		t.Errorf("%s", r)
	}
	for client := range s.lines {
		for i := range s.lines[client] { // nor does the response have to name the event
			s.lines[client][i].Event = 0
		}
	}
	if r := audited(t, s, 1, 2, 3); r.Failed() != 0 || r.Found != 8 {
		t.Errorf("%s", r)
	}
	s.lines[1][len(s.lines[1])-1].Event = 14
	last := &s.lines[1][len(s.lines[1])-2] // before the response to the last request
	last.Frames = last.Frames[:len(last.Frames)-1]
	if r := audited(t, s, 1, 2, 3); r.Failed() != 1 || !strings.Contains(r.Faults[0].Text, "did not receive frame 6 on connection 2.1.2") {
		t.Errorf("%s", r)
	}
}

// A connection that was lost may miss its last frames, and a client may record none.
func TestFramesThatNeedNotBeThere(t *testing.T) {
	s := newScene(t)
	for i := range s.lines[0] { // what a2 received after its last response
		if l := &s.lines[0][i]; l.Conn == a2 && l.Outcome == "" {
			l.Frames = nil
		}
	}
	if r := audited(t, s, 1, 2, 3); r.Failed() != 0 || r.Lost == 0 {
		t.Errorf("%s", r)
	}
	for i := range s.lines[1] {
		s.lines[1][i].Frames = nil
	}
	if r := audited(t, s, 1, 2, 3); r.Failed() != 0 {
		t.Errorf("%s", r)
	}
	s.lines[1] = nil // no history of this client at all
	if r := audited(t, s, 1, 2, 3); r.Failed() != 0 || r.Strangers != 5 {
		t.Errorf("%s", r)
	}
}

func TestNodesThatDifferAreFound(t *testing.T) {
	s, dir := newScene(t), t.TempDir()
	s.write(t, dir)
	if err := os.RemoveAll(filepath.Join(dir, "node3")); err != nil {
		t.Fatal(err)
	}
	s.events[4] = s.event(b1, 3, order(2, 2, orderbook.Buy, 33))
	s.events[4].Time = s.events[3].Time
	writeNode(t, filepath.Join(dir, "node3"), 3, s.records(3))
	r := auditedIn(t, dir, 1, 2, 3)
	if r.Failed() != 1 || r.Faults[0].Kind != Contradiction || r.Faults[0].Event != 5 ||
		!strings.Contains(r.Faults[0].Text, "both know it to be in the log for good") {
		t.Errorf("%s", r)
	}
	// A node that knows of an event as committed that the newest log lacks.
	s = newScene(t)
	dir = t.TempDir()
	s.write(t, dir)
	records := s.records(3)
	s.cut(7)
	s.stale = nil
	for node := 1; node <= 3; node++ {
		path := filepath.Join(dir, fmt.Sprint("node", node))
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		if node < 3 {
			s.terms[6] = 4 // its last entry is newer
			writeNode(t, path, uint8(node), s.records(2))
		} else {
			writeNode(t, path, 3, records)
		}
	}
	r = auditedIn(t, dir, 1, 2, 3)
	if !slices.ContainsFunc(r.Faults, func(f Fault) bool {
		return f.Kind == Loss && strings.Contains(f.Text, "knows that event 14 is committed, and the log of node 1")
	}) {
		t.Errorf("%s", r)
	}
}

func TestWhatCannotBeAuditedIsRefused(t *testing.T) {
	dir := t.TempDir()
	newScene(t).write(t, dir)
	at := func(names ...string) (all []string) {
		for _, name := range names {
			all = append(all, filepath.Join(dir, name))
		}
		return all
	}
	single := filepath.Join(dir, "single")
	if err := os.Mkdir(single, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := writeJournal(single, nil, nil); err != nil {
		t.Fatal(err)
	}
	double := filepath.Join(dir, "double.jsonl")
	text, err := os.ReadFile(filepath.Join(dir, "histories/trader-1.jsonl"))
	if err == nil {
		err = os.WriteFile(double, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string][2][]string{
		"the journals of 1 voters of a cluster of 3: name at least 2": {at("node1"), at("histories")},
		"are both of node 1":               {at("node1", "node1"), at("histories")},
		"or one directory of a single":     {at("node1", "single"), at("histories")},
		"has no history (*.jsonl)":         {at("node1", "node2"), at("node1")},
		"no such file":                     {at("node1", "node2"), at("nothing")},
		"1.1.1 is in the history of":       {at("node1", "node2"), at("histories", "double.jsonl")},
		"node9/journal: no such file":      {at("node1", "node9"), at("histories")},
		"the first line is not whole: EOF": {at("node1", "node2"), {os.DevNull}},
	} {
		if _, err := Run(c[0], c[1]); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestSingleNodeIsAudited(t *testing.T) {
	s, dir := newScene(t), t.TempDir()
	var records [][]byte
	for i := range s.events {
		records = append(records, sequencer.AppendEvent(nil, &s.events[i]))
	}
	if err := writeJournal(dir, records, nil); err != nil {
		t.Fatal(err)
	}
	histories := filepath.Join(dir, "histories")
	if err := s.writeHistories(histories); err != nil {
		t.Fatal(err)
	}
	r, err := Run([]string{dir}, []string{histories})
	if err != nil || r.Failed() != 0 || r.Found != 8 || r.Same != r.Frames || r.Needed != 1 {
		t.Errorf("%s, %v", r, err)
	}
	lost := filepath.Join(t.TempDir(), "lost")
	if err := os.Mkdir(lost, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := writeJournal(lost, records[:13], nil); err != nil {
		t.Fatal(err)
	}
	if r, err = Run([]string{lost}, []string{histories}); err != nil || r.Failed() == 0 || r.Found != 7 {
		t.Errorf("%s, %v", r, err)
	}
}
