package observe

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// page is an answer: its exported fields are its JSON, Text writes it for people.
type page interface{ Text(w io.Writer) error }

// Status is the page at /.
type Status struct {
	State   string   `json:"state"` // ready, ending or ended
	Clients int      `json:"clients"`
	Blocked int      `json:"blocked"` // clients whose sockets refuse bytes
	Policy  string   `json:"policy"`
	Engine  string   `json:"engine"`
	Engines []string `json:"engines"` // compiled in
	Gate    string   `json:"gate"`    // what it waits for, or open
	Event   uint64   `json:"event"`
	Seconds float64  `json:"up_seconds"`
}

// Text implements page.
func (s *Status) Text(w io.Writer) error {
	_, err := fmt.Fprintf(w, "%s; %d clients, %d blocked; policy %s; gate %s; event %d; engine %s (compiled in: %s); up %s\n",
		s.State, s.Clients, s.Blocked, s.Policy, s.Gate, s.Event, s.Engine, strings.Join(s.Engines, ", "), span(s.Seconds))
	return err
}

// Life is the page at /livez.
type Life struct {
	Live   bool     `json:"live"`
	Silent []Silent `json:"silent,omitempty"` // actors that did not answer
	Ended  bool     `json:"ended,omitempty"`
}

// Silent is an actor that runs and does not step.
type Silent struct {
	Actor   string  `json:"actor"`
	Shard   int     `json:"shard"` // -1 for none
	Seconds float64 `json:"silent_seconds"`
}

// Text implements page.
func (l *Life) Text(w io.Writer) error {
	word := "live"
	switch {
	case l.Ended:
		word = "ended"
	case !l.Live:
		word = "not live"
	}
	for _, s := range l.Silent {
		word += fmt.Sprintf("; %s %d has not stepped for %s", s.Actor, s.Shard, span(s.Seconds))
	}
	_, err := fmt.Fprintln(w, word)
	return err
}

// Readiness is the page at /readyz.
type Readiness struct {
	Ready     bool    `json:"ready"`
	State     string  `json:"state"`
	Engine    string  `json:"engine"`
	Fallback  bool    `json:"fallback"` // io_uring was hoped for and is not to be had
	Diagnosis string  `json:"diagnosis"`
	Policy    string  `json:"policy"`
	Degraded  bool    `json:"degraded"` // the policy asks for more nodes than are in view
	Total     float64 `json:"degraded_seconds"`
	Gate      Gate    `json:"gate"`
}

// Gate says what the durability gate does.
type Gate struct {
	Waiting bool    `json:"waiting"`
	Wedged  bool    `json:"wedged"` // waiting for more than a second
	Event   uint64  `json:"event,omitempty"`
	Seconds float64 `json:"waiting_seconds"`
	Why     string  `json:"why,omitempty"`
}

// Text implements page.
func (g *Gate) Text() string {
	if !g.Waiting {
		return "open"
	}
	word := "waiting"
	if g.Wedged {
		word = "WEDGED"
	}
	return fmt.Sprintf("%s for %s (%s)", word, span(g.Seconds), g.Why)
}

// Text implements page.
func (r *Readiness) Text(w io.Writer) error {
	word := "ready"
	if !r.Ready {
		word = "not ready: " + r.State
	}
	if r.Degraded {
		word += ", DEGRADED"
	}
	_, err := fmt.Fprintf(w, "%s\npolicy %s, degraded %s in all\ngate %s\n%s\n", word, r.Policy, span(r.Total), r.Gate.Text(), r.Diagnosis)
	return err
}

// Peer says who is at the other end of a connection.
type Peer struct {
	ID       uint64 `json:"id,string"`
	From     string `json:"from"` // address, or the user id of a process on this machine
	Role     string `json:"role"`
	Key      string `json:"key"` // fingerprint, - for none
	Listener string `json:"listener"`
}

// Connection is one line of /connections.
type Connection struct {
	Peer
	Shard   int     `json:"shard"`
	State   string  `json:"state"`
	Age     float64 `json:"age_seconds"`
	Quiet   float64 `json:"quiet_seconds"` // since the kernel took the last byte
	Lag     float64 `json:"lag_seconds"`   // for how long the socket has refused bytes
	Unsent  int     `json:"unsent_bytes"`
	Answers int     `json:"unsent_answers"`
	Sent    uint64  `json:"sent_bytes"`
	Ended   uint64  `json:"answered_requests"`
}

// Connections is the page at /connections.
type Connections struct {
	By   string       `json:"by"`
	Open int          `json:"open"`
	Top  []Connection `json:"top"`
}

