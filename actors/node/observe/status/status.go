package status

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"sluice"
	"sluice/actors/node"
	"sluice/durability"
	"sluice/telemetry"
	"sluice/transport"
)

// WedgedFor is how long the first response waits for durability before the gate counts as wedged:
// in the log, at /readyz, on the live page and in the alert of deploy/prometheus.
const WedgedFor = time.Second

// FullFor is how long the queue of requests is full before a node is not ready.
const FullFor = time.Second

// Values of Status.State. A member of a cluster has those of node.Cluster.Unready besides.
const (
	StateReady  = "ready"            // clients are served
	StateEnding = node.UnreadyEnding // the node drains or stops
	// StateFull is a node whose queue of requests has been full for FullFor.
	StateFull = "no requests are taken"
	// StateLeaving is a node that serves clients and drains soon.
	StateLeaving = "a drain follows"
	StateEnded   = node.UnreadyEnded
)

// Status is the state of a node at one moment. As JSON it is the answer of /, /readyz and /policy,
// and the head of /live.json; WriteLine, WriteReadiness and WritePolicy are the texts of the first
// three.
type Status struct {
	State    string   `json:"state"`    // StateReady or another of its values
	Ready    bool     `json:"ready"`    // the state is StateReady
	Version  string   `json:"version"`  // of sluice, with the commit if it is known
	Host     string   `json:"host"`     // name of this machine; empty if it is not known
	Up       float64  `json:"up"`       // seconds since the node is observed
	Engine   string   `json:"engine"`   // in use
	Engines  []string `json:"engines"`  // compiled in
	Fallback bool     `json:"fallback"` // io_uring was preferred and is not available
	Note     string   `json:"note"`     // about the engine, for people

	Policy          string  `json:"policy"`            // clauses of the policy in force
	PolicyName      string  `json:"policy_name"`       // its name; empty for one without
	Pending         string  `json:"pending,omitempty"` // not adopted by the gate yet
	Verdict         string  `json:"verdict"`           // how far the policy in force is met
	Degraded        bool    `json:"degraded"`          // policy needs more nodes than are in view
	DegradedSeconds float64 `json:"degraded_seconds"`  // in all
	Gate            Gate    `json:"gate"`              // what the durability gate does
	Nodes           []Node  `json:"nodes"`             // in view

	Stalled []Silent `json:"stalled"` // actors and other loops that have not come round for StalledFor

	// endpoints without authentication, or without TLS that other machines can reach
	Open []string `json:"open,omitempty"`

	Clients   int    `json:"clients"`   // open connections
	Blocked   int    `json:"blocked"`   // connections whose sockets refuse bytes
	Paused    int    `json:"paused"`    // connections that are not read until the request queue has room
	Sequenced uint64 `json:"sequenced"` // last event
	Persisted uint64 `json:"persisted"` // last event on this node's disk

	Topics        uint64 `json:"topics"`        // that have subscribers
	Subscriptions uint64 `json:"subscriptions"` // of all clients

	Snapshots Snapshots `json:"snapshots"` // of the application

	Limits []Limit `json:"limits,omitempty"` // of the application's state

	Cluster *node.Cluster `json:"cluster,omitempty"` // of a member of one; nil on a single node
}

// Limit is a limit of the application's state.
type Limit struct {
	Name  string `json:"name"`
	Used  uint64 `json:"used"`
	Limit uint64 `json:"limit"`
}

// Snapshots is how the snapshots of the application go. While they fail, the journal grows, and the
// next start takes longer.
type Snapshots struct {
	Event   uint64  `json:"event"`   // last event of the newest one; a restart replays the events after it
	Age     float64 `json:"age"`     // seconds since the last one in this run; since the start before the first
	Failing uint64  `json:"failing"` // failures since one succeeded
}

// Gate is the state of the durability gate.
type Gate struct {
	Waiting bool    `json:"waiting"` // a response waits for durability
	Wedged  bool    `json:"wedged"`  // for longer than WedgedFor
	Event   uint64  `json:"event"`   // event of the first response that waits
	Seconds float64 `json:"seconds"` // how long it has waited
	Why     string  `json:"why"`     // what it waits for, or why the policy is degraded
}

// Node is the progress of events on one node.
type Node struct {
	ID         int    `json:"id"`
	InMemory   uint64 `json:"in_memory"`
	Persisted  uint64 `json:"persisted"`
	Everything bool   `json:"everything"` // InMemory is 0 and means all events, as on the primary
}

// unknown is the explanation when no consistent view of the cursors could be taken.
const unknown = "the cursors move too fast to say"

