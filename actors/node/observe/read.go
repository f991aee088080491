package observe

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sluice/actors"
	"sluice/actors/node"
	"sluice/actors/node/observe/stats"
	"sluice/durability"
	"sluice/telemetry"
	"sluice/transport"
	"sluice/transport/listen"
)

const (
	defaultTop = 20
	wedgedFor  = time.Second
)

// reading answers a GET: query holds only keys that the route names.
type reading func(ctx context.Context, query url.Values) (page, int, error)

// routes fills the API.
func (a *Admin) routes() {
	a.read("/{$}", nil, a.status)
	a.read("/livez", nil, a.livez)
	a.read("/readyz", nil, a.readyz)
	a.read("/connections", []string{"top", "by"}, a.connections)
	a.read("/connections/closed", []string{"last"}, a.closed)
	a.read("/policy", nil, a.policy)
	a.read("/stats", nil, a.stats)
	a.read("/trace", nil, a.tracing)
	a.change("/policy", a.swap)
	a.change("/kick", a.kick)
	a.change("/trace", a.trace)
	a.change("/drain", a.drain)
	a.api.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, r, http.StatusNotFound, "no %s %s here; there are GET / /livez /readyz /connections /connections/closed /policy /stats /trace, and POST /policy /kick /trace /drain", r.Method, r.URL.Path)
	})
}

// read adds a page. A key of the query that it does not know is a mistake, not something to skip.
func (a *Admin) read(path string, keys []string, f reading) {
	a.api.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
		query, err := url.ParseQuery(r.URL.RawQuery)
		if err == nil {
			err = only(query, append(keys, "format"))
		}
		if err != nil {
			refuse(w, r, http.StatusBadRequest, "%v", err)
			return
		}
		p, code, err := f(r.Context(), query)
		if err != nil {
			refuse(w, r, code, "%v", err)
			return
		}
		answer(w, r, code, p)
	})
}

func only(query url.Values, keys []string) error {
	for k, v := range query {
		found := false
		for _, known := range keys {
			found = found || k == known
		}
		switch {
		case !found:
			return fmt.Errorf("the query says %q; it may say %s", k, strings.Join(keys, ", "))
		case len(v) != 1:
			return fmt.Errorf("the query says %q %d times", k, len(v))
		}
	}
	if f := query.Get("format"); f != "" && f != "json" && f != "text" {
		return fmt.Errorf("format %q; use json or text", f)
	}
	return nil
}

// number reads a whole number of the query.
func number(query url.Values, key string, otherwise, most int) (int, error) {
	text := query.Get(key)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, fmt.Errorf("%s=%q; write a whole number from 1 to %d", key, text, most)
	}
	return n, nil
}

// wantsJSON reports in which form an answer is wanted.
func wantsJSON(r *http.Request) bool {
	if f := r.URL.Query().Get("format"); f != "" {
		return f == "json"
	}
	return strings.Contains(r.Header.Get("Accept"), "application/json")
}

// answer writes a page as it was asked for.
func answer(w http.ResponseWriter, r *http.Request, code int, p page) {
	var b bytes.Buffer
	kind := "text/plain; charset=utf-8"
	err := error(nil)
	if wantsJSON(r) {
		kind = "application/json"
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		err = e.Encode(p)
	} else {
		err = p.Text(&b)
	}
	if err != nil {
		code, kind = http.StatusInternalServerError, "text/plain; charset=utf-8"
		b.Reset()
		fmt.Fprintln(&b, err)
	}
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = w.Write(b.Bytes()) // nobody is left to hear of an error
}

// refusal is the answer to a request that was not carried out.
type refusal struct {
	Error string `json:"error"`
}

// Text implements page.
func (f *refusal) Text(w io.Writer) error {
	_, err := fmt.Fprintln(w, f.Error)
	return err
}

func refuse(w http.ResponseWriter, r *http.Request, code int, format string, args ...any) {
	answer(w, r, code, &refusal{fmt.Sprintf(format, args...)})
}

// state is the server's in one word.
func (a *Admin) state() string {
	select {
	case <-a.server.Ended():
		return "ended"
	default:
	}
	if a.server.Ready() {
		return "ready"
	}
	return "ending"
}

func (a *Admin) status(context.Context, url.Values) (page, int, error) {
	p := a.server
	g, s := a.gate(), &Status{State: a.state(), Clients: p.Connections(), Engine: p.Diagnosis().Engine, Engines: transport.Engines(), Seconds: time.Since(a.began).Seconds()}
	current := p.Policy().Current()
	s.Policy, s.Gate = named(current.String(), current.Name()), g.Text()
	p.Collector().Gauges(gaugeInto(map[telemetry.GaugeID]func(float64){
		telemetry.EgressBlockedConnections: func(v float64) { s.Blocked += int(v) },
		telemetry.SequencerLastEvent:       func(v float64) { s.Event = uint64(v) },
	}))
	return s, http.StatusOK, nil
}

func (a *Admin) readyz(context.Context, url.Values) (page, int, error) {
	p := a.server
	d, current := p.Diagnosis(), p.Policy().Current()
	r := &Readiness{
		Ready: a.server.Ready(), State: a.state(), Engine: d.Engine, Fallback: d.FellBack, Diagnosis: d.Text,
		Policy: named(current.String(), current.Name()), Gate: a.gate(),
	}
	degraded, total := p.Degraded()
	r.Degraded, r.Total = degraded, total.Seconds()
	if degraded && r.Gate.Why == "" {
		r.Gate.Why = a.explain(0)
	}
	if !r.Ready {
		return r, http.StatusServiceUnavailable, nil
	}
	return r, http.StatusOK, nil
}

