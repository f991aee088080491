package shard

import (
	"sync/atomic"
	"time"

	"sluice/actors/internal/run"
	"sluice/durability"
	"sluice/mailbox"
	"sluice/telemetry"
	"sluice/transport"
)

// Config sets the cadence and bounds of a shard; the fields are those of actors.EgressConfig.
type Config struct {
	FlushBytes  int
	FlushSlots  int
	DrainMax    int
	Heartbeat   time.Duration
	Tick        time.Duration
	DrainSpread time.Duration

	// Pause is how late a tick is when the shard had not run: steps are short, and a sleep is at most run.SleepMax. Worlds
	// with shorter sleeps set it.
	Pause time.Duration
}

// Parts is what a shard is made of. The mailboxes' signals are set by their owner.
type Parts struct {
	Shard    int
	Config   Config
	Frames   *mailbox.BytesReader
	Events   *mailbox.Reader[Event]
	Notices  *mailbox.Writer[Notice]
	Ring     transport.Ring
	Slab     *transport.Slab
	Limits   *atomic.Pointer[[]transport.Limits] // by Conn.Class; swapped by the pipeline at a reload
	Permit   *atomic.Int64                       // open connections of the whole pipeline; lowered only in release
	Phase    *run.Phase
	Recorder *telemetry.Recorder
	Box      *telemetry.TraceBox
	Sampler  *telemetry.Sampler
	Alarm    *durability.Degradation
}

// New makes a shard without connections, which owns the ring and the slab from here on.
func New(p Parts) *Shard {
	return &Shard{
		shard: p.Shard, cfg: p.Config, mail: mail{p.Frames, p.Events, p.Notices}, ring: p.Ring, slab: p.Slab,
		limits: p.Limits, permit: p.Permit, phase: p.Phase, rec: p.Recorder,
		table:  table{conns: make([]transport.Conn, 1)},
		outbox: outbox{entries: p.Ring.Info().Entries},
		traces: tracer{box: p.Box, sampler: p.Sampler, alarm: p.Alarm, oldest: traced{record: Record{Received: never}}},
	}
}
