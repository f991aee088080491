package shard

import (
	"sync/atomic"
	"time"

	"sluice/actors/internal/run"
	"sluice/durability"
	"sluice/encode"
	"sluice/mailbox"
	"sluice/telemetry"
	"sluice/transport"
)

// Config sets the cadence and bounds of a shard; the fields are those of actors.EgressConfig.
type Config struct {
	Framing     *encode.Framing // of the pipeline's own messages
	FlushBytes  int
	FlushSlots  int
	DrainMax    int
	Heartbeat   time.Duration
	Tick        time.Duration
	DrainSpread time.Duration
	Topics      TopicConfig

	// Pause is how late a tick must be to show that the shard did not run: steps are short, and a
	// sleep takes at most run.SleepMax. Simulated worlds with shorter sleeps set it lower.
	Pause time.Duration
}

// Parts are the parts of a shard. The owner of the mailboxes sets their signals. Each field is used
// as it is for the life of the shard.
type Parts struct {
	Shard    int
	Config   Config
	Frames   *mailbox.BytesReader
	Events   *mailbox.Reader[Event]
	Notices  *mailbox.Writer[Notice]
	Feedback *mailbox.Writer[Feedback] // nil without a producer of topics
	Ring     transport.Ring
	Sockets  *Sockets // that the pipeline owns
	Slab     *transport.Slab
	Limits   *atomic.Pointer[[]transport.Limits] // by Conn.Class; swapped by the pipeline at a reload
	Permit   *atomic.Int64                       // open connections of the pipeline; lowered only in freeEntry
	Phase    *run.Phase
	Farewell *atomic.Pointer[encode.Control] // the Close for clients at the end of the pipeline; empty: shutdown
	Recorder *telemetry.Recorder
	Box      *telemetry.TraceBox
	Sampler  *telemetry.Sampler
	Alarm    *durability.Degradation
}

// New makes a shard without connections. From here on the shard owns the ring and the slab.
func New(p Parts) *Shard {
	return &Shard{
		shard: p.Shard, cfg: p.Config, ring: p.Ring, slab: p.Slab,
		mail: mail{frames: p.Frames, events: p.Events, notices: p.Notices,
			failures: map[uint64]string{}},
		limits: p.Limits, permit: p.Permit, phase: p.Phase, rec: p.Recorder,
		table:  table{conns: make([]transport.Conn, 1), sockets: p.Sockets},
		outbox: outbox{entries: p.Ring.Info().Entries},
		topics: topics{feedback: p.Feedback},
		timers: timers{beat: int64(p.Config.Heartbeat)},
		ending: ending{farewell: p.Farewell},
		traces: tracer{box: p.Box, sampler: p.Sampler, alarm: p.Alarm,
			oldest: traced{record: Record{Received: never}}},
	}
}
