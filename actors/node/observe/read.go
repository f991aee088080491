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
	"sluice/actors/node/observe/status"
	"sluice/transport/listen"
)

const (
	defaultTop  = 20              // connections or topics in a list
	swapTimeout = 5 * time.Second // for the gate to adopt a policy, or the shards to list connections or topics
)

// pageFunc answers a GET. query has only keys of the route.
type pageFunc func(ctx context.Context, query url.Values) (page, int, error)

// routes fills the API.
func (a *admin) routes() {
	a.read("/{$}", nil, a.status)
	a.read("/livez", nil, a.livez)
	a.read("/healthz", nil, a.livez)
	a.read("/readyz", nil, a.readyz)
	a.read("/connections", []string{"top", "by"}, a.connections)
	a.read("/connections/closed", []string{"last"}, a.closed)
	a.read("/keys", nil, a.keys)
	a.read("/topics", []string{"top", "by"}, a.topics)
	a.read("/policy", nil, a.policy)
	a.read("/stats", nil, a.stats)
	a.read("/trace", nil, a.tracing)
	a.read("/cluster", nil, a.cluster)
	a.change("/policy", a.swap)
	a.change("/kick", a.kick)
	a.change("/trace", a.trace)
	a.change("/drain", a.drain)
	a.change("/reload", a.reload)
	a.change("/transfer", a.transfer)
	a.change("/members", a.members)
	a.api.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		reject(w, r, http.StatusNotFound, "there is no %s %s; there are GET / /livez /healthz /readyz "+
			"/connections /connections/closed /keys /topics /policy /stats /trace /cluster, over HTTP also /metrics "+
			"/live.json, and POST /policy /kick /trace /drain /reload /transfer /members", r.Method, r.URL.Path)
	})
}

// read adds a page. An unknown key of the query is an error.
func (a *admin) read(path string, keys []string, f pageFunc) {
	a.api.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
		query, err := url.ParseQuery(r.URL.RawQuery)
		if err == nil {
			err = only(query, append(keys, "format"))
		}
		if err != nil {
			reject(w, r, http.StatusBadRequest, "%v", err)
			return
		}
		p, code, err := f(r.Context(), query)
		if err != nil {
			reject(w, r, code, "%v", err)
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
			return fmt.Errorf("unknown parameter %q in the query; use %s", k, strings.Join(keys, ", "))
		case len(v) != 1:
			return fmt.Errorf("parameter %q is in the query %d times", k, len(v))
		}
	}
	if f := query.Get("format"); f != "" && f != "json" && f != "text" {
		return fmt.Errorf("format %q; use json or text", f)
	}
	return nil
}

// number reads a whole number from the query.
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

// wantsJSON reports whether a request asks for JSON.
func wantsJSON(r *http.Request) bool {
	if f := r.URL.Query().Get("format"); f != "" {
		return f == "json"
	}
	return negotiate(r, mediaText, mediaJSON) == mediaJSON
}

// answer writes a page in the form that the request asks for.
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
	_, _ = w.Write(b.Bytes()) // on an error the client is gone
}

// rejection is the answer to a request that was not carried out.
type rejection struct {
	Error string `json:"error"`
}

// Text implements page.
func (f *rejection) Text(w io.Writer) error {
	_, err := fmt.Fprintln(w, f.Error)
	return err
}

func reject(w http.ResponseWriter, r *http.Request, code int, format string, args ...any) {
	answer(w, r, code, &rejection{fmt.Sprintf(format, args...)})
}

// now reads the state of the node.
func (a *admin) now() status.Status {
	s := status.Read(a.node, a.began, a.pulse)
	s.Open = append(s.Open, Exposure(a.cfg.Admin)...)
	return s
}

func (a *admin) status(context.Context, url.Values) (page, int, error) {
	return &Status{a.now()}, http.StatusOK, nil
}

func (a *admin) readyz(context.Context, url.Values) (page, int, error) {
	r := &Readiness{a.now()}
	if !r.Ready {
		return r, http.StatusServiceUnavailable, nil
	}
	return r, http.StatusOK, nil
}

