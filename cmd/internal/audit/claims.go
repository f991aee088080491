package audit

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"sluice/cmd/internal/history"
)

// claims are what the histories say.
type claims struct {
	clients  []string
	requests []request // answered as an event, by event
	nameless []request // answered without the number of an event
	queries  []query   // answered, by the event that they are as of
	sent     map[sending]*tally
	conns    map[uint64]*conn
	points   map[string][]point // by clock
}

// request is one that was answered as an event; event is 0 if the response did not say which.
type request struct {
	client       int
	conn, number uint64
	hash         history.Hash
	event        uint64
}

// query is one that was answered.
type query struct {
	client       int
	conn, number uint64
	bytes        []byte // tag and body
	asOf         uint64
	answer       []history.Hash
}

// sending is how a request of a history is found in the log. conn is 0 if the client did not know it.
type sending struct {
	conn, number uint64
	hash         history.Hash
}

// tally counts requests that cannot be told apart. Almost always it is one.
type tally struct {
	sent, refused, found int
	first                uint64 // event under which it was found first
	client               int
}

// conn is a connection of a client.
type conn struct {
	client int
	id     uint64
	frames []history.Hash
	next   int    // frames that the replay has explained
	upTo   uint64 // frames of events up to this one must have arrived
	begun  bool   // in the replay
	over   bool   // nothing more is compared: it ended, or a fault was found
}

// point is a response in time.
type point struct {
	sent, answered int64
	event          uint64 // in the log; or what a query is as of
	query          bool
	client         int
	conn, number   uint64
}

// load reads histories: files, or directories with files *.jsonl.
func load(paths []string, counts *Counts) (*claims, error) {
	c := &claims{sent: make(map[sending]*tally), conns: make(map[uint64]*conn), points: make(map[string][]point)}
	for _, path := range paths {
		files := []string{path}
		if info, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("audit: %w", err)
		} else if info.IsDir() {
			if files, err = filepath.Glob(filepath.Join(path, "*.jsonl")); err != nil || len(files) == 0 {
				return nil, errors.Join(err, fmt.Errorf("audit: %s has no history (*.jsonl): %w", path, fs.ErrNotExist))
			}
		}
		for _, file := range files {
			if err := c.read(file, counts); err != nil {
				return nil, fmt.Errorf("audit: %s: %w", file, err)
			}
		}
	}
	slices.SortStableFunc(c.requests, func(a, b request) int { return cmp.Compare(a.event, b.event) })
	slices.SortStableFunc(c.queries, func(a, b query) int { return cmp.Compare(a.asOf, b.asOf) })
	return c, nil
}

func (c *claims) read(path string, counts *Counts) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	head, lines, err := history.Read(f)
	if err != nil {
		return err
	}
	client, own := len(c.clients), map[uint64]*conn{}
	c.clients = append(c.clients, head.Client)
	frames := 0
	for line, err := range lines {
		if err != nil {
			return err
		}
		if line.Conn != 0 && own[line.Conn] == nil {
			if other := c.conns[line.Conn]; other != nil {
				return fmt.Errorf("connection %s is in the history of %s too", connection(line.Conn), c.clients[other.client])
			}
			own[line.Conn] = &conn{client: client, id: line.Conn}
			c.conns[line.Conn] = own[line.Conn]
		}
		if line.Conn != 0 {
			own[line.Conn].frames = append(own[line.Conn].frames, line.Frames...)
			own[line.Conn].upTo = max(own[line.Conn].upTo, line.Event, line.AsOf)
		}
		frames += len(line.Frames)
		c.line(client, head.Clock, &line, counts)
	}
	if counts.Frames += frames; frames == 0 { // this client records none
		for _, o := range own {
			o.over = true
		}
	}
	return nil
}

// line enters a line with a request.
func (c *claims) line(client int, clock string, l *history.Line, counts *Counts) {
	if l.Hash != 0 {
		is := sending{l.Conn, l.Request, l.Hash}
		t := c.sent[is]
		if t == nil {
			t = &tally{client: client}
			c.sent[is] = t
		}
		t.sent++
		if l.Outcome == history.Refused {
			t.refused++
		}
	}
	p := point{l.Sent, l.Answered, l.Event, false, client, l.Conn, l.Request}
	switch {
	case l.Outcome == history.Refused:
		counts.Refused++
	case l.Outcome == history.Unknown:
		counts.Unknown++
	case l.Event != 0:
		counts.Answered++
		c.requests = append(c.requests, request{client, l.Conn, l.Request, l.Hash, l.Event})
		c.points[clock] = append(c.points[clock], p)
	case l.Hash != 0 && l.Outcome == history.Answered:
		counts.Answered++
		c.nameless = append(c.nameless, request{client, l.Conn, l.Request, l.Hash, 0})
	case l.AsOf != 0:
		counts.Queries++
		c.queries = append(c.queries, query{client, l.Conn, l.Request, l.Query, l.AsOf, l.Answer})
		p.event, p.query = l.AsOf, true
		c.points[clock] = append(c.points[clock], p)
	}
}

// name says which request of which client it is.
func (c *claims) name(client int, conn, number uint64) string {
	at := ""
	if conn != 0 {
		at = " of connection " + connection(conn)
	}
	return fmt.Sprintf("request %d%s of %s", number, at, c.clients[client])
}

// order compares responses in time: what one took into account must be in every response to a request that
// was sent after it.
func (c *claims) order(r *Result) {
	for _, clock := range slices.Sorted(maps.Keys(c.points)) {
		points := c.points[clock]
		answers := slices.Clone(points)
		slices.SortFunc(answers, func(a, b point) int { return cmp.Compare(a.answered, b.answered) })
		slices.SortFunc(points, func(a, b point) int { return cmp.Compare(a.sent, b.sent) })
		var before point // the highest event of all responses so far
		for _, p := range points {
			for len(answers) > 0 && answers[0].answered < p.sent {
				if answers[0].event > before.event {
					before = answers[0]
				}
				answers = answers[1:]
			}
			if p.event < before.event || p.event == before.event && !p.query {
				is := "is event"
				if p.query {
					is = "is answered as of event"
				}
				r.fault(Contradiction, p.event, "%s %s %d, and was sent after %s had been answered with event %d",
					c.name(p.client, p.conn, p.number), is, p.event, c.name(before.client, before.conn, before.number), before.event)
			}
		}
	}
}
