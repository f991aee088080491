package inspect

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"sluice/actors/sequencer"
	"sluice/transport/listen"
)

// connBits is the width of the counter in a connection id; above it is the incarnation of the journal. In a
// cluster that has 14 bits, and then come 4 of the node's generation, and from nodeBits on its number.
const (
	connBits = 40
	nodeBits = 58
)

// Record is an event as it is listed; each is one JSON object. Fields that are zero, or that its kind
// does not have, are left out. Its groups of fields are: its place and its request, what an event of
// the sequencer's own says, and what a member of a cluster knows of it.
type Record struct {
	Seq        uint64 `json:"seq"`
	Term       uint64 `json:"term,omitempty"` // of the leader that numbered it; 0 on a single node
	Time       string `json:"time"`           // RFC 3339, UTC, nine digits of a second
	Kind       string `json:"kind"`
	Connection uint64 `json:"connection,omitempty"`
	Request    uint64 `json:"request_seq,omitempty"` // the client's number of the request
	Identity   uint32 `json:"identity,omitempty"`    // number
	Role       string `json:"role,omitempty"`
	Key        string `json:"key,omitempty"`  // fingerprint in hexadecimal, once the identity was introduced
	Tag        uint8  `json:"tag,omitempty"`  // of a request
	Name       string `json:"name,omitempty"` // of a request, from the application's table
	Text       string `json:"text,omitempty"` // of a request, in the application's words
	Body       string `json:"body,omitempty"` // of a request without words, in hexadecimal

	Digest  string `json:"digest,omitempty"`  // of a checkpoint, in hexadecimal
	Outputs uint64 `json:"outputs,omitempty"` // of a checkpoint
	Rules   uint32 `json:"rules,omitempty"`   // of a version
	Skipped uint64 `json:"skipped,omitempty"` // number of the event that was left out
	Policy  string `json:"policy,omitempty"`  // in force from the next event on

	Uncommitted bool `json:"uncommitted,omitempty"` // a member of a cluster does not know that it is committed

	kind  sequencer.Kind
	bytes int // of the event in the journal
}

func formatTime(ns int64) string {
	return time.Unix(0, ns).UTC().Format("2006-01-02T15:04:05.000000000Z07:00")
}

// name returns the name of a request, also of one that the application does not know.
func (j *Journal) name(tag uint8) string {
	if r, ok := j.table.Lookup(tag); ok {
		return r.Name
	}
	return fmt.Sprintf("unknown 0x%02x", tag)
}

func (j *Journal) describe(r *Record, ev *sequencer.Event, bytes int) {
	*r = Record{Seq: ev.Seq, Time: formatTime(ev.Time), Kind: ev.Kind.String(), Connection: ev.Conn,
		Request: ev.Request, Identity: ev.Identity.Number, kind: ev.Kind, bytes: bytes}
	if ev.Identity.Role != 0 {
		r.Role = listen.Role(ev.Identity.Role).String()
	}
	key := ev.Identity.Key
	switch ev.Kind {
	case sequencer.KindRequest:
		r.Tag, r.Name = ev.Tag, j.name(ev.Tag)
		if j.words != nil {
			r.Text = j.words.DescribeRequest(ev.Tag, ev.Body)
		} else {
			r.Body = fmt.Sprintf("%x", ev.Body)
		}
	case sequencer.KindCheckpoint:
		digest, outputs := ev.Checkpoint()
		r.Digest, r.Outputs = fmt.Sprintf("%016x", digest), outputs
	case sequencer.KindIdentity:
		who := ev.Introduced()
		r.Identity, key = who.Number, who.Key
	case sequencer.KindVersion:
		r.Rules = ev.Rules()
	case sequencer.KindSkip:
		r.Skipped = ev.Skipped()
	case sequencer.KindPolicy:
		r.Policy = ev.Policy().String()
	}
	if key != ([8]byte{}) {
		r.Key = fmt.Sprintf("%x", key)
	}
}

// String is the record in one line: number, term in a cluster, time, connection, who it is from, and what it
// says with its kind. A connection is incarnation.counter, in a cluster node.start.counter: start is the
// incarnation plus 16,384 times the generation of the node.
func (r *Record) String() string {
	counter := r.Connection & (1<<connBits - 1)
	from, text := "-", r.what()
	if r.Connection != 0 {
		from = fmt.Sprintf("%d.%d", r.Connection>>connBits, counter)
	}
	if r.Term == 0 {
		return fmt.Sprintf("%8d  %s  %-8s %-24s %s", r.Seq, r.Time, from, r.who(), text)
	}
	if r.Connection != 0 {
		from = fmt.Sprintf("%d.%d.%d", r.Connection>>nodeBits, r.Connection>>connBits&(1<<(nodeBits-connBits)-1), counter)
	}
	if r.Uncommitted {
		text += " (not known to be committed)"
	}
	return fmt.Sprintf("%8d  %4d  %s  %-10s %-24s %s", r.Seq, r.Term, r.Time, from, r.who(), text)
}

func (r *Record) who() string {
	if r.kind == sequencer.KindIdentity {
		return "-"
	}
	var words []string
	if r.Identity != 0 {
		words = append(words, fmt.Sprintf("#%d", r.Identity))
	}
	for _, word := range []string{r.Role, r.Key} {
		if word != "" {
			words = append(words, word)
		}
	}
	if words == nil {
		return "-"
	}
	return strings.Join(words, " ")
}

func (r *Record) what() string {
	switch r.kind {
	case sequencer.KindRequest:
		text := fmt.Sprintf("%s %d %s", r.Kind, r.Request, r.Name)
		if said := r.Text + r.Body; said != "" { // it has one of the two
			text += ": " + said
		}
		return text
	case sequencer.KindCheckpoint:
		return fmt.Sprintf("%s digest %s of %d outputs", r.Kind, r.Digest, r.Outputs)
	case sequencer.KindIdentity:
		return fmt.Sprintf("%s #%d is key %s", r.Kind, r.Identity, r.Key)
	case sequencer.KindVersion:
		return fmt.Sprintf("%s %d of the application's rules", r.Kind, r.Rules)
	case sequencer.KindSkip:
		return fmt.Sprintf("%s event %d was left out by an operator", r.Kind, r.Skipped)
	case sequencer.KindPolicy:
		return fmt.Sprintf("%s %s from here on", r.Kind, r.Policy)
	}
	return r.Kind
}

// Options select what List writes.
type Options struct {
	From, To uint64 // numbers of the first and the last event; 0 for the oldest and the newest
	JSON     bool   // one JSON object for each event, see Record
}

// List writes the events, one a line, in order. It ends at the first event that is wrong, with an error
// that names it.
func (j *Journal) List(w io.Writer, o Options) error {
	buffered := bufio.NewWriter(w)
	enc := json.NewEncoder(buffered)
	for r, err := range j.records() {
		if err == nil && o.To > 0 && r.Seq > o.To {
			break
		}
		switch {
		case err != nil:
			return errors.Join(buffered.Flush(), err)
		case r.Seq < o.From:
		case o.JSON:
			err = enc.Encode(r)
		default:
			_, err = fmt.Fprintln(buffered, r)
		}
		if err != nil {
			return err
		}
	}
	return buffered.Flush()
}
