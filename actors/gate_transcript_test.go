package actors

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/actors/internal/run"
	"sluice/actors/internal/shard"
	"sluice/actors/internal/transcript"
	"sluice/durability"
	"sluice/mailbox"
	"sluice/telemetry"
)

// The transcripts in testdata/gate_*.txt show the gate alone, with the encoder behind it where
// order matters. The clock moves only by "pass".
//
//	open policy=P       a new pipeline under a policy, given by its name; with proofs: some slots wait for them
//	publish             one slot a line: client=C [seq=S] [bypass]; S is one more than the last by default
//	barrier ticket=T    slots that are published from here on wait until ticket T is proven
//	prove ticket=T      ticket T is proven, and every earlier one
//	journal to=S        the journal has persisted every event up to S
//	replica id=I        a replica: joins, leaves, or memory=S disk=S, the events that it holds and has persisted
//	pass time=D         time passes
//	swap policy=P       another policy; the gate adopts it at its next step
//	gate                the gate steps until it finds nothing to do; what passed, and what waits for what
//	encode              the encoder steps until it finds nothing to do; responses in the order in which they leave
//	drain, stop, fence  the pipeline ends; in a drain the producer has closed the slot ring
//	close               the runner closes the gate if it is done
//	counts              the gate's counters that are not 0
func TestGateTranscripts(t *testing.T) {
	transcript.Run(t, "testdata/gate_*.txt", func(t *testing.T) func(c *transcript.Command) string {
		g := &gateScript{t: t}
		return g.carryOut
	})
}

// gateScript is a gate that a transcript drives.
type gateScript struct {
	t *testing.T
	*table
	barriers *mailbox.Writer[Barrier]
	slots    []slotNote // every slot, by ring position
	position uint64     // of the gate when it was last shown
	degraded bool       // as it was last shown
}

// slotNote is what a transcript shows of a slot.
type slotNote struct {
	conn      uint64
	seq       durability.Seq
	overtaken bool // shown as such
}

func (s slotNote) String() string { return fmt.Sprintf("seq %d for client %d", s.seq, s.conn) }

func (g *gateScript) carryOut(c *transcript.Command) string {
	switch name := c.Name(); name {
	case "open":
		policy := g.namedPolicy(c)
		*g = gateScript{t: g.t, table: newTable(g.t, func(cfg *Config) {
			if cfg.Policy = policy; c.Has("proofs") {
				g.barriers, cfg.Barriers = NewBarriers()
			}
		}), barriers: g.barriers}
	case "publish":
		for _, line := range c.Input {
			g.publish(line)
		}
	case "barrier":
		putBarrier(g.barriers, g.Slots().Position(), uint64(c.Number("ticket", 0)))
	case "prove":
		g.cursors.Prove(uint64(c.Number("ticket", 0)))
	case "journal":
		g.cursors.SetPersisted(durability.Seq(c.Number("to", 0)))
	case "replica":
		g.replica(c)
	case "pass":
		g.now += int64(c.Duration("time"))
	case "swap":
		if err := g.Pipeline.policy.Swap(&handOver{}, g.namedPolicy(c)); err == nil {
			g.t.Error("a swap was adopted before the gate's next step")
		}
	case "gate":
		return g.stepGate()
	case "encode":
		return g.stepEncoder()
	case "drain":
		g.Slots().Close()
		g.phase.Advance(run.PhaseDraining, 0)
	case "stop":
		g.phase.Advance(run.PhaseStopping, g.now+1)
	case "fence":
		g.phase.Advance(run.PhaseFenced, g.now+1)
	case "close":
		return g.close()
	case "counts":
		return g.counts()
	default:
		g.t.Fatalf("unknown command %q", name)
	}
	return ""
}

func (g *gateScript) namedPolicy(c *transcript.Command) durability.Policy {
	p, err := durability.Parse(c.Text("policy"), 3)
	if err != nil {
		g.t.Fatal(err)
	}
	return p
}