// unproven is why the response to a query waits on a node of a cluster.
const unproven = "waits for a majority to confirm that this node still leads"

// Read reads the state of a node that is observed since began. p, if not nil, is looked at by another
// goroutine. Any goroutine; it never waits.
func Read(n node.Running, began time.Time, p *Pulse) Status {
	d, current := n.Diagnosis(), n.Policy().Current()
	host, _ := os.Hostname()
	s := Status{
		Version: sluice.ReadBuild().String(), Host: host,
		Cluster: readCluster(n), Up: time.Since(began).Seconds(),
		Engine: d.Engine, Engines: transport.Engines(), Fallback: d.FellBack, Note: d.Text,
		Policy: current.String(), PolicyName: current.Name(), Verdict: unknown,
		Gate: ReadGate(n), Nodes: []Node{}, Clients: n.Connections(), Stalled: []Silent{},
	}
	if c := s.Cluster; c != nil && c.Policy != "" && c.Policy != s.Policy { // that of another node, which leads
		s.Policy, s.PolicyName = c.Policy, ""
	}
	if l := n.Listener(); l != nil {
		s.Open = l.Exposure()
	}
	s.State = state(n, s.Cluster)
	s.Ready = s.State == StateReady
	if p != nil {
		s.Stalled = p.Stalled()
	}
	if pending, ok := n.Policy().Pending(); ok {
		s.Pending = pending.String()
	}
	degraded, total := n.Degraded()
	s.Degraded, s.DegradedSeconds = degraded, total.Seconds()
	if degraded && s.Gate.Why == "" {
		s.Gate.Why = Explain(n, 0)
	}
	var v durability.View
	if n.View(&v) {
		s.Verdict = current.Evaluate(&v).String()
		for _, x := range v.Nodes[:v.Len] {
			s.Nodes = append(s.Nodes, nodeOf(x))
		}
	}
	n.Collector().Gauges(func(g telemetry.Gauge, v float64) {
		switch g.ID {
		case telemetry.EgressBlockedConnections:
			s.Blocked += int(v)
		case telemetry.ListenerPaused:
			s.Paused = int(v)
		case telemetry.SequencerLastEvent:
			s.Sequenced = uint64(v)
		case telemetry.ApplicationUsed:
			s.limit(g.Value).Used = uint64(v)
		case telemetry.ApplicationLimit:
			s.limit(g.Value).Limit = uint64(v)
		case telemetry.SequencerTopics:
			s.Topics = uint64(v)
		case telemetry.SequencerSubscriptions:
			s.Subscriptions = uint64(v)
		case telemetry.JournalLastEvent:
			s.Persisted = uint64(v)
		case telemetry.SnapshotLastEvent:
			s.Snapshots.Event = uint64(v)
		case telemetry.SnapshotAge:
			s.Snapshots.Age = v
		case telemetry.SnapshotFailing:
			s.Snapshots.Failing = uint64(v)
		}
	})
	s.follow()
	return s
}

// limit returns the limit with a name, a new one if there is none yet.
func (s *Status) limit(name string) *Limit {
	at := slices.IndexFunc(s.Limits, func(l Limit) bool { return l.Name == name })
	if at < 0 {
		at, s.Limits = len(s.Limits), append(s.Limits, Limit{Name: name})
	}
	return &s.Limits[at]
}

// follow sets the last events of a member from its log: its node sequences none unless it leads, and knows
// none before it serves.
func (s *Status) follow() {
	c := s.Cluster
	if c == nil {
		return
	}
	if c.Leader != c.Node {
		s.Sequenced, s.Persisted = 0, 0 // what its node did when it led
	}
	s.Sequenced = max(s.Sequenced, c.Applied)
	for _, m := range c.Members {
		if m.Node == c.Node && m.Match != nil {
			s.Persisted = max(s.Persisted, *m.Match)
		}
	}
}

// state is the node's state in one word. A member of a cluster outlives its node.
func state(n node.Running, c *node.Cluster) string {
	if c == nil {
		select {
		case <-n.Ended():
			return StateEnded
		default:
		}
	}
	switch {
	case c != nil && c.Unready != "":
		return c.Unready
	case c == nil && !n.Ready():
		return StateEnding
	case n.Leaving():
		return StateLeaving
	case n.Full() >= FullFor:
		return StateFull
	}
	return StateReady
}

// ReadGate reads the state of the durability gate of a node. Any goroutine.
func ReadGate(n node.Running) Gate {
	wait, waiting := n.Waiting()
	if !waiting {
		return Gate{}
	}
	g := Gate{
		Waiting: true, Wedged: wait.For > WedgedFor, Event: uint64(wait.Seq),
		Seconds: wait.For.Seconds(),
		Why:     Explain(n, wait.Seq),
	}
	if wait.Proof {
		g.Why = unproven + "; " + g.Why
	}
	return g
}

