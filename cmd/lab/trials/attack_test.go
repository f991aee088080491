package trials

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/actors/node"
	"sluice/cmd/internal/audit"
	"sluice/cmd/internal/fleet"
	"sluice/transport/client"
)

// attack is a trio under faults. Its nodes reach one another through links.
//
// One node keeps every event, so that the audit begins at the first one; the others make snapshots all the
// time. This keeper is not replaced, and never away for so long that it would get a snapshot itself.
type attack struct {
	*trio
	links    *between
	kernels  map[*fleet.Node]*kernel // nil: the nodes run without
	election time.Duration
	longest  time.Duration // for which a fault lasts
	rng      *rand.Rand
	keeper   *fleet.Node
	further  []*fleet.Node // that were members for a while
	telling  sync.Mutex    // guards the story while a fault lasts
	probe    *tradingClient
	machine  *machine
	sum      *toll
	began    time.Time
	audited  audit.Result
}

// keeperAway is the longest time for which the keeper is disturbed: with the pace of trading, fewer events
// than the others keep.
const keeperAway = 2 * time.Second

// toll is what attacks did, and what was seen.
type toll struct {
	hits                     map[string]int
	rounds                   int
	orders, queries, unknown int // answered, all found; answered, all agree; without a response
	unchecked                int // orders that no journal has any more
	acked, caught            []time.Duration
	starved                  int // acknowledgements that came late on a machine without time for them
	memory                   footprint
}

func newToll() *toll { return &toll{hits: make(map[string]int)} }

func (s *toll) String() string {
	var faults []string
	n := 0
	for _, name := range slices.Sorted(maps.Keys(s.hits)) {
		faults, n = append(faults, fmt.Sprintf("%d %s", s.hits[name], name)), n+s.hits[name]
	}
	return fmt.Sprintf("%d rounds, %d faults (%s): %d orders and %d queries answered, all found, 0 contradictions, "+
		"%d orders without a response, %d not checked; from the end of faults to a new acknowledgement "+
		"%v (%d late on a "+
		"starved machine), until all nodes had caught up %v; %v", s.rounds, n, strings.Join(faults, ", "),
		s.orders, s.queries,
		s.unknown, s.unchecked, spread(s.acked), s.starved, spread(s.caught), &s.memory)
}

// newAttack starts three nodes and clients.
func newAttack(t testing.TB, program string, seed uint64, election, longest time.Duration, sum *toll) *attack {
	t.Helper()
	a := &attack{links: newBetween(t), election: election, longest: longest, rng: rand.New(rand.NewPCG(seed, 0)),
		machine: watchMachine(t), sum: sum, began: time.Now()}
	serve := []string{"--election", election.String(), "--snapshot-bytes", fmt.Sprint(attackBytes, "B"),
		"--shard-budget", fmt.Sprint(attackBytes, "B"), "--heartbeat", "1s",
		"--io", []string{"auto", "poll"}[a.rng.IntN(2)], "--shards", fmt.Sprint(1 + a.rng.IntN(2))}
	a.trio = layTrio(t, fleet.Options{Program: program, Serve: serve, Peer: a.links.lead})
	a.keeper = a.fleet.Nodes[a.rng.IntN(3)]
	for _, n := range a.fleet.Nodes {
		every := "1000"
		if n == a.keeper {
			every = "1000000000"
		}
		n.Args = append(n.Args, "--snapshot-events", every)
	}
	a.tell("seed %d, data in %s, node %d keeps every event, %s", seed, a.dir, a.keeper.Number, strings.Join(serve, " "))
	return a
}

// tell adds to the story of the round.
func (a *attack) tell(format string, args ...any) {
	a.telling.Lock()
	defer a.telling.Unlock()
	a.story = append(a.story, fmt.Sprintf("%8.3f ", time.Since(a.began).Seconds())+fmt.Sprintf(format, args...))
}

