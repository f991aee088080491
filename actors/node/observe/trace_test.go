package observe

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/telemetry"
	"sluice/telemetry/otel"
)

// traced is a rig whose traces are written as text.
func traced(t *testing.T) (*rig, *spans) {
	out := new(spans)
	r := newRig(t, func(_ *bookConfig, c *Config) {
		c.Export = otel.Config{Traces: otel.ExporterConsole, TraceSlow: -1, Console: out}
	})
	out.flush = func() {
		if err := r.o.export.Flush(soon(t)); err != nil {
			t.Fatal(err)
		}
	}
	return r, out
}

// spans is what the console exporter wrote.
type spans struct {
	mu    sync.Mutex // guards text
	text  bytes.Buffer
	flush func()
}

func (s *spans) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

// roots counts the traces of a connection that an operator requested, and all traces.
func (s *spans) roots(conn uint64) (asked, all int) {
	s.flush()
	s.mu.Lock()
	defer s.mu.Unlock()
	for line := range strings.SplitSeq(s.text.String(), "\n") {
		if !strings.HasPrefix(line, `{"Name":"sluice.response",`) {
			continue
		}
		all++
		if strings.Contains(line, `"Value":"debug"`) &&
			strings.Contains(line,
				fmt.Sprintf(`{"Key":"sluice.conn.id","Value":{"Type":"INT64","Value":%d}}`, conn)) {
			asked++
		}
	}
	return asked, all
}

// Exactly the next N responses to the connection become traces, while others are served.
func TestTracingConnection(t *testing.T) {
	r, out := traced(t)
	for name, operator := range r.operators() {
		a, b := r.dial("unix", r.unix, nil), r.dial("unix", r.unix, nil)
		a.served()
		b.served()
		ids := r.ids()
		id := ids[len(ids)-2] // a's
		_, before := out.roots(id)
		done, err := operator.Trace(soon(t), id, 3)
		if err != nil || done != fmt.Sprintf("the next 3 responses to connection %d are traced", id) {
			t.Fatalf("%s: %q, %v", name, done, err)
		}
		b.served()
		var page Tracing
		if err := operator.Get(soon(t), "/trace", &page); err != nil || !page.Exported ||
			page.Connection != id || page.Left != 3 {
			t.Fatalf("%s: %+v, %v", name, page, err)
		}
		for range 5 {
			a.served()
			b.served()
		}
		if asked, all := out.roots(id); asked != 3 || all != before+3 {
			t.Errorf("%s: %d traces of the connection, %d of others", name, asked, all-before-asked)
		}
		if code, text := r.request("tcp", "GET", "/trace", ""); code != 200 ||
			text != "0% of all responses are traced\n" {
			t.Errorf("%s: %d %q when all were traced", name, code, text)
		}
		if _, err := operator.Trace(soon(t), id, 1000); err != nil {
			t.Fatal(err)
		}
		if done, err := operator.Trace(soon(t), id, 0); err != nil ||
			!strings.Contains(done, "has ended") {
			t.Fatalf("%s: %q, %v", name, done, err)
		}
		a.served()
		if asked, _ := out.roots(id); asked != 3 {
			t.Errorf("%s: %d traces, one after it was ended", name, asked)
		}
		a.Close()
		b.Close()
	}
}

// A command that is malformed, or names no open connection, or has no exporter, changes nothing.
func TestTracingRejected(t *testing.T) {
	r, _ := traced(t)
	c := r.dial("unix", r.unix, nil)
	c.served()
	id := r.ids()[0]
	sampler := r.server.Sampler()
	sampler.Follow(id, 7)
	rules := sampler.Load()
	for body, want := range map[string]int{
		``: 400, `null`: 400, `{}`: 400, `[]`: 400, `{"connection":"x","responses":1}`: 400,
		`{"connection":1,"responses":1}`:   400,
		`{"connection":"0","responses":1}`: 400, `{"connection":"-1","responses":1}`: 400,
		`{"connection":"18446744073709551616","responses":1}`: 400,
		`{"connection":"ID"}`: 400, `{"connection":"ID","responses":-1}`: 400,
		`{"connection":"ID","responses":10001}`: 400,
		`{"connection":"ID","responses":1.5}`:   400, `{"connection":"ID","responses":"1"}`: 400,
		`{"connection":"ID","responses":1e99}`:            400,
		`{"connection":"ID","Responses":1}`:               400,
		`{"connection":"ID","responses":1,"responses":2}`: 400,
		`{"connection":"ID","responses":1,"n":1}`:         400,
		`{"connection":"ID","responses":1} x`:             400, `{"connection":"12345","responses":1}`: 404,
	} {
		body = strings.ReplaceAll(body, "ID", fmt.Sprint(id))
		if code, text := r.request("unix", "POST", "/trace", body); code != want || text == "" {
			t.Errorf("%s: %d %q, want %d", body, code, text, want)
		}
	}
	good := fmt.Sprintf(`{"connection":"%d","responses":1}`, id)
	if code, text := r.request("tcp", "POST", "/trace", good); code != 403 {
		t.Errorf("over TCP: %d %q", code, text)
	}
	if code, text := r.request("unix", "POST", "/trace?n=1", good); code != 400 {
		t.Errorf("with a query: %d %q", code, text)
	}
	if sampler.Load() != rules || rules.DebugLeft.Load() != 7 {
		t.Errorf("the rules have changed: %+v", sampler.Load())
	}
	sampler.Set(telemetry.NewRules(0, time.Second)) // as a server without an exporter
	var refused *Error
	if _, err := (&Client{Socket: r.socket}).Trace(soon(t), id, 1); !errors.As(err, &refused) ||
		refused.Status != http.StatusConflict || !strings.Contains(err.Error(),
		"OTEL_TRACES_EXPORTER") {
		t.Errorf("without an exporter: %v", err)
	}
	if conn, left := sampler.Load().Following(); conn != 0 || left != 0 {
		t.Errorf("connection %d is followed for %d responses", conn, left)
	}
	if _, text := r.request("tcp", "GET", "/trace", ""); text != "traces are not exported\n" {
		t.Errorf("%q", text)
	}
}
