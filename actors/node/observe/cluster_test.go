package observe

import (
	"context"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"sluice/actors/node"
)

// member is a node that says it is a member of a cluster.
type member struct {
	node.Running
	cluster node.Cluster
	to      int // of the last Transfer; -1 for none
	fail    error
	change  node.MemberChange // of the last Change
}

func (m *member) Cluster() node.Cluster { return m.cluster }

func (m *member) Transfer(to uint8) error {
	m.to = int(to)
	return m.fail
}

func (m *member) Change(_ context.Context, c node.MemberChange) (node.MemberChanged, error) {
	m.change = c
	return node.MemberChanged{Done: "done", Ticket: "t"}, m.fail
}

func (m *member) TraceVoters(bool) {}

func (m *member) Voters(uint64) []node.Voter { return nil }

// observeMember observes a member beside the rig, and returns a client with a trusted endpoint.
func observeMember(t *testing.T, r *rig, m *member) (api *Client, web string) {
	t.Helper()
	socket := t.TempDir() + "/member"
	o, err := Open(m, Config{Admin: "127.0.0.1:0", Socket: socket, Log: r.admin.log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Close(context.Background()) })
	return &Client{Socket: socket}, o.Address()
}

func TestClusterPage(t *testing.T) {
	r := newRig(t)
	m := &member{Running: r.server, to: -1, cluster: node.Cluster{ID: "00", Node: 2, State: node.MemberLeads, Term: 41,
		Leader: 2, Since: 90, Quorum: 2, Policy: "persisted>=2", Class: "committed", Committed: 88, Applied: 87,
		Members: []node.ClusterMember{
			{Node: 1, Role: "voter", State: node.MemberFollows, Match: new(uint64(70)), Lag: new(uint64(18)),
				InMemory: new(uint64(88)), Heard: new(0.02), Link: "up", Version: "v1", Client: "a:1"},
			{Node: 2, Role: "voter", State: node.MemberLeads, Match: new(uint64(88)), Disk: new(0.003), Client: "b:1"},
		}}}
	api, web := observeMember(t, r, m)
	var page Cluster
	if err := api.Get(context.Background(), "/cluster", &page); err != nil || page.Term != 41 ||
		*page.Members[0].Lag != 18 || page.Members[1].Lag != nil {
		t.Errorf("%+v: %v", page, err)
	}
	var b strings.Builder
	if err := page.Text(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"term 41  leader 2 (since 1m30s)  quorum 2 of 2  policy persisted>=2 (committed)",
		"1     voter  follower  70     18   88         20ms   -     up    v1       a:1",
		"2*    voter  leader    88     -    -          -      3ms   -     -        b:1"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
	var refused *Error
	if _, err := (&Client{HTTP: web}).Transfer(context.Background(), 1); !errors.As(err, &refused) ||
		refused.Status != http.StatusForbidden || m.to != -1 {
		t.Errorf("a transfer over TCP: %v, to %d", err, m.to)
	}
	if done, err := api.Transfer(context.Background(), 0); err != nil || m.to != 0 ||
		!strings.Contains(done, "fittest") {
		t.Errorf("%q, %v, to %d", done, err, m.to)
	}
	if done, err := api.Transfer(context.Background(), 1); err != nil || m.to != 1 || !strings.Contains(done, "node 1") {
		t.Errorf("%q, %v, to %d", done, err, m.to)
	}
	m.fail = errors.New("node 1 does")
	if _, err := api.Transfer(context.Background(), 3); !errors.As(err, &refused) ||
		refused.Status != http.StatusConflict || !strings.Contains(err.Error(), "node 1 does") {
		t.Errorf("a transfer that fails: %v", err)
	}
	m.to = -1
	for _, body := range []string{`{"node": 256}`, `{"node": -1}`, `{"node": "2"}`, `{"to": 2}`} {
		if _, err := api.post(context.Background(), "/transfer", raw(body)); !errors.As(err, &refused) ||
			refused.Status != http.StatusBadRequest || m.to != -1 {
			t.Errorf("%s: %v, to %d", body, err, m.to)
		}
	}
}

func TestMembersAreChanged(t *testing.T) {
	r := newRig(t)
	m := &member{Running: r.server}
	api, web := observeMember(t, r, m)
	change := node.MemberChange{Verb: node.MemberPromote, Node: 4, With: []uint8{5}, InsteadOf: 2, Force: true}
	done, err := api.Change(context.Background(), change)
	if err != nil || done.Ticket != "t" || done.Done != "done" || !reflect.DeepEqual(m.change, change) {
		t.Errorf("%+v, %v: %+v", done, err, m.change)
	}
	var refused *Error
	if _, err := (&Client{HTTP: web}).Change(context.Background(), change); !errors.As(err, &refused) ||
		refused.Status != http.StatusForbidden {
		t.Errorf("a change over TCP: %v", err)
	}
	m.fail = errors.New("two voters would be left")
	if _, err := api.Change(context.Background(), change); !errors.As(err, &refused) ||
		refused.Status != http.StatusConflict {
		t.Errorf("a change that is refused: %v", err)
	}
}

// raw is JSON as it is.
type raw string

func (r raw) MarshalJSON() ([]byte, error) { return []byte(r), nil }

func TestSingleNodeIsNoMember(t *testing.T) {
	r := newRig(t)
	for name, c := range r.operators() {
		var refused *Error
		if err := c.Get(context.Background(), "/cluster", new(Cluster)); !errors.As(err, &refused) ||
			refused.Status != http.StatusNotFound || !strings.Contains(err.Error(), "--cluster") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := c.Transfer(context.Background(), 0); !errors.As(err, &refused) || refused.Status != http.StatusNotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A member is ready by what it says of itself, whatever its node of the moment does.
func TestMemberReadiness(t *testing.T) {
	r := newRig(t)
	m := &member{Running: r.server, cluster: node.Cluster{Node: 2, State: node.MemberFollows, Term: 7, Leader: 3, Since: 2,
		Class: "exposed", Lag: 12}}
	api, web := observeMember(t, r, m)
	readyz := func() (code int, text string) {
		t.Helper()
		answer, err := http.Get("http://" + web + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		b, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(b)
	}
	code, text := readyz()
	if code != http.StatusOK || !strings.HasPrefix(text, "ready, EXPOSED\n") || !strings.Contains(text,
		"node 2 follower, term 7, leader 3 (since 2s), 12 events behind, class exposed\n") {
		t.Errorf("%d %s", code, text)
	}
	m.cluster.Unready, m.cluster.State, m.cluster.Leader = node.MemberElects, node.MemberElects, 0
	code, text = readyz()
	if code != http.StatusServiceUnavailable || !strings.HasPrefix(text, "not ready: no leader, EXPOSED\nnode 2 no leader, term 7, ") {
		t.Errorf("%d %s", code, text)
	}
	var page Readiness
	if err := api.Get(context.Background(), "/readyz", &page); err == nil || page.Ready || page.Cluster.Term != 7 {
		t.Errorf("%+v: %v", page, err)
	}
	m.cluster.Unready = node.UnreadyEnded
	if _, err := api.Drain(context.Background(), 0); err == nil || !strings.Contains(err.Error(), "ended already") {
		t.Errorf("a drain after the end: %v", err)
	}
}