func (g *gateScript) publish(line *transcript.Line) {
	g.say(uint64(line.Number("client", 0)), func(s *Slot[tick, struct{}]) {
		if seq := line.Number("seq", 0); seq != 0 {
			s.Seq, g.seq = durability.Seq(seq), uint64(seq)
		}
		s.Bypass = line.Has("bypass")
		g.slots = append(g.slots, slotNote{conn: s.Conn, seq: s.Seq})
	})
}

func (g *gateScript) replica(c *transcript.Command) {
	id, moved := c.Number("id", 0), true
	memory, disk := durability.Seq(c.Number("memory", 0)), durability.Seq(c.Number("disk", 0))
	switch {
	case c.Has("joins"):
		g.cursors.Activate(id, memory, disk)
	case c.Has("leaves"):
		moved = g.cursors.Deactivate(id)
	default:
		moved = g.cursors.Advance(id, memory, disk)
	}
	if !moved {
		g.t.Fatalf("replica %d has not joined", id)
	}
}

// stepGate shows what the gate did, in the order in which it did it: it looks ahead after it has
// released.
func (g *gateScript) stepGate() string {
	if g.phase.Over() {
		return fmt.Sprintf("nothing passes any more; work done: %d\n", g.gate.Step(g.now))
	}
	var b strings.Builder
	for work := 1; work > 0; {
		work = g.gate.Step(g.now)
		for ; g.position < g.gate.slots.Position(); g.position++ {
			if s := g.slots[g.position]; !s.overtaken {
				fmt.Fprintf(&b, "passes: %v\n", s)
			}
		}
		waiting := g.gate.slots.Ahead(0, len(g.slots))
		for i := range waiting {
			if s := &g.slots[g.position+uint64(i)]; waiting[i].overtaken && !s.overtaken {
				s.overtaken = true
				fmt.Fprintf(&b, "passes: %v, ahead of what waits\n", *s)
			}
		}
	}
	if now, _ := g.Degraded(); now != g.degraded {
		g.degraded = now
		b.WriteString(map[bool]string{true: "degraded: too few nodes in view\n",
			false: "degraded no more\n"}[now])
	}
	b.WriteString(g.head())
	return b.String()
}

// head is what the gate reports about the slot that waits longest.
func (g *gateScript) head() string {
	w, waiting := g.Waiting()
	if !waiting {
		return "nothing waits\n"
	}
	binding := "for nodes that are not in view"
	switch node := g.gate.binding.Load(); {
	case w.Proof:
		binding = "for the proof that this node leads"
	case node == 0:
		binding = "for the journal"
	case node > 0:
		binding = fmt.Sprintf("for replica %d", node)
	}
	return fmt.Sprintf("waits: seq %d, %s, since %v\n", w.Seq, binding,
		time.Duration(g.now-g.gate.oldest.Load()))
}

func (g *gateScript) stepEncoder() string {
	for g.encoder.Step(g.now) > 0 {
	}
	var b strings.Builder
	inbox := g.shards[0].Frames()
	for raw, ok := inbox.Next(); ok; raw, ok = inbox.Next() {
		fmt.Fprintf(&b, "%v\n", slotNote{conn: shard.RecordIn(raw).Conn,
			seq: durability.Seq(shard.RecordIn(raw).Seq)})
	}
	inbox.Release()
	return b.String()
}

func (g *gateScript) close() string {
	if !g.gate.Done() {
		return "the gate is not done\n"
	}
	if err := g.gate.Close(); err != nil {
		g.t.Fatal(err)
	}
	g.gate.rec.Unpark() // what it counted is still to be shown
	return "closed\n"
}

func (g *gateScript) counts() string {
	var b strings.Builder
	for c := range telemetry.Counter(telemetry.NumCounters) {
		if n := g.gate.rec.B.C[c]; n > 0 {
			info := c.Info()
			fmt.Fprintf(&b, "%s: %d\n", strings.TrimSpace(info.Name+" "+info.Value), n)
		}
	}
	return b.String()
}