// gate says what the gate waits for.
func (a *Admin) gate() Gate {
	wait, waiting := a.server.Waiting()
	if !waiting {
		return Gate{}
	}
	return Gate{Waiting: true, Wedged: wait.For > wedgedFor, Event: uint64(wait.Seq), Seconds: wait.For.Seconds(), Why: a.explain(wait.Seq)}
}

func (a *Admin) explain(want durability.Seq) string {
	var v durability.View
	if !a.server.View(&v) {
		return "the cursors move too fast to say"
	}
	return a.server.Policy().Current().Explain(&v, want)
}

func (a *Admin) policy(context.Context, url.Values) (page, int, error) {
	s := a.server.Policy()
	current := s.Current()
	p := &Policy{Policy: current.String(), Name: current.Name(), Gate: a.gate(), Verdict: "the cursors move too fast to say"}
	if pending, ok := s.Pending(); ok {
		p.Pending = pending.String()
	}
	var v durability.View
	if a.server.View(&v) {
		p.Verdict = current.Evaluate(&v).String()
		for _, n := range v.Nodes[:v.Len] {
			p.Nodes = append(p.Nodes, Node{n.ID, cursor(n.InMemory), cursor(n.Persisted)})
		}
	}
	return p, http.StatusOK, nil
}

func cursor(s durability.Seq) string {
	if s == durability.Everything {
		return "everything"
	}
	return strconv.FormatUint(uint64(s), 10)
}

func (a *Admin) connections(ctx context.Context, query url.Values) (page, int, error) {
	n, err := number(query, "top", defaultTop, actors.MaxTop)
	if err != nil {
		return nil, http.StatusBadRequest, err
	}
	by := actors.ByBuffered
	if text := query.Get("by"); text != "" {
		if by, err = actors.ParseOrder(text); err != nil {
			return nil, http.StatusBadRequest, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, swapTimeout)
	defer cancel()
	top, open, err := a.server.Top(ctx, by, n)
	if err != nil {
		return nil, http.StatusServiceUnavailable, err
	}
	c := &Connections{By: by.String(), Open: open, Top: []Connection{}}
	for _, f := range top {
		who, ok := a.server.Client(f.Conn)
		if !ok {
			who = node.Client{ID: f.Conn, UID: listen.NoUID} // it ended meanwhile
		}
		c.Top = append(c.Top, Connection{
			Peer: peer(who), Shard: f.Shard, State: condition(&f), Age: f.Age.Seconds(), Quiet: f.Quiet.Seconds(), Lag: f.Lag.Seconds(),
			Unsent: f.Unsent, Answers: f.Answers, Sent: f.Sent, Ended: f.Ended,
		})
	}
	return c, http.StatusOK, nil
}

// condition is a connection's state in one word, the most telling one.
func condition(f *actors.Figures) string {
	switch {
	case f.Closing:
		return "closing"
	case f.Slow:
		return "slow"
	case f.Lag > 0:
		return "blocked"
	case f.Half:
		return "half-closed"
	}
	return "open"
}

func peer(c node.Client) Peer {
	p := Peer{ID: c.ID, Role: "-", Key: c.Key.String(), Listener: c.Listener, From: "-"}
	if c.Role != 0 {
		p.Role = c.Role.String()
	}
	switch {
	case c.UID != listen.NoUID:
		p.From = fmt.Sprintf("user id %d", c.UID)
	case c.Remote.IsValid() && c.Listener != "":
		p.From = c.Remote.String()
	}
	return p
}

func (a *Admin) closed(_ context.Context, query url.Values) (page, int, error) {
	n, err := number(query, "last", 1024, 1024)
	if err != nil {
		return nil, http.StatusBadRequest, err
	}
	last, total := a.server.LastClosed(n)
	c := &Closed{Total: total, Last: []Ended{}}
	for _, x := range last {
		n := &x.Notice
		c.Last = append(c.Last, Ended{
			Peer: peer(x.Client), Reason: x.Reason.String(), Number: uint8(x.Reason), At: x.At, Shard: n.Shard, Age: n.Age.Seconds(),
			Lag: n.Blocked.Seconds(), Unsent: n.Unsent, Answers: n.Answers, Sent: n.Sent,
		})
	}
	return c, http.StatusOK, nil
}

func (a *Admin) tracing(context.Context, url.Values) (page, int, error) {
	r := a.server.Sampler().Load()
	t := &Tracing{Exported: r.Exported, Ratio: math.Ldexp(float64(r.SampleBelow), -64), Slow: time.Duration(r.SlowNanos).Seconds()}
	t.Connection, t.Left = r.Following()
	return t, http.StatusOK, nil
}

// measurements is the page at /stats.
type measurements struct {
	*stats.Report
	text func(w io.Writer) error
}

// Text implements page.
func (m *measurements) Text(w io.Writer) error { return m.text(w) }

func (a *Admin) stats(context.Context, url.Values) (page, int, error) {
	p := a.server
	return &measurements{stats.Take(p.Collector(), p.Diagnosis(), len(p.Rings())), a.server.WriteStats}, http.StatusOK, nil
}
