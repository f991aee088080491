package cluster

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/actors/node"
	"sluice/actors/sequencer"
	"sluice/cmd/orderbook"
	"sluice/durability"
	"sluice/transport/listen"
)

// firstOfThree makes the directory of node 1 of three, which is not served yet.
func firstOfThree(t *testing.T) (dir string, all []Member,
	books func() sequencer.Application[orderbook.Report, orderbook.Answer]) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "member")
	for id := uint8(1); id <= 3; id++ {
		all = append(all, Member{id, freePort(t), freePort(t)})
	}
	if err := Init(dir, Membership{Cluster: ID{1}, Node: 1, Members: all}); err != nil {
		t.Fatal(err)
	}
	books, err := orderbook.Factory(orderbook.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return dir, all, books
}

func TestExposedPolicyIsRefusedUnlessForced(t *testing.T) {
	dir, all, books := firstOfThree(t)
	for _, tt := range []struct {
		policy string
		force  bool
		want   string // in the error; empty: none
	}{
		{"", false, ""}, {"persisted>=2", false, ""}, {"hybrid", false, ""}, {"in_memory>=2", false, ""},
		{"local", false, "exposed"}, {"persisted>=1", false, "exposed"}, {"local", true, ""},
	} {
		p, err := Prepare(Config[orderbook.Report, orderbook.Answer]{Node: node.Config[orderbook.Report, orderbook.Answer]{
			Application: books, Encoder: orderbook.Encoder{}, DataDir: dir, Policy: tt.policy, ForcePolicy: tt.force,
			Listen: listen.Config{Endpoints: []listen.Endpoint{{Network: "tcp", Address: all[0].Client, Open: true}}},
			Log:    slog.New(slog.DiscardHandler)}})
		if err == nil {
			p.Close()
		}
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q, forced %v: %v", tt.policy, tt.force, err)
		}
	}
}

func TestExposedPolicyIsLoggedEveryHour(t *testing.T) {
	var out bytes.Buffer
	e := &exposure{log: slog.New(slog.NewTextHandler(&out, nil)), nodes: func() int { return 3 }}
	exposed, err := durability.Parse("local", 3)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for _, tt := range []struct {
		after  time.Duration
		policy durability.Policy
		lines  int
		want   string
	}{
		{0, durability.Majority(3), 0, ""},
		{time.Second, exposed, 1, "level=WARN"},
		{2 * time.Second, exposed, 1, ""},
		{time.Hour, exposed, 1, ""},
		{time.Hour + 2*time.Second, exposed, 2, ""},
		{time.Hour + 3*time.Second, durability.Majority(3), 3, "not exposed any more"},
		{time.Hour + 4*time.Second, exposed, 4, "use=\"persisted>=2\""},
	} {
		e.look(began.Add(tt.after), tt.policy)
		if got := strings.Count(out.String(), "\n"); got != tt.lines || !strings.Contains(out.String(), tt.want) {
			t.Errorf("after %v: %d lines, want %d with %q:\n%s", tt.after, got, tt.lines, tt.want, out.String())
		}
	}
}
