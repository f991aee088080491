package actors

import (
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"sluice/actors/internal/run"
	"sluice/actors/internal/shard"
	"sluice/durability"
	"sluice/encode"
	"sluice/mailbox"
	"sluice/telemetry"
	"sluice/transport"
)

// EgressConfig sets the cadence and bounds of a shard.
type EgressConfig struct {
	FlushBytes int           // unsent bytes of a connection that queue its send at once
	FlushSlots int           // responses that end a step's drain, or 256 a dirty connection if more
	DrainMax   int           // responses after which a step appends no more
	Heartbeat  time.Duration // a connection that was sent nothing for this long gets a heartbeat
	Tick       time.Duration // how often limits of blocked connections are checked

	// DrainSpread is the time over which a drain closes connections, so that clients do not
	// reconnect all at once. It is at most a third of the time to the deadline; default 1 s.
	DrainSpread time.Duration

	// pause is how late a tick must be to show that the shard did not run: steps are short, and a
	// sleep takes at most run.SleepMax. Simulated worlds with shorter sleeps set it lower.
	pause time.Duration
}

// parts is the configuration in the form that a shard takes.
func (c *EgressConfig) parts(framing *encode.Framing, topics *TopicConfig) shard.Config {
	return shard.Config{
		Framing: framing, FlushBytes: c.FlushBytes, FlushSlots: c.FlushSlots, DrainMax: c.DrainMax,
		Heartbeat: c.Heartbeat, Tick: c.Tick,
		DrainSpread: c.DrainSpread, Pause: c.pause,
		Topics: shard.TopicConfig{TapeBytes: topics.TapeBytes, HistoryBytes: topics.HistoryBytes,
			Linger: 2 * topics.Linger}, // the producer stops first
	}
}

// TopicConfig bounds topics. The memory that a shard keeps for them is part of its budget. The last
// fields are for the producer.
type TopicConfig struct {
	// TapeBytes is how many bytes of topic frames the slowest subscriber may be behind, for each
	// combination of subscriptions that clients of a shard have, a power of two; default 1 MiB.
	TapeBytes int
	// HistoryBytes is how many bytes of frames of a topic are kept for subscribers that come back, a
	// power of two; default 64 KiB.
	HistoryBytes int
	// Linger is how long frames are kept of a topic that lost its last subscriber; default 10 s.
	Linger time.Duration

	MaxTopics        int // topics that have subscribers; default 65,536
	MaxSubscriptions int // of a connection; default 1,024

	// Epoch returns the number from which epochs of topics are counted, in a run. No other run may
	// have returned it, or one that is a little smaller; default a random number.
	Epoch func() uint64
}

// bad is why a size is not allowed, empty if it is.
func (c *TopicConfig) bad(what string, size int) string {
	if size >= topicBytesLeast && size <= transport.SegmentMax && size&(size-1) == 0 {
		return ""
	}
	return fmt.Sprintf("topic %s of %d B; use a power of two from %d to %d", what, size, topicBytesLeast,
		transport.SegmentMax)
}

// topicBytesLeast is the smallest tape or history.
const topicBytesLeast = 4 << 10

// Placement says which actors share a goroutine.
type Placement uint8

const (
	// PlacementAuto is PlacementSpread if there are enough cores. Otherwise it is PlacementFront
	// with at most as many goroutines for shards as there are cores.
	PlacementAuto Placement = iota
	// PlacementFused runs all actors on one goroutine.
	PlacementFused
	// PlacementFront runs control, gate, encoder and the first shard on one goroutine, and each
	// further shard on its own.
	PlacementFront
	// PlacementSpread runs control and gate, the encoder, and each shard on goroutines of their
	// own.
	PlacementSpread
)

// ParsePlacement parses auto, fused, front or spread.
func ParsePlacement(text string) (Placement, error) {
	for p := PlacementAuto; p <= PlacementSpread; p++ {
		if p.String() == text {
			return p, nil
		}
	}
	return 0, fmt.Errorf("actors: placement %q is unknown; use auto, fused, front or spread", text)
}

