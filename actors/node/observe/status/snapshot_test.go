package status

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/actors"
	"sluice/actors/node"
)

// A client that takes its responses usually has some unsent, and is not slow.
func TestSlowClients(t *testing.T) {
	for _, tt := range []struct {
		name  string
		given actors.Figures
		want  string
	}{
		{"idle", actors.Figures{}, ""},
		{"responses on their way", actors.Figures{Unsent: 4096, Responses: 64}, ""},
		{"full socket", actors.Figures{Unsent: 100, Lag: time.Millisecond}, "blocked"},
		{"beyond a limit", actors.Figures{Unsent: 1 << 20, Lag: time.Second, Slow: true}, "slow"},
		{"closing with responses", actors.Figures{Unsent: 1, Slow: true, Closing: true}, "closing"},
		{"closing", actors.Figures{Closing: true}, ""},
	} {
		if got := notTaking(&tt.given); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// silent is a node whose shards do not answer.
type silent struct{ node.Running }

func (silent) Top(ctx context.Context, _ actors.SortBy, _ int) ([]actors.Figures, int, error) {
	<-ctx.Done()
	return nil, 0, ctx.Err()
}

func (silent) TopTopics(ctx context.Context, _ actors.TopicOrder, _ int) ([]actors.TopicFigures, int, error) {
	<-ctx.Done()
	return nil, 0, ctx.Err()
}

func TestSnapshotWaitsOnceForSilentShards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &Watcher{node: silent{}, slowest: []Client{{ID: 7}}, busiest: []Topic{{ID: 8}}}
		began := time.Now() // of the bubble
		topics, clients := w.lists(t.Context(), began, true)
		if took := time.Since(began); took != slowWithin || len(topics) != 1 || len(clients) != 1 {
			t.Errorf("%d topics and %d clients after %v, want the former lists after %v", len(topics), len(clients), took,
				slowWithin)
		}
	})
}

// The feed of the live page reads these names.
func TestSnapshotJSON(t *testing.T) {
	s := &Snapshot{
		Status: Status{
			State: "ready", Policy: "persisted>=1", PolicyName: "local",
			Gate: Gate{Waiting: true, Wedged: true, Event: 7, Seconds: 2.5, Why: "waits for journal"},
		},
		Points: []Point{{N: 2, Whole: &Latency{P99: 9_000_000}}},
		Slow:   []Client{{ID: 1<<40 + 7, State: "blocked"}},
	}
	var text strings.Builder
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"state":"ready"`, `"up":0`, `"engine":""`, `"note":""`, `"fallback":false`,
		`"policy":"persisted>=1"`, `"policy_name":"local"`,
		`"degraded":false`,
		`"gate":{"waiting":true,"wedged":true,"event":7,"seconds":2.5,"why":"waits for journal"}`,
		`"clients":0`, `"blocked":0`, `"sequenced":0`, `"persisted":0`, `"id":"1099511627783"`,
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %s in %s", want, &text)
		}
	}
	var back Snapshot
	if err := json.Unmarshal([]byte(text.String()), &back); err != nil ||
		back.Points[0].Whole.P99 != 9_000_000 || back.Slow[0].ID != 1<<40+7 || back.Gate.Event != 7 {
		t.Fatalf("%+v, %v", back, err)
	}
}
