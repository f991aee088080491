package actors

import (
	"sluice/actors/internal/run"
	"sluice/durability"
	"sluice/mailbox"
	"sluice/telemetry"
)

// Gate is the gate of a pipeline by itself, for simulators that run whole nodes on one goroutine. The
// caller steps it, and takes what it released in place of the encoder.
//
//	Slots() ==> Step: the policy is met ==> Take
//
// All methods belong to one goroutine.
type Gate[R, Q any] struct {
	gate  *gate[R, Q]
	slots *mailbox.Writer[Slot[R, Q]]
	next  *mailbox.Reader[Slot[R, Q]]
	lane  *mailbox.Reader[laneEntry[R, Q]]
}

// NewGate makes a gate. Of the configuration it uses Policy, Slots, Barriers, Batch, Clock,
// Collector and Sampler.
// The error says what is wrong with the configuration.
func NewGate[R, Q any](cfg Config, source durability.Source) (*Gate[R, Q], error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	setDefault(&cfg.Batch, batchApart)
	g := new(Gate[R, Q])
	writer, readers := mailbox.NewChain[Slot[R, Q]](cfg.Slots, 2)
	in, out := mailbox.NewSPSC[laneEntry[R, Q]](min(laneSlots, cfg.Slots))
	g.slots, g.next, g.lane = writer, readers[1], out
	g.gate = &gate[R, Q]{
		slots: readers[0], barriers: cfg.Barriers, lane: in, source: source, policy: durability.NewSwitch(cfg.Policy),
		phase: new(run.Phase), rec: cfg.Collector.Register("gate", telemetry.NoShard),
		sampler: cfg.Sampler, batch: cfg.Batch, alarm: new(durability.Degradation),
	}
	return g, nil
}

// Slots returns the producer's end of the slot ring.
func (g *Gate[R, Q]) Slots() *mailbox.Writer[Slot[R, Q]] { return g.slots }

// Policy returns the durability policy in force.
func (g *Gate[R, Q]) Policy() *durability.Switch { return g.gate.policy }

// Step releases what may pass, a batch at most, and returns how much work that was. now is monotonic ns.
func (g *Gate[R, Q]) Step(now int64) int { return g.gate.Step(now) }

// Take calls take for each slot that was released and not taken yet, in the order in which the encoder
// of a pipeline encodes them. The slot is valid during the call.
func (g *Gate[R, Q]) Take(take func(*Slot[R, Q])) {
	slots := g.next.Batch(g.next.Len())
	for i := 0; ; i++ {
		for ahead := g.lane.Batch(1); len(ahead) > 0 && ahead[0].after <= g.next.Position()+uint64(i); ahead = g.lane.Batch(1) {
			take(&ahead[0].slot)
			g.lane.Release(1)
		}
		if i == len(slots) {
			break
		}
		if !slots[i].overtaken {
			take(&slots[i])
		}
	}
	g.next.Release(len(slots))
}