// String returns the text form.
func (p Placement) String() string {
	switch p {
	case PlacementAuto:
		return "auto"
	case PlacementFused:
		return "fused"
	case PlacementFront:
		return "front"
	case PlacementSpread:
		return "spread"
	}
	return fmt.Sprintf("placement(%d)", uint8(p))
}

// IdleMode is what goroutines do when there is no work.
type IdleMode uint8

const (
	// IdleAdaptive sleeps until woken.
	IdleAdaptive IdleMode = iota
	// IdleSpin never sleeps and locks each group to a thread. It needs a core for every group.
	IdleSpin
)

// ParseIdle parses adaptive or spin.
func ParseIdle(text string) (IdleMode, error) {
	switch text {
	case "adaptive":
		return IdleAdaptive, nil
	case "spin":
		return IdleSpin, nil
	}
	return 0, fmt.Errorf("actors: idle strategy %q is unknown; use adaptive or spin", text)
}

// String returns the text form.
func (m IdleMode) String() string {
	switch m {
	case IdleAdaptive:
		return "adaptive"
	case IdleSpin:
		return "spin"
	}
	return fmt.Sprintf("idle(%d)", uint8(m))
}

// DefaultShards is the default of Config.Shards: the number of cores, at most 8.
func DefaultShards() int { return min(runtime.GOMAXPROCS(0), 8) }

// Defaults of the zero fields of Config, and limits.
const (
	DefaultTapeBytes      = 1 << 20
	DefaultHistoryBytes   = 64 << 10
	DefaultMaxConnections = 1 << 14
	DefaultShardBudget    = 256 << 20
	DefaultHeartbeat      = 10 * time.Second
	DefaultRingEntries    = 256
	DefaultDrainSpread    = time.Second
	MaxShards             = 64
)

// Config is the configuration of a pipeline. The zero value of a field means its default.
type Config struct {
	Policy durability.Policy // required

	Slots int // slot ring, a power of two; default 65,536

	// Barriers is the gate's end of NewBarriers, for a producer that has responses wait for proofs;
	// default none.
	Barriers *mailbox.Reader[Barrier]

	// Feedback is the shards' end of NewFeedback, for a producer of topics; default none.
	Feedback []*mailbox.Writer[Feedback]

	// Topics bounds what shards keep for topics.
	Topics TopicConfig

	// Batch is how many slots a step of gate or encoder takes at most; default 2,048 if they share
	// a goroutine with a shard, else 16,384 (docs/decisions/0010).
	Batch int

	MaxFrame int            // bytes of a payload frame; default 512, at most 1 MiB
	Framing  encode.Framing // how responses become bytes; default the frames of docs/wire.md

	Shards int // egress actors, 1..64; default: the number of cores, at most 8

	// FrameRing is the size of a shard's inbox in bytes, a power of two; default up to 4 MiB, but room for
	// eight frames of MaxFrame.
	FrameRing int

	MaxConnections int           // of the whole pipeline; default 16,384
	ShardBudget    int64         // bytes of send buffers of a shard; default 256 MiB
	Heartbeat      time.Duration // default 10 s
	Egress         EgressConfig  // cadence; its Heartbeat is ignored

	Limits []transport.Limits // slow-client limits by Conn.Class; default one class of DefaultLimits

	IO          transport.Mode // engine; default auto
	RingEntries int            // requests that a shard's ring can queue; default 256

	Placement Placement
	Idle      IdleMode
	CPUs      []int // with IdleSpin: CPU of each group, in order; empty leaves it to the scheduler

	// OpenRing makes the ring of a shard; default transport.Open. Tests and the simulator set it.
	OpenRing func(shard int, cfg transport.RingConfig) (transport.Ring, error)

	Clock     telemetry.Clock      // default a new one
	Collector *telemetry.Collector // default a new one
	Sampler   *telemetry.Sampler   // what is traced; default: slots with a sampled parent only
	Log       *slog.Logger         // default slog.Default

	// OnNotice is called for closed, slow and recovered connections, on the control actor's
	// goroutine and, at the end, by the goroutine that ends last. It must not block. If it is late,
	// slow and recovered are left out and counted; every end of a connection is reported.
	OnNotice func(ConnNotice)
	// OnFail is called once with the error that ends a pipeline on its own.
	OnFail func(error)

	runLeast int // slots of a row that the encoder groups by connection; default 32
}