// draw draws n hits of each kind, in any order.
func (a *attack) draw(n int, kinds []*fault) (all []*hit) {
	for _, f := range kinds {
		for range n {
			h := &hit{fault: f, lasts: a.lasts(), rng: rand.New(rand.NewPCG(a.rng.Uint64(), 0))}
			if a.rng.IntN(3) > 0 {
				h.victim = 1 + a.rng.IntN(3)
			}
			all = append(all, h)
		}
	}
	a.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// lasts draws a time from 0.1 s on; short ones are as frequent as long ones.
func (a *attack) lasts() time.Duration {
	const shortest = 100 * time.Millisecond
	return time.Duration(float64(shortest) * math.Pow(float64(max(shortest, a.longest))/float64(shortest),
		a.rng.Float64()))
}

// round puts the cluster under faults, mostly one at a time, sometimes two or three, and audits it.
func (a *attack) round(hits []*hit) {
	a.t.Helper()
	a.begin()
	a.tradeAt(6, 1<<a.rng.IntN(4), 30*time.Millisecond)
	a.probe = a.open()
	a.settle(nil)
	for len(hits) > 0 {
		n := 1
		for most := []int{1, 1, 1, 2, 2, 3}[a.rng.IntN(6)]; n < min(most, len(hits)); n++ {
			together := func(h *hit) bool { return h.alone || h.links && hits[n].links || h.last && hits[n].last }
			if hits[n].alone || slices.ContainsFunc(hits[:n], together) {
				break
			}
		}
		a.strike(hits[:n])
		hits = hits[n:]
	}
	a.conclude()
}

// strike lets faults happen at the same time, and the cluster settle.
func (a *attack) strike(hits []*hit) {
	a.t.Helper()
	slices.SortStableFunc(hits, func(x, y *hit) int { // first those that cannot have every node
		return before(x.loses, y.loses)
	})
	for _, h := range hits {
		h.together = len(hits) > 1
		a.choose(h, hits)
	}
	var problem error
	for _, h := range hits {
		a.tell("%s of node %d for %v", h.name, h.node.Number, h.lasts.Round(time.Millisecond))
		end, err := h.begin(a, h)
		if h.end = end; err != nil {
			problem = errors.Join(problem, fmt.Errorf("%s of node %d: %w", h.name, h.node.Number, err))
		}
		a.sum.hits[h.name]++
	}
	slices.SortFunc(hits, func(x, y *hit) int {
		return cmp.Or(before(y.last, x.last), cmp.Compare(x.lasts, y.lasts))
	})
	began := time.Now()
	for _, h := range hits {
		if h.end == nil {
			continue
		}
		a.wait(began.Add(h.lasts), hits)
		if err := h.end(); err != nil {
			problem = errors.Join(problem, fmt.Errorf("the end of %s of node %d: %w", h.name, h.node.Number, err))
		}
	}
	if problem != nil {
		a.fail("%v", problem)
	}
	a.settle(hits)
}

// before is -1 if x goes before y, which does not, 1 the other way round, and 0 otherwise.
func before(x, y bool) int {
	switch {
	case x == y:
		return 0
	case x:
		return -1
	}
	return 1
}

// wait waits until a moment, and looks at the memory of the nodes that are not hit meanwhile.
func (a *attack) wait(until time.Time, hits []*hit) {
	a.t.Helper()
	for a.ctx.Err() == nil && time.Now().Before(until) {
		for _, n := range a.fleet.Nodes[:3] {
			if slices.ContainsFunc(hits, func(h *hit) bool { return h.node == n || h.alone }) {
				continue
			}
			if err := a.sum.memory.sample(a.ctx, n); err != nil {
				a.fail("%v", err)
			}
		}
		select {
		case <-time.After(min(250*time.Millisecond, time.Until(until))):
		case <-a.ctx.Done():
		}
	}
}

// choose finds the node for a hit, which no other one has.
func (a *attack) choose(h *hit, hits []*hit) {
	free := func(n *fleet.Node) bool {
		taken := slices.ContainsFunc(hits, func(x *hit) bool { return x.node == n })
		return !taken && (n != a.keeper || !h.loses)
	}
	for i := range 3 {
		n := a.fleet.Nodes[(h.victim+i+2)%3]
		if free(n) && (h.victim > 0 || n.Leads(a.ctx)) {
			h.node = n
			break
		}
	}
	for _, n := range a.fleet.Nodes {
		if h.node == nil && free(n) {
			h.node = n
		}
	}
	if h.node == a.keeper || h.alone {
		h.lasts = min(h.lasts, keeperAway)
	}
}

// settle waits for what must come soon after the end of faults: a new acknowledgement, and all nodes with
// everything that had been committed.
func (a *attack) settle(hits []*hit) {
	a.t.Helper()
	began, before := time.Now(), a.machine.look(a.fleet)
	for {
		err := a.probe.order(a.ctx).wait(a.ctx)
		if err == nil {
			break
		}
		if !errors.Is(err, client.ErrUnknownOutcome) && !errors.Is(err, client.ErrNotSent) || a.ctx.Err() != nil {
			a.fail("no new order is acknowledged: %v: %v", err, context.Cause(a.ctx))
		}
	}
	took := time.Since(began)
	what, stalled := a.machine.since(before, a.fleet)
	if limit := 10 * a.election; took > limit {
		a.tell("a new acknowledgement came after %v; the machine: %s", took, what)
		if took > limit+2*stalled {
			a.fail("a new acknowledgement came %v after the end of the faults; it must come within 10 "+
				"election times, %v. %s",
				took, limit, what)
		}
		a.sum.starved++
	}
	if took > 5*a.election {
		a.t.Logf("slow: %s\n%s", what, strings.Join(a.story[max(0, len(a.story)-5):], "\n"))
		for _, n := range a.fleet.Nodes {
			a.t.Logf("node %d:\n%s", n.Number, fleet.Tail(n.Log, 25))
		}
	}
	a.answered(1)
	if err := a.catchUp(); err != nil {
		a.fail("%v", err)
	}
	caught := time.Since(began)
	a.tell("acknowledged after %v, caught up after %v", took.Round(time.Millisecond), caught.Round(time.Millisecond))
	if hits != nil {
		a.sum.acked, a.sum.caught = append(a.sum.acked, took), append(a.sum.caught, caught)
	}
	if err := a.sum.memory.sample(a.ctx, a.fleet.Nodes...); err != nil {
		a.fail("%v", err)
	}
}

// catchUp waits until every node has applied what the log has now.
func (a *attack) catchUp() error {
	ctx, cancel := context.WithTimeout(a.ctx, trioPatience)
	defer cancel()
	goal := uint64(0)
	for i := 0; i < len(a.fleet.Nodes); {
		now, err := look(ctx, a.fleet.Nodes[i])
		switch {
		case goal == 0 && err == nil && now.State == node.MemberLeads:
			goal, i = now.Committed, 0
			continue
		case goal == 0:
			i = (i + 1) % len(a.fleet.Nodes)
		case err == nil && now.Unready == "" && now.Applied >= goal:
			i++
			continue
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("node %d does not catch up with event %d: %+v %w", i+1, goal, now,
				errors.Join(err, context.Cause(ctx)))
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

// look asks a node for what it knows of the cluster.
func look(ctx context.Context, n *fleet.Node) (c node.Cluster, err error) {
	err = get(ctx, n.Live+"cluster?format=json",
		func(r *http.Response) error { return json.NewDecoder(r.Body).Decode(&c) })
	return c, err
}

func get(ctx context.Context, url string, read func(*http.Response) error) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, r.Status)
	}
	return read(r)
}

// conclude ends the clients and the nodes, and audits everything since the directories were made.
func (a *attack) conclude() {
	a.t.Helper()
	a.quit()
	if a.rng.IntN(2) == 0 {
		a.fleet.Kill()
	} else if err := a.fleet.Drain(trioPatience); err != nil {
		a.fail("%v", err)
	}
	result := a.audit()
	a.clients = nil
	s, was := a.sum, &a.audited
	s.orders += result.Found - was.Found
	s.queries += result.Agreed - was.Agreed
	s.unknown += result.Unknown - was.Unknown
	s.unchecked += result.Early - was.Early
	if result.Early > 0 || result.Replayed > 0 {
		a.t.Logf("the audit begins at event %d of %d: node %d was away for too long", result.First,
			result.Last, a.keeper.Number)
	}
	a.audited = *result
	s.rounds++
	a.story = a.story[:1]
}