// Text implements page.
func (c *Connections) Text(w io.Writer) error {
	fmt.Fprintf(w, "%d connections are open; the first %d by %s:\n", c.Open, len(c.Top), c.By)
	t := table(w)
	fmt.Fprintln(t, "connection\tunsent\tanswers\tlag\tage\tquiet\tsent\tanswered\tstate\tshard\trole\tkey\tfrom\tlistener\t")
	for _, x := range c.Top {
		fmt.Fprintf(t, "%d\t%d\t%d\t%s\t%s\t%s\t%d\t%d\t%s\t%d\t%s\t%s\t%s\t%s\t\n", x.ID, x.Unsent, x.Answers, span(x.Lag), span(x.Age), span(x.Quiet),
			x.Sent, x.Ended, x.State, x.Shard, x.Role, x.Key, x.From, x.Listener)
	}
	return t.Flush()
}

// Ended is one line of /connections/closed, with the figures of the moment it was closed.
type Ended struct {
	Peer
	Reason  string    `json:"reason"`
	Number  uint8     `json:"reason_number"`
	At      time.Time `json:"at"`
	Shard   int       `json:"shard"`
	Age     float64   `json:"age_seconds"`
	Lag     float64   `json:"lag_seconds"`
	Unsent  int       `json:"unsent_bytes"`
	Answers int       `json:"unsent_answers"`
	Sent    uint64    `json:"sent_bytes"`
}

// Closed is the page at /connections/closed.
type Closed struct {
	Total uint64  `json:"total"` // in this run
	Last  []Ended `json:"last"`  // the latest first
}

// Text implements page.
func (c *Closed) Text(w io.Writer) error {
	fmt.Fprintf(w, "%d connections have ended; the last %d:\n", c.Total, len(c.Last))
	t := table(w)
	fmt.Fprintln(t, "at\tconnection\treason\tnumber\tunsent\tanswers\tlag\tage\tsent\tshard\trole\tkey\tfrom\tlistener\t")
	for _, x := range c.Last {
		fmt.Fprintf(t, "%s\t%d\t%s\t%d\t%d\t%d\t%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\t\n", x.At.Format(time.RFC3339), x.ID, x.Reason, x.Number, x.Unsent, x.Answers,
			span(x.Lag), span(x.Age), x.Sent, x.Shard, x.Role, x.Key, x.From, x.Listener)
	}
	return t.Flush()
}

// Policy is the page at /policy.
type Policy struct {
	Policy  string `json:"policy"`
	Name    string `json:"name,omitempty"`
	Pending string `json:"pending,omitempty"` // handed over and not adopted by the gate yet
	Verdict string `json:"verdict"`
	Nodes   []Node `json:"nodes"` // in view
	Gate    Gate   `json:"gate"`
}

// Node is a node in view and how far events are on it.
type Node struct {
	ID        int    `json:"id"`
	InMemory  string `json:"in_memory"`
	Persisted string `json:"persisted"`
}

// Text implements page.
func (p *Policy) Text(w io.Writer) error {
	fmt.Fprintf(w, "policy %s\n", named(p.Policy, p.Name))
	if p.Pending != "" {
		fmt.Fprintf(w, "pending %s\n", p.Pending)
	}
	fmt.Fprintf(w, "%s\ngate %s\n", p.Verdict, p.Gate.Text())
	t := table(w)
	fmt.Fprintln(t, "node\tin_memory\tpersisted\t")
	for _, n := range p.Nodes {
		fmt.Fprintf(t, "%d\t%s\t%s\t\n", n.ID, n.InMemory, n.Persisted)
	}
	return t.Flush()
}

// Tracing is the page at /trace: which responses are traced, besides those whose request came with a sampled parent.
type Tracing struct {
	Exported   bool    `json:"exported"`     // else no response is
	Ratio      float64 `json:"ratio"`        // of all
	Slow       float64 `json:"slow_seconds"` // the slowest of a flush, when it took longer; 0 = never
	Connection uint64  `json:"connection,string"`
	Left       int64   `json:"left"` // responses to Connection that are still to be traced
}

// Text implements page.
func (t *Tracing) Text(w io.Writer) error {
	if !t.Exported {
		_, err := fmt.Fprintln(w, "traces are not exported")
		return err
	}
	text := fmt.Sprintf("%.4g%% of all responses are traced", 100*t.Ratio)
	if t.Slow > 0 {
		text += ", those slower than " + span(t.Slow)
	}
	if t.Left > 0 {
		text += fmt.Sprintf(", the next %d to connection %d", t.Left, t.Connection)
	}
	_, err := fmt.Fprintln(w, text)
	return err
}

// Done is the answer to a change.
type Done struct {
	Done string `json:"done"`
}

// Text implements page.
func (d *Done) Text(w io.Writer) error {
	_, err := fmt.Fprintln(w, d.Done)
	return err
}

func named(text, name string) string {
	if name == "" {
		return text
	}
	return name + ", " + text
}

func table(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 8, 2, ' ', 0) }

// span writes a time for people.
func span(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d == 0:
		return "0s"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	}
	s := d.Round(time.Second).String()
	return strings.TrimSuffix(s, "m0s") + map[bool]string{true: "m"}[strings.HasSuffix(s, "m0s")]
}