const (
	batchShared     = 2048    // with a shard on the goroutine: slots and frames that fit its cache
	batchApart      = 1 << 14 // else: slots that are worth waking another core (docs/decisions/0010)
	laneSlots       = 1024    // overtaking slots on their way to the encoder
	controlEvents   = 4096    // control events on their way to the control actor
	shardEvents     = 1024    // control events on their way to a shard
	shardNotices    = 4096
	traceRecords    = 1024 // traced responses of a shard that wait for the exporter
	frameRingLeast  = 8    // largest frames that a shard's inbox holds at least
	defaultDrainMax = 1 << 16
)

// withDefaults fills the zero fields and checks the others.
func (c Config) withDefaults() (Config, error) {
	setDefault(&c.Slots, 1<<16)
	setDefault(&c.MaxFrame, encode.DefaultMaxFrame)
	setDefault(&c.Shards, DefaultShards())
	setDefault(&c.MaxConnections, DefaultMaxConnections)
	setDefault(&c.ShardBudget, DefaultShardBudget)
	setDefault(&c.Heartbeat, DefaultHeartbeat)
	setDefault(&c.RingEntries, DefaultRingEntries)
	setDefault(&c.Topics.TapeBytes, DefaultTapeBytes)
	setDefault(&c.Topics.HistoryBytes, DefaultHistoryBytes)
	setDefault(&c.Topics.Linger, 10*time.Second)
	setDefault(&c.Egress.FlushBytes, 64<<10)
	setDefault(&c.Egress.FlushSlots, 256)
	setDefault(&c.Egress.DrainMax, defaultDrainMax)
	setDefault(&c.Egress.Tick, 50*time.Millisecond)
	setDefault(&c.Egress.DrainSpread, DefaultDrainSpread)
	setDefault(&c.runLeast, runLeast)
	setDefault(&c.Egress.pause, 5*run.SleepMax)
	c.Egress.Heartbeat = c.Heartbeat
	if c.Limits == nil {
		c.Limits = []transport.Limits{transport.DefaultLimits()}
	}
	if c.Clock == (telemetry.Clock{}) {
		c.Clock = telemetry.NewClock()
	}
	if c.Collector == nil {
		c.Collector = telemetry.NewCollector(c.Clock)
	}
	if c.Sampler == nil {
		c.Sampler = telemetry.NewSampler(telemetry.Rules{})
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c, c.validate()
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func ceilPower(n int) int {
	p := 1
	for p < n {
		p *= 2
	}
	return p
}

func (c *Config) validate() error {
	for _, check := range []struct {
		bad  bool
		text string
	}{
		{c.Policy.Len() == 0, "no durability policy; set Policy, for example durability.Local()"},
		{c.Slots < 2 || c.Slots&(c.Slots-1) != 0,
			fmt.Sprintf("slot ring of %d slots; use a power of two, such as 65536", c.Slots)},
		{c.Batch < 0,
			fmt.Sprintf("batch of %d slots; use at least 1, or 0 for the default", c.Batch)},
		{c.MaxFrame < 5 || c.MaxFrame > encode.MaxFrameLimit,
			fmt.Sprintf("largest frame of %d B; use 5..%d", c.MaxFrame, encode.MaxFrameLimit)},
		{c.Shards < 1 || c.Shards > MaxShards,
			fmt.Sprintf("%d shards; use 1..%d", c.Shards, MaxShards)},
		{c.FrameRing != 0 && (c.FrameRing&(c.FrameRing-1) != 0 ||
			c.FrameRing < frameRingLeast*(shard.RecordBytes+c.MaxFrame)),
			fmt.Sprintf("frame ring of %d B; use a power of two of at least %d frames of %d B",
				c.FrameRing, frameRingLeast, c.MaxFrame)},
		{c.MaxConnections < 1,
			fmt.Sprintf("connection limit of %d; use at least 1", c.MaxConnections)},
		{c.Heartbeat < c.Egress.Tick,
			fmt.Sprintf("heartbeat of %v; use at least %v", c.Heartbeat, c.Egress.Tick)},
		{c.Egress.FlushBytes < 1 || c.Egress.FlushSlots < 1 || c.Egress.DrainMax < 1 ||
			c.Egress.Tick <= 0 || c.Egress.DrainSpread <= 0, "egress cadence with a value below 1"},
		{c.Topics.MaxTopics < 0 || c.Topics.MaxSubscriptions < 0 || c.Topics.Linger < 0,
			"limits of topics below 0; use a positive value, or 0 for the default"},
		{len(c.Limits) == 0 || len(c.Limits) > 256,
			fmt.Sprintf("%d classes of limits; use 1..256", len(c.Limits))},
		{c.IO > transport.ModePoll,
			fmt.Sprintf("engine %v is unknown; use one of the transport.Mode constants", c.IO)},
		{len(c.Feedback) != 0 && len(c.Feedback) != c.Shards,
			fmt.Sprintf("%d lists of feedback for %d shards; use NewFeedback(%d)", len(c.Feedback),
				c.Shards, c.Shards)},
		{c.Topics.bad("tape", c.Topics.TapeBytes) != "", c.Topics.bad("tape", c.Topics.TapeBytes)},
		{c.Topics.bad("history", c.Topics.HistoryBytes) != "",
			c.Topics.bad("history", c.Topics.HistoryBytes)},
		{c.Topics.Linger <= 0, fmt.Sprintf("linger time of topics of %v; use at least 1 ns", c.Topics.Linger)},
		{c.Placement > PlacementSpread,
			fmt.Sprintf("%v is unknown; use one of the Placement constants", c.Placement)},
		{c.Idle > IdleSpin, fmt.Sprintf("%v is unknown; use IdleAdaptive or IdleSpin", c.Idle)},
		{len(c.CPUs) > 0 && c.Idle != IdleSpin,
			"CPUs are given but the idle strategy is not spin; pinned threads that sleep only add latency"},
	} {
		if check.bad {
			return fmt.Errorf("actors: %s", check.text)
		}
	}
	for _, cpu := range c.CPUs {
		if err := run.CheckCPU(cpu); err != nil {
			return fmt.Errorf("actors: %w", err)
		}
	}
	return c.checkLimits(c.Limits)
}

// Check reports why Open would reject the configuration. It opens nothing.
func (c Config) Check() error {
	_, err := c.withDefaults()
	return err
}

// frameRing is the size of the inbox of a shard, in bytes. An inbox that shares its goroutine with
// the encoder is emptied after each batch, and a ring that holds little more than a batch stays in
// the processor's cache.
func (c *Config) frameRing(shared bool) int {
	if c.FrameRing != 0 {
		return c.FrameRing
	}
	answer := shard.RecordBytes + c.MaxFrame + 64
	size := 4 << 20
	if shared {
		size = min(size, ceilPower(c.Batch*answer))
	}
	return max(size, ceilPower(frameRingLeast*answer))
}

// checkLimits checks every class of limits against the largest frame and buffer block.
func (c *Config) checkLimits(classes []transport.Limits) error {
	for i, l := range classes {
		if err := l.Validate(max(c.MaxFrame+encode.BatchEndBytes, encode.MaxControl), c.segment(classes)); err != nil {
			return fmt.Errorf("actors: limits class %d: %w", i, err)
		}
	}
	return nil
}

// segment is the largest block that a shard can need: for a connection, or for a tape.
func (c *Config) segment(classes []transport.Limits) int {
	return max(slabSegment(classes), c.Topics.TapeBytes, ceilPower(2*(c.MaxFrame+encode.TopicBytes)))
}

// slabSegment is the largest block that a connection can need: the largest hard limit, at least 1
// MiB.
func slabSegment(classes []transport.Limits) int {
	n := transport.SegmentDefault
	for _, l := range classes {
		n = max(n, ceilPower(l.HardBytes))
	}
	return min(n, transport.SegmentMax)
}