func (a *admin) policy(context.Context, url.Values) (page, int, error) {
	return &Policy{a.now()}, http.StatusOK, nil
}

func (a *admin) connections(ctx context.Context, query url.Values) (page, int, error) {
	n, err := number(query, "top", defaultTop, actors.MaxTop)
	if err != nil {
		return nil, http.StatusBadRequest, err
	}
	by := actors.ByBuffered
	if text := query.Get("by"); text != "" {
		if by, err = actors.ParseSortBy(text); err != nil {
			return nil, http.StatusBadRequest, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, swapTimeout)
	defer cancel()
	top, open, err := a.node.Top(ctx, by, n)
	if err != nil {
		return nil, http.StatusServiceUnavailable, err
	}
	c := &Connections{By: by.String(), Open: open, Top: []Connection{}}
	for _, f := range top {
		who, ok := a.node.Client(f.Conn)
		if !ok {
			who = node.Client{ID: f.Conn, UID: listen.NoUID} // it ended meanwhile
		}
		c.Top = append(c.Top, Connection{
			Peer: peer(who), Shard: f.Shard, State: status.Condition(&f), Age: f.Age.Seconds(),
			Quiet: f.Quiet.Seconds(), Lag: f.Lag.Seconds(),
			Unsent: f.Unsent, Topics: f.Topics, Behind: f.Behind, Responses: f.Responses, Sent: f.Sent, Ended: f.Ended,
		})
	}
	return c, http.StatusOK, nil
}

func peer(c node.Client) Peer {
	p := Peer{ID: c.ID, Role: "-", Key: c.Key.String(), Name: c.Name, Listener: c.Listener, From: "-"}
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

func (a *admin) closed(_ context.Context, query url.Values) (page, int, error) {
	n, err := number(query, "last", 1024, 1024)
	if err != nil {
		return nil, http.StatusBadRequest, err
	}
	last, total := a.node.LastClosed(n)
	c := &Closed{Total: total, Last: []Ended{}}
	for _, x := range last {
		n := &x.Notice
		c.Last = append(c.Last, Ended{
			Peer: peer(x.Client), Reason: x.Reason.String(), Number: uint8(x.Reason), At: x.At,
			Shard: n.Shard, Age: n.Age.Seconds(),
			Lag: n.Blocked.Seconds(), Unsent: n.Unsent, Responses: n.Responses, Sent: n.Sent,
			Error: n.Error,
		})
	}
	return c, http.StatusOK, nil
}

func (a *admin) topics(ctx context.Context, query url.Values) (page, int, error) {
	n, err := number(query, "top", defaultTop, actors.MaxTop)
	if err != nil {
		return nil, http.StatusBadRequest, err
	}
	by := actors.BySubscribers
	if text := query.Get("by"); text != "" {
		if by, err = actors.ParseTopicOrder(text); err != nil {
			return nil, http.StatusBadRequest, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, swapTimeout)
	defer cancel()
	t := &Topics{By: by.String(), Subscriptions: a.now().Subscriptions}
	if t.Top, t.Known, err = status.Topics(ctx, a.node, by, n); err != nil {
		return nil, http.StatusServiceUnavailable, err
	}
	return t, http.StatusOK, nil
}

func (a *admin) tracing(context.Context, url.Values) (page, int, error) {
	r := a.node.Sampler().Load()
	t := &Tracing{Exported: r.Exported, Ratio: math.Ldexp(float64(r.SampleBelow), -64),
		Slow: time.Duration(r.SlowNanos).Seconds()}
	t.Connection, t.Left = r.Following()
	return t, http.StatusOK, nil
}

// measurements is the page at /stats.
type measurements struct {
	*status.Measurements
	text func(w io.Writer) error
}

// Text implements page.
func (m *measurements) Text(w io.Writer) error { return m.text(w) }

func (a *admin) stats(context.Context, url.Values) (page, int, error) {
	return &measurements{status.Measure(a.node), a.node.WriteStats}, http.StatusOK, nil
}
