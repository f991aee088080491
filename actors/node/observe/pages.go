package observe

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"sluice/actors/node/observe/status"
)

// page is an answer. Its exported fields are its JSON; Text writes it for people.
type page interface{ Text(w io.Writer) error }

// Status is the page at /: one line of text.
type Status struct{ status.Status }

// Text implements page.
func (s *Status) Text(w io.Writer) error { return s.WriteLine(w) }

// Readiness is the page at /readyz.
type Readiness struct{ status.Status }

// Text implements page.
func (r *Readiness) Text(w io.Writer) error { return r.WriteReadiness(w) }

// Policy is the page at /policy.
type Policy struct{ status.Status }

// Text implements page.
func (p *Policy) Text(w io.Writer) error { return p.WritePolicy(w) }

// Life is the page at /livez.
type Life struct {
	Live   bool            `json:"live"`
	Silent []status.Silent `json:"silent,omitempty"` // actors that did not answer, and loops at work
	Ended  bool            `json:"ended,omitempty"`
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
		word += "; " + s.String()
	}
	_, err := fmt.Fprintln(w, word)
	return err
}

// Peer is the client of a connection.
type Peer struct {
	ID       uint64 `json:"id,string"`
	From     string `json:"from"` // address, or the user id of a process on this machine
	Role     string `json:"role"`
	Key      string `json:"key"`            // fingerprint, - for none
	Name     string `json:"name,omitempty"` // of the key
	Listener string `json:"listener"`
}

// key is the fingerprint, and the name of the key if it has one.
func (p *Peer) key() string {
	if p.Name != "" {
		return p.Key + " (" + p.Name + ")"
	}
	return p.Key
}

// Connection is one line of /connections.
type Connection struct {
	Peer
	Shard     int     `json:"shard"`
	State     string  `json:"state"`
	Age       float64 `json:"age_seconds"`
	Quiet     float64 `json:"quiet_seconds"` // since the kernel took the last byte
	Lag       float64 `json:"lag_seconds"`   // how long the socket has refused bytes
	Unsent    int     `json:"unsent_bytes"`  // of its own buffer
	Topics    int     `json:"subscriptions"`
	Behind    int     `json:"behind_bytes"` // of topic frames on a tape that it was not sent
	Responses int     `json:"unsent_responses"`
	Sent      uint64  `json:"sent_bytes"`
	Ended     uint64  `json:"answered_requests"`
}

// Connections is the page at /connections.
type Connections struct {
	By   string       `json:"by"`
	Open int          `json:"open"`
	Top  []Connection `json:"top"`
}

// Text implements page.
func (c *Connections) Text(w io.Writer) error {
	if c.Open == 0 {
		_, err := fmt.Fprintln(w, "0 open connections")
		return err
	}
	fmt.Fprintf(w, "open connections: %d; the first %d by %s:\n", c.Open, len(c.Top), c.By)
	t := table(w)
	fmt.Fprintln(t,
		"connection\tunsent\tbehind\ttopics\tresponses\tlag\tage\tquiet\tsent\tanswered\tstate\tshard\trole\tkey\tfrom\tlistener\t")
	for _, x := range c.Top {
		fmt.Fprintf(t, "%d\t%d\t%d\t%d\t%d\t%s\t%s\t%s\t%d\t%d\t%s\t%d\t%s\t%s\t%s\t%s\t\n", x.ID, x.Unsent,
			x.Behind, x.Topics, x.Responses, status.Span(x.Lag), status.Span(x.Age), status.Span(x.Quiet),
			x.Sent, x.Ended, x.State, x.Shard, x.Role, x.key(), x.From, x.Listener)
	}
	return t.Flush()
}

// Topics is the page at /topics.
type Topics struct {
	By            string         `json:"by"`
	Known         int            `json:"known"`         // topics with subscribers, or that had some a short while ago
	Subscriptions uint64         `json:"subscriptions"` // of all clients
	Top           []status.Topic `json:"top"`
}

