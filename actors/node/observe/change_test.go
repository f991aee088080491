package observe

import (
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/transport/wire"
)

const swapCommand = `{"method":"POST","path":"/policy","body":{"policy":"in_memory>=1"}}`

func policyOf(r *rig) string { return r.server.Policy().Current().String() }

func TestCommandsOverBothEndpoints(t *testing.T) {
	for _, endpoint := range []string{"unix socket", "operator key"} {
		t.Run(endpoint, func(t *testing.T) {
			r := newRig(t)
			c := r.operators()[endpoint]
			done, err := c.Swap(soon(t), "in_memory>=1", false)
			if err != nil || done != "policy in_memory>=1 is in force; it was persisted>=1" ||
				policyOf(r) != "in_memory>=1" {
				t.Fatalf("%q, %v; policy %s", done, err, policyOf(r))
			}
			var refused *Error
			if _, err := c.Swap(soon(t), "replicated", false); !errors.As(err, &refused) ||
				refused.Status != 422 || policyOf(r) != "in_memory>=1" {
				t.Fatalf("%v; policy %s", err, policyOf(r))
			}
			if _, err := c.Swap(soon(t), "replicated", true); err != nil ||
				policyOf(r) != "in_memory>=2" {
				t.Fatalf("%v; policy %s", err, policyOf(r))
			}
			var page Policy
			if err := c.Get(soon(t), "/policy", &page); err != nil ||
				page.PolicyName != "replicated" || !strings.HasPrefix(page.Verdict, "degraded") {
				t.Fatalf("%+v, %v", page, err)
			}
			var ready Readiness
			if err := c.Get(soon(t), "/readyz", &ready); err != nil || !ready.Ready {
				t.Fatalf("%+v, %v", ready, err)
			}
			if done, err := c.Drain(soon(t), 5*time.Second); err != nil ||
				done != "draining, for at most 5s" {
				t.Fatalf("%q, %v", done, err)
			}
			<-r.server.Ended()
			if err := r.server.Err(); err != nil {
				t.Errorf("the drain: %v", err)
			}
			if code, text := r.request("tcp", "GET", "/readyz", ""); code != 503 ||
				!strings.HasPrefix(text, "not ready: ended") {
				t.Errorf("%d %q after the end", code, text)
			}
		})
	}
}

func TestKickClosesOneConnection(t *testing.T) {
	r := newRig(t)
	for name, operator := range r.operators() {
		var all []*trade
		var victim uint64 // all[2]
		for range 4 {
			before := r.ids()
			c := r.dial("unix", r.unix, nil)
			c.served()
			all = append(all, c)
			if len(all) == 3 {
				for _, id := range r.ids() {
					if !slices.Contains(before, id) {
						victim = id
					}
				}
			}
		}
		if done, err := operator.Kick(soon(t), victim); err != nil ||
			!strings.Contains(done, "is being closed") {
			t.Fatalf("%s: %q, %v", name, done, err)
		}
		all[2].expect("close: kicked")
		var closed Closed
		until(t, "the kick to be listed", func() bool {
			err := operator.Get(soon(t), "/connections/closed?last=1024", &closed)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range closed.Last {
				if e.Reason == "kicked" && e.Number == 8 && e.ID == victim {
					return true
				}
			}
			return false
		})
		for _, i := range []int{0, 1, 3} {
			all[i].served()
			all[i].Close()
		}
		var gone *Error
		if _, err := operator.Kick(soon(t), victim); !errors.As(err, &gone) ||
			gone.Status != http.StatusNotFound {
			t.Errorf("%s: second kick: %v", name, err)
		}
	}
}

// Commands are rejected over TCP, and over the client port without the key of an operator.
func TestReadOnlyEndpointRejectsCommands(t *testing.T) {
	log := &logged{}
	r := newRig(t, func(_ *bookConfig, c *Config) { c.Log = slog.New(slog.NewTextHandler(log, nil)) })
	for path, body := range map[string]string{"/policy": `{"policy":"in_memory>=1"}`,
		"/kick": `{"connection":"1"}`, "/trace": `{"connection":"1","responses":1}`, "/drain": `{}`} {
		if code, text := r.request("tcp", "POST", path, body); code != 403 ||
			!strings.Contains(text, "admin socket") {
			t.Errorf("POST %s over TCP: %d %q", path, code, text)
		}
		if text := log.String(); !strings.Contains(text,
			`command rejected; the endpoint is read-only" command=`+path+" from=") {
			t.Errorf("POST %s over TCP is not in the log:\n%s", path, text)
		}
	}
	if code, text := r.request("unix", "POST", "/drain?deadline=1s", "{}"); code != 400 ||
		!strings.Contains(log.String(), `command rejected; it has a query" command=/drain from=`) {
		t.Errorf("a query: %d %q, and in the log\n%s", code, text, log)
	}
	for name, c := range map[string]*trade{"trader": r.dial("tcp", r.tcp, r.trader),
		"open endpoint": r.dial("unix", r.unix, nil)} {
		for _, body := range []string{swapCommand, `{"method":"GET","path":"/connections"}`,
			`{"method":"POST","path":"/drain","body":{}}`} {
			c.send(wire.TagAdminCommand, body)
			if c.expect("error", "end"); t.Failed() {
				t.Fatalf("%s: %s", name, body)
			}
		}
		c.served()
	}
	_, err := (&Client{Addr: r.tcp, Key: r.trader}).Swap(soon(t), "in_memory>=1", false)
	if err == nil || !strings.Contains(err.Error(), "role operator") {
		t.Errorf("a trader's swap: %v", err)
	}
	_, err = (&Client{Addr: r.tcp, Key: r.unknown}).Swap(soon(t), "in_memory>=1", false)
	if err == nil {
		t.Error("the swap of an unknown key was carried out")
	}
	if policyOf(r) != "persisted>=1" || !r.server.Ready() {
		t.Errorf("policy %s, ready %t", policyOf(r), r.server.Ready())
	}
}

