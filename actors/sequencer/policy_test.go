package sequencer

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"sluice/durability"
)

func (st *stage) policy(p durability.Policy) {
	st.t.Helper()
	if err := st.queue.Policy(p); err != nil {
		st.t.Fatal(err)
	}
}

// gateOf has a stage record what a gate is asked to adopt.
type gateOf struct {
	asked   []durability.Policy
	adopted []func()
}

func (g *gateOf) on(p durability.Policy, _ durability.Seq, adopted func()) {
	g.asked, g.adopted = append(g.asked, p), append(g.adopted, adopted)
}

func TestNothingFollowsPolicyBeforeItIsAdopted(t *testing.T) {
	var g gateOf
	st, _ := newLife(t, func(c *Config[report, report]) { c.OnPolicy = g.on })
	step := func(journaled, slots string, asked ...durability.Policy) {
		t.Helper()
		st.settle()
		if got := st.journaled(1); got != journaled {
			t.Errorf("journaled %s, want %s", got, journaled)
		}
		if got := describe(st.pass()); got != slots {
			t.Errorf("slots %s, want %s", got, slots)
		}
		if len(g.asked) != len(asked) || len(asked) > 0 && g.asked[len(asked)-1] != asked[len(asked)-1] {
			t.Errorf("the gate is asked for %v, want %v", g.asked, asked)
		}
	}
	st.put(1, tagEvent, 1)
	step("request 1", "1:R@2!")
	st.put(2, tagQuery, 2)
	st.put(2, tagTick, 9)
	if err := st.queue.Connected(4, trader(0)); err != nil {
		t.Fatal(err)
	}
	st.policy(durability.Hybrid()) // which overtakes
	st.policy(durability.Local())
	step("request 1, policy", "", durability.Hybrid())
	g.adopted[0]()
	step("request 1, policy, policy", "", durability.Hybrid(), durability.Local())
	g.adopted[0]() // that of an earlier policy opens nothing
	step("request 1, policy, policy", "", durability.Hybrid(), durability.Local())
	g.adopted[1]()
	step("request 1, policy, policy, request 2, connected 4", "2:Q@4! 2:B@5! 4:R@6 3:R@6",
		durability.Hybrid(), durability.Local())
	st.policy(durability.Replicated())
	step("request 1, policy, policy, request 2, connected 4, policy", "", durability.Hybrid(), durability.Local(),
		durability.Replicated())
	st.wall += 100 // a tick is due
	step("request 1, policy, policy, request 2, connected 4, policy", "", durability.Hybrid(), durability.Local(),
		durability.Replicated())
	g.adopted[2]()
	step("request 1, policy, policy, request 2, connected 4, policy, tick", "9:R@8", durability.Hybrid(),
		durability.Local(),
		durability.Replicated())
}

// A policy that cannot be met fills the ring of slots, in the middle of an event, and then the queue. Another
// policy comes into force all the same, behind the checkpoint whose turn it is; the digest of outputs is that
// of a replay.
func TestPolicyOvertakesWhatWaitsForTheGate(t *testing.T) {
	for _, c := range []struct {
		every           uint64 // events between checkpoints
		journaled, rest string
	}{
		{1000, "request 1, request 1, policy", "1:R@2! 1:R@4!"},
		{3, "request 1, request 1, checkpoint, policy", "1:R@2! 1:R@5!"},
	} {
		var g gateOf
		st := newStage(t, 4, func(to *Config[report, report]) { to.OnPolicy, to.CheckpointEvents = g.on, c.every })
		st.put(1, tagEvent, 1, 1, 1)
		st.put(1, tagEvent, 1, 1) // the last slot has no room
		st.put(1, tagEvent, 1)
		st.settle()
		st.policy(durability.Local())
		st.settle()
		if got := st.journaled(0); got != c.journaled || len(g.asked) != 1 {
			t.Fatalf("journaled %s, want %s; the gate is asked for %v", got, c.journaled, g.asked)
		}
		if got, want := describe(st.pass()), "1:R@1 1:R@1 1:R@1! 1:R@2"; got != want {
			t.Errorf("slots %s, want %s", got, want)
		}
		g.adopted[0]()
		st.settle()
		if got := describe(st.pass()); got != c.rest {
			t.Errorf("slots %s, want %s", got, c.rest)
		}
		_, state, _, err := replayOf(recovered{nil, 0, st.events})
		if err != nil {
			t.Fatal(err)
		}
		got, outputs := state.Digest()
		if digest, want := st.seq.state.Digest(); got != digest || outputs != want {
			t.Errorf("digests %x and %x in the replay, %x and %x in the run", got, outputs, digest, want)
		}
	}
}

func TestSequencerGoesOnWhenPolicyIsAdopted(t *testing.T) {
	st, _ := newLife(t, func(c *Config[report, report]) {
		c.OnPolicy = func(_ durability.Policy, _ durability.Seq, adopted func()) { time.AfterFunc(time.Microsecond, adopted) }
	})
	for range 50 {
		st.policy(durability.Hybrid())
		st.put(1, tagEvent, 1)
	}
	st.queue.Close()
	if err := st.run()(); err != nil {
		t.Fatal(err)
	}
	st.take()
	all := st.journaled(0)
	if p, r := strings.Count(all, "policy"), strings.Count(all, "request 1"); p != 50 || r != 50 {
		t.Errorf("journaled %s", all)
	}
}

func TestQueueRefusesPolicyWithoutClause(t *testing.T) {
	st, _ := newLife(t, nil)
	if err := st.queue.Policy(durability.Policy{}); err == nil || !strings.Contains(err.Error(), "without a clause") {
		t.Errorf("error %v", err)
	}
	st.queue.Refuse()
	if err := st.queue.Policy(durability.Local()); err != ErrClosed {
		t.Errorf("error %v after the queue was closed", err)
	}
}

// The last policy of the journal is in force, in a replay of all of it and of what follows a snapshot.
func TestReplayKnowsPolicyInForce(t *testing.T) {
	st, _ := newLife(t, nil)
	if p, ok := st.seq.state.Policy(); ok {
		t.Errorf("policy %q before any event", p)
	}
	st.policy(durability.DurablyReplicated())
	st.put(1, tagEvent, 1)
	st.policy(durability.Hybrid())
	st.settle()
	app, state, err := st.replay()
	if err != nil {
		t.Fatal(err)
	}
	if p, ok := state.Policy(); !ok || p != durability.Hybrid() {
		t.Errorf("policy %q after the replay", p)
	}
	st.equal(app, state)
	section := sectionOf(t, state)
	again, err := readState(bytes.NewReader(section))
	if err != nil {
		t.Fatal(err)
	}
	if p, ok := again.Policy(); !ok || p != durability.Hybrid() {
		t.Errorf("policy %q after a snapshot", p)
	}
	state.policy = durability.Policy{}
	if again, err = readState(bytes.NewReader(sectionOf(t, state))); err != nil {
		t.Fatal(err)
	}
	if p, ok := again.Policy(); ok {
		t.Errorf("policy %q after a snapshot without one", p)
	}
}