// Text implements page.
func (c *Topics) Text(w io.Writer) error {
	if c.Known == 0 {
		_, err := fmt.Fprintln(w, "0 topics with subscribers")
		return err
	}
	fmt.Fprintf(w, "topics: %d, subscriptions: %d; the first %d by %s:\n", c.Known, c.Subscriptions,
		len(c.Top), c.By)
	t := table(w)
	fmt.Fprintln(t, "topic\tname\tsubscribers\twaiting\tframes/s\tdeliveries/s\tbehind\tbehind_frames\t"+
		"gaps\tfeeds\tmemory\ttopic_seq\t")
	for _, x := range c.Top {
		name := x.Name
		if name == "" {
			name = "-"
		}
		fmt.Fprintf(t, "%d\t%s\t%d\t%d\t%.4g\t%.4g\t%d\t%d\t%d\t%d\t%d\t%d\t\n", x.ID, name, x.Subscribers,
			x.Waiting, x.Frames, x.Deliveries, x.Behind, x.BehindBy, x.Gaps, x.Feeds, x.Memory, x.Seq)
	}
	return t.Flush()
}

// Ended is one line of /connections/closed, with the figures of the moment it was closed.
type Ended struct {
	Peer
	Reason    string    `json:"reason"`
	Number    uint8     `json:"reason_number"`
	At        time.Time `json:"at"`
	Shard     int       `json:"shard"`
	Age       float64   `json:"age_seconds"`
	Lag       float64   `json:"lag_seconds"`
	Unsent    int       `json:"unsent_bytes"`
	Responses int       `json:"unsent_responses"`
	Sent      uint64    `json:"sent_bytes"`
	Error     string    `json:"error,omitempty"` // of a response that could not be encoded
}

// Closed is the page at /connections/closed.
type Closed struct {
	Total uint64  `json:"total"` // in this run
	Last  []Ended `json:"last"`  // the latest first
}

// Text implements page.
func (c *Closed) Text(w io.Writer) error {
	fmt.Fprintf(w, "ended connections: %d; the last %d:\n", c.Total, len(c.Last))
	t := table(w)
	fmt.Fprintln(t,
		"at\tconnection\treason\tnumber\tunsent\tresponses\tlag\tage\tsent\tshard\trole\tkey\tfrom\tlistener\t")
	for _, x := range c.Last {
		fmt.Fprintf(t, "%s\t%d\t%s\t%d\t%d\t%d\t%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\t\n",
			x.At.Format(time.RFC3339), x.ID, x.Reason, x.Number, x.Unsent, x.Responses,
			status.Span(x.Lag), status.Span(x.Age), x.Sent, x.Shard, x.Role, x.key(), x.From, x.Listener)
	}
	return t.Flush()
}

// Tracing is the page at /trace: which responses are traced, besides those whose request has a
// sampled parent.
type Tracing struct {
	Exported   bool    `json:"exported"`     // if not, no response is traced
	Ratio      float64 `json:"ratio"`        // of all
	Slow       float64 `json:"slow_seconds"` // the slowest of a flush if it took longer; 0 for never
	Connection uint64  `json:"connection,string"`
	Left       int64   `json:"left"` // responses to Connection that will still be traced
}

// Text implements page.
func (t *Tracing) Text(w io.Writer) error {
	if !t.Exported {
		_, err := fmt.Fprintln(w, "traces are not exported")
		return err
	}
	text := fmt.Sprintf("%.4g%% of all responses are traced", 100*t.Ratio)
	if t.Slow > 0 {
		text += ", those slower than " + status.Span(t.Slow)
	}
	if t.Left > 0 {
		text += fmt.Sprintf(", the next %d to connection %d", t.Left, t.Connection)
	}
	_, err := fmt.Fprintln(w, text)
	return err
}

// Done is the answer to a command.
type Done struct {
	Done string `json:"done"`
}

// Text implements page.
func (d *Done) Text(w io.Writer) error {
	_, err := fmt.Fprintln(w, d.Done)
	return err
}

// outcome is what the log says of it.
func (d *Done) outcome() string { return d.Done }

func table(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 8, 2, ' ', 0) }