// While the gate does not step, a swap is pending and not answered.
func TestSwapIsAnsweredAfterAdoption(t *testing.T) {
	s, reached, release := stalled(t)
	r := newRig(t, s)
	c := r.dial("unix", r.unix, nil)
	c.served()
	c.Close()
	<-reached
	answered := make(chan error, 1)
	go func() {
		_, err := (&Client{Socket: r.socket}).Swap(soon(t), "in_memory>=1", false)
		answered <- err
	}()
	until(t, "the swap to be handed over", func() bool {
		_, pending := r.server.Policy().Pending()
		return pending
	})
	code, text := r.request("tcp", "GET", "/policy", "")
	if code != 200 || !strings.Contains(text, "policy local, persisted>=1\npending in_memory>=1\n") {
		t.Errorf("%d %q", code, text)
	}
	select {
	case err := <-answered:
		t.Fatalf("answered (%v) although the gate has not stepped", err)
	case <-time.After(50 * time.Millisecond):
	}
	release()
	if err := <-answered; err != nil || policyOf(r) != "in_memory>=1" {
		t.Errorf("%v; policy %s", err, policyOf(r))
	}
}

// The disk does not answer, so the gate is shut. Event 1 is the identity of the key, event 2 the
// order. The orders of the operator wait, commands do not. A swap then opens the gate, and a half-closed operator still receives everything.
func TestCommandsWhileGateIsShut(t *testing.T) {
	shut, held := make(chan struct{}), make(chan struct{}, 64)
	r := newRig(t, func(sc *bookConfig, _ *Config) {
		sc.Journal.BeforeSync = func() { held <- struct{}{}; <-shut }
	})
	defer close(shut)
	c := r.dial("tcp", r.tcp, r.operator)
	c.order()
	<-held
	until(t, "the gate to be wedged", func() bool {
		var ready Readiness
		if err := (&Client{Socket: r.socket}).Get(soon(t), "/readyz", &ready); err != nil {
			t.Fatal(err)
		}
		return ready.Ready && ready.Gate.Wedged && ready.Gate.Event == 2 &&
			ready.Gate.Why == "waits for journal: needs persisted>=1 at 2, is at 0"
	})
	if code, text := r.request("tcp", "GET", "/", ""); code != 200 ||
		!strings.Contains(text, "gate WEDGED for ") {
		t.Errorf("%d %q", code, text)
	}
	c.send(wire.TagAdminCommand, `{"method":"GET","path":"/policy?format=json"}`)
	if got := c.next(); !strings.HasPrefix(got, `answer 2 {"status":200,"answer":{"state":"ready"`) ||
		!strings.Contains(got, `"policy":"persisted>=1"`) {
		t.Fatalf("got %q", got)
	}
	c.send(wire.TagAdminCommand, `{"method":"GET","path":"/nothing"}`)
	if got := c.next(); !strings.HasPrefix(got,
		`answer 3 {"status":404,"error":"there is no GET /nothing`) {
		t.Fatalf("got %q", got)
	}
	c.send(wire.TagAdminCommand, swapCommand)
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for range 4 {
		got = append(got, c.next())
	}
	all := strings.Join(got, " ")
	done := `answer 4 {"status":200,"answer":{"done":` +
		`"policy in_memory>=1 is in force; it was persisted>=1"}}`
	if !strings.Contains(all, "accepted end") || !strings.Contains(all, done) || got[3] != "EOF" {
		t.Errorf("got %q", got)
	}
}

// Commands above the limit of concurrent ones are rejected in order, and the connection stays open.
func TestTooManyCommandsAtOnce(t *testing.T) {
	s, reached, release := stalled(t)
	r := newRig(t, s)
	other := r.dial("unix", r.unix, nil)
	other.served()
	c := r.dial("tcp", r.tcp, r.operator)
	c.served()
	other.Close()
	<-reached
	for range 6 { // the gate stands still, so each of these waits
		c.send(wire.TagAdminCommand, swapCommand)
	}
	until(t, "a swap to be handed over", func() bool {
		_, pending := r.server.Policy().Pending()
		return pending
	})
	release()
	answers, refused := 0, 0
	for answers+refused < 6 {
		switch got := c.next(); {
		case strings.Contains(got, `"status":200`):
			answers++
		case got == "error":
			c.expect("end")
			refused++
		default:
			t.Fatalf("got %q", got)
		}
	}
	if answers < 4 {
		t.Errorf("%d answers and %d refusals", answers, refused)
	}
	c.served()
}

// An answer that is too long is replaced by an error, and the connection stays open.
func TestAnswerTooLong(t *testing.T) {
	r := newRig(t, func(sc *bookConfig, _ *Config) {
		l := limits()
		l.HardBytes, l.SoftBytes = 1024, 1024
		sc.EndpointLimits = map[string]limit{"desk": l}
	})
	c := r.dial("tcp", r.tcp, r.operator)
	for range 5 {
		r.dial("unix", r.unix, nil).served()
	}
	c.send(wire.TagAdminCommand, `{"method":"GET","path":"/connections"}`)
	got := c.next()
	if !strings.HasPrefix(got, `answer 1 {"status":413,"error":"the answer has `) {
		t.Fatalf("got %q", got)
	}
	var failed answerFrame
	mustJSON(t, strings.TrimPrefix(got, "answer 1 "), &failed)
	c.send(wire.TagAdminCommand, `{"method":"GET","path":"/connections?top=1"}`)
	if got := c.next(); !strings.HasPrefix(got, `answer 2 {"status":200,`) {
		t.Fatalf("got %q", got)
	}
}
