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
	st.put(1, tagEvent, 1)
	st.policy(durability.Hybrid())
	st.put(2, tagQuery, 2)
	st.put(2, tagTick, 9)
	st.policy(durability.Local())
	st.policy(durability.Replicated())
	st.put(3, tagEvent, 3)
	if err := st.queue.Connected(4, trader(0)); err != nil {
		t.Fatal(err)
	}
	step := func(journaled, slots string, asked ...durability.Policy) {
		t.Helper()
		st.settle()
		if got := st.journaled(1); got != journaled {
			t.Errorf("journaled %s, want %s", got, journaled)
		}
		if got := describe(st.pass()); got != slots {
			t.Errorf("slots %s, want %s", got, slots)
		}
		if len(g.asked) != len(asked) || g.asked[len(asked)-1] != asked[len(asked)-1] {
			t.Errorf("the gate is asked for %v, want %v", g.asked, asked)
		}
	}
	step("request 1, policy", "1:R@2!", durability.Hybrid())
	st.wall += 100
	step("request 1, policy", "", durability.Hybrid())
	g.adopted[0]()
	step("request 1, policy, request 2, policy", "2:Q@3! 2:B@4!", durability.Hybrid(), durability.Local())
	g.adopted[0]() // that of an earlier policy opens nothing
	st.wall += 100 // a tick is due
	step("request 1, policy, request 2, policy", "", durability.Hybrid(), durability.Local())
	g.adopted[1]()
	step("request 1, policy, request 2, policy, tick, policy", "9:R@6", durability.Hybrid(), durability.Local(),
		durability.Replicated())
	g.adopted[2]()
	step("request 1, policy, request 2, policy, tick, policy, request 3, connected 4", "3:R@8! 4:R@9 3:R@9",
		durability.Hybrid(), durability.Local(), durability.Replicated())
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
	if got, want := st.journaled(1), strings.Repeat(", policy, request 1", 50)[2:]; got != want {
		t.Errorf("journaled %s", got)
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