// Explain says what the policy in force still needs for an event.
func Explain(n node.Running, event durability.Seq) string {
	var v durability.View
	if !n.View(&v) {
		return unknown
	}
	return n.Policy().Current().Explain(&v, event)
}

func nodeOf(n durability.Node) Node {
	if n.InMemory == durability.Everything {
		return Node{ID: n.ID, Persisted: uint64(n.Persisted), Everything: true}
	}
	return Node{ID: n.ID, InMemory: uint64(n.InMemory), Persisted: uint64(n.Persisted)}
}

// policy is the policy in force with its name, if it has one.
func (s *Status) policy() string {
	if s.PolicyName == "" {
		return s.Policy
	}
	return s.PolicyName + ", " + s.Policy
}

// WriteLine writes the status as one line.
func (s *Status) WriteLine(w io.Writer) error {
	clients := "clients"
	if s.Clients == 1 {
		clients = "client"
	}
	_, err := fmt.Fprintf(w,
		"%s; %d %s, %d blocked, %d paused; policy %s; gate %s; event %d; "+
			"engine %s (compiled in: %s); up %s%s\n",
		s.State, s.Clients, clients, s.Blocked, s.Paused, s.policy(), s.Gate, s.Sequenced,
		s.Engine, strings.Join(s.Engines, ", "), Span(s.Up), s.stalled("; "))
	return err
}

// WriteReadiness writes whether new clients are welcome, and what could be better.
func (s *Status) WriteReadiness(w io.Writer) error {
	word := "ready"
	if !s.Ready {
		word = "not ready: " + s.State
	}
	if s.Degraded {
		word += ", DEGRADED"
	}
	member := ""
	if c := s.Cluster; c != nil {
		if c.Class == durability.Exposed.String() {
			word += ", EXPOSED"
		}
		member = "\n" + memberLine(c)
	}
	_, err := fmt.Fprintf(w, "%s%s\npolicy %s, degraded %s in all\ngate %s\n%s%s%s%s\n",
		word, member, s.policy(), Span(s.DegradedSeconds), s.Gate, s.Note, s.Snapshots, s.stalled("\n"),
		s.openEndpoints("\n"))
	return err
}

// String is a line before which a line break stands; nothing unless snapshots fail.
func (s Snapshots) String() string {
	if s.Failing == 0 {
		return ""
	}
	return fmt.Sprintf("\nsnapshots FAIL: %d since the last one succeeded or the start, %s ago; the journal grows",
		s.Failing, Span(s.Age))
}

// stalled is a text for each loop that is stalled, each behind a separator.
func (s *Status) stalled(separator string) (text string) {
	for _, one := range s.Stalled {
		text += separator + one.String()
	}
	return text
}

// openEndpoints is a text for each open endpoint, each behind a separator.
func (s *Status) openEndpoints(separator string) (text string) {
	for _, one := range s.Open {
		text += separator + "open " + one
	}
	return text
}

// WritePolicy writes the durability policy and the progress of each node.
func (s *Status) WritePolicy(w io.Writer) error {
	fmt.Fprintf(w, "policy %s\n", s.policy())
	if s.Pending != "" {
		fmt.Fprintf(w, "pending %s\n", s.Pending)
	}
	if c := s.Cluster; c != nil && c.Leader != c.Node {
		return writeFollower(w, c)
	}
	fmt.Fprintf(w, "%s\ngate %s\n", s.Verdict, s.Gate)
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "node\tin_memory\tpersisted\t")
	for _, n := range s.Nodes {
		memory := strconv.FormatUint(n.InMemory, 10)
		if n.Everything {
			memory = "everything"
		}
		fmt.Fprintf(t, "%d\t%s\t%d\t\n", n.ID, memory, n.Persisted)
	}
	return t.Flush()
}

// String is the state of the gate in a few words.
func (g Gate) String() string {
	if !g.Waiting {
		return "open"
	}
	word := "waiting"
	if g.Wedged {
		word = "WEDGED"
	}
	return fmt.Sprintf("%s for %s (%s)", word, Span(g.Seconds), g.Why)
}

// Span writes a time in seconds for people: to the millisecond below a second, else to the second.
func Span(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d == 0:
		return "0s"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	}
	s := d.Round(time.Second).String()
	if whole, ok := strings.CutSuffix(s, "m0s"); ok {
		return whole + "m"
	}
	return s
}
