package config

import (
	"log/slog"
	"net"
	"strconv"
	"time"

	"sluice/actors"
	"sluice/actors/node"
	"sluice/actors/node/observe"
	"sluice/durability"
	"sluice/durability/journal"
	"sluice/encode"
	"sluice/transport"
	"sluice/transport/listen"
)

// Server is the configuration of `sluice serve`. All sizes are bytes.
type Server struct {
	File string // where the settings below may also stand

	TCP            []string // host:port
	Unix           []string // paths, @name for an abstract one
	Keys           string   // path of the authorized keys, "" for no authentication
	Insecure       bool     // addresses beyond this machine without authentication
	MaxConnections int

	DataDir        string
	SegmentBytes   int64
	SnapshotEvents int
	SnapshotBytes  uint64

	Policy      string
	ForcePolicy bool

	Shards      int // 0 is auto
	Placement   actors.Placement
	Idle        actors.IdleMode
	IO          transport.Mode
	RingEntries int
	FrameMax    int
	Heartbeat   time.Duration

	Limits      transport.Limits
	ShardBudget int64

	DrainFor  time.Duration
	LogLevel  slog.Level
	LogFormat Format
	StatsFile string

	Observe
	Endpoints
}

// Format is how log lines are written.
type Format string

// String returns the word of the format.
func (f Format) String() string { return string(f) }

// Formats of log lines.
const (
	FormatText Format = "text"
	FormatJSON Format = "json"
)

// DefaultAddress is where a server accepts TCP clients, and where clients expect it.
const DefaultAddress = "127.0.0.1:9876"

// DefaultServer returns the configuration that is in force when nothing is configured.
func DefaultServer() *Server {
	return &Server{
		TCP: []string{DefaultAddress}, MaxConnections: actors.DefaultMaxConnections,
		DataDir: "./sluice-data", SegmentBytes: journal.DefaultSegmentBytes,
		SnapshotEvents: node.DefaultSnapshotEvents, SnapshotBytes: node.DefaultSnapshotBytes,
		Policy:      durability.Local().Name(),
		RingEntries: actors.DefaultRingEntries, FrameMax: encode.DefaultMaxFrame, Heartbeat: actors.DefaultHeartbeat,
		Limits: transport.DefaultLimits(), ShardBudget: actors.DefaultShardBudget,
		DrainFor: observe.DefaultDeadline, LogFormat: FormatText, Observe: defaultObserve(), Endpoints: defaultEndpoints(),
	}
}

// Set returns the table of settings over c's fields, whose present values are the defaults.
func (c *Server) Set() *Set {
	var all []Setting
	group := func(name string, settings ...Setting) {
		for _, s := range settings {
			s.Group = name
			all = append(all, s)
		}
	}
	group("Configuration",
		Setting{Name: "config", NotInFile: true, Value: Text(&c.File, "FILE"),
			Help: "YAML file with these settings, one `name: value` a line; flags and SLUICE_* variables win over it"},
	)
	group("Clients",
		Setting{Name: "listen-tcp", Value: List(&c.TCP, "ADDR,..."), Help: "addresses for TCP clients, host:port; empty for no TCP; port 0 for any free port"},
		Setting{Name: "listen-unix", Value: List(&c.Unix, "PATH,..."), Help: "unix-domain sockets for clients on this machine; @name for one without a file"},
		Setting{Name: "authorized-keys", Value: Text(&c.Keys, "FILE"),
			Help: "Ed25519 keys that may connect, one `role base64(key) comment` a line; without it everyone who reaches an address may trade. `sluice client keygen` makes keys, SIGHUP reads the file again"},
		Setting{Name: "insecure", Value: Bool(&c.Insecure), Help: "allow addresses beyond this machine without authorized keys"},
		Setting{Name: "max-connections", Value: Count(&c.MaxConnections, 1, 1<<20, false), Help: "clients at the same time; each needs a file descriptor"},
	)
	group("Clients", c.Endpoints.settings()...)
	group("Data",
		Setting{Name: "data-dir", Value: Text(&c.DataDir, "DIR"), Help: "journal and snapshots; made if missing, one server at a time"},
		Setting{Name: "journal-segment", Value: Size(&c.SegmentBytes, journal.MinSegmentBytes, 1<<30), Help: "size of a file of the journal"},
		Setting{Name: "snapshot-events", Value: Count(&c.SnapshotEvents, 1, 1<<30, false), Help: "snapshot of the book after so many events, which bounds journal and restart"},
		Setting{Name: "snapshot-bytes", Value: Size(&c.SnapshotBytes, 4<<10, 1<<40), Help: "or after so many bytes of events, whichever comes first"},
	)
	group("Durability",
		Setting{Name: "policy", Value: Checked(&c.Policy, "POLICY", checkPolicy),
			Help: "copies of an event that must exist before its answer leaves: local (this node's disk), or clauses as persisted>=1 && in_memory>=2"},
		Setting{Name: "force-policy", Value: Bool(&c.ForcePolicy), Help: "start with a policy that this node cannot meet: nothing is answered until it is swapped"},
	)
	group("Response pipeline",
		Setting{Name: "shards", Value: Count(&c.Shards, 1, actors.MaxShards, true), Help: "sending actors, each with a ring and its share of the clients; auto is the number of cores, at most 8"},
		Setting{Name: "placement", Value: Choice(&c.Placement, actors.ParsePlacement, "auto", "fused", "front", "spread"),
			Help: "goroutines: all actors on one (fused), one and one more for each further shard (front), one for each (spread)"},
		Setting{Name: "idle", Value: Choice(&c.Idle, actors.ParseIdle, "adaptive", "spin"), Help: "without work: sleep after a few looks, or spin, which needs a core for every goroutine"},
		Setting{Name: "io", Value: Choice(&c.IO, transport.ParseMode, "auto", "uring", "poll"), Help: "engine that sends: io_uring, send and epoll, or the first that works here"},
		Setting{Name: "ring-entries", Value: Count(&c.RingEntries, transport.EntriesMin, transport.EntriesMax, false), Help: "sends that a shard hands over at once, rounded up to a power of two; no limit on connections"},
		Setting{Name: "frame-max", Value: Size(&c.FrameMax, 128, encode.MaxFrameLimit), Help: "largest frame of an answer"},
		Setting{Name: "heartbeat", Value: Duration(&c.Heartbeat, 50*time.Millisecond, time.Hour), Help: "a client that was sent nothing for so long gets a heartbeat"},
	)
	limits := limitValues(&c.Limits)
	group("Slow clients",
		Setting{Name: "hard-limit", Reload: true, Value: limits[0], Help: "unsent bytes that end a connection at once"},
		Setting{Name: "soft-limit", Reload: true, Value: limits[1], Help: "unsent bytes that end a connection when held for soft-for"},
		Setting{Name: "soft-for", Reload: true, Value: limits[2], Help: "how long soft-limit may be exceeded"},
		Setting{Name: "no-progress", Reload: true, Value: limits[3], Help: "how long a client may take none of its unsent bytes"},
		Setting{Name: "shard-budget", Value: Size(&c.ShardBudget, 1<<20, 1<<40), Help: "send buffers of one shard in all; beyond it the worst offender is dropped"},
	)
	group("Operation",
		Setting{Name: "drain", Value: Duration(&c.DrainFor, time.Millisecond, time.Hour), Help: "how long SIGTERM waits for answers to leave before it stops by force"},
		Setting{Name: "log-level", Value: Choice(&c.LogLevel, parseLevel, "debug", "info", "warn", "error"), Help: "least important log line that is written"},
		Setting{Name: "log-format", Value: Choice(&c.LogFormat, parseFormat, "text", "json"), Help: "form of log lines"},
		Setting{Name: "stats-file", Value: Text(&c.StatsFile, "FILE"), Help: "file that gets all measurements as JSON on SIGUSR1 and at the end"},
	)
	group("Observation", c.Observe.settings()...)
	return NewSet("config", all...)
}

func parseLevel(text string) (l slog.Level, err error) { return l, l.UnmarshalText([]byte(text)) }

func parseFormat(text string) (Format, error) { return Format(text), nil }

func checkPolicy(text string) error {
	_, err := durability.Parse(text, durability.DefaultNodes)
	return err
}

// Validate checks what no single setting can know. Its errors are a *UsageError.
func (c *Server) Validate() error {
	if len(c.TCP)+len(c.Unix) == 0 {
		return Usagef("no address to listen on: set --listen-tcp or --listen-unix")
	}
	for _, a := range c.TCP {
		host, err := checkAddress("--listen-tcp", a, DefaultAddress)
		if err != nil {
			return err
		}
		if c.Keys == "" && !c.Insecure && !loopback(host) {
			return Usagef("--listen-tcp is %q, which others can reach, and nobody would have to authenticate: name the keys that may connect with "+
				"--authorized-keys, listen on 127.0.0.1, or accept it with --insecure", a)
		}
	}
	for _, path := range c.Unix {
		if err := listen.CheckSocketPath(path); err != nil {
			return Usagef("--listen-unix: %v", err)
		}
	}
	if c.DataDir == "" {
		return Usagef("--data-dir is empty: name the directory that is to hold the journal")
	}
	if err := c.meetPolicy(); err != nil {
		return err
	}
	if err := c.Endpoints.validate(c); err != nil {
		return err
	}
	if err := c.Observe.validate(); err != nil {
		return err
	}
	return c.checkLimits(c.Limits, "--hard-limit", "--soft-limit")
}

// checkAddress checks the form of an address and returns its host. Names are not looked up, so that checking a
// configuration needs no network.
func checkAddress(flag, address, example string) (host string, err error) {
	host, port, err := net.SplitHostPort(address)
	if n, numErr := strconv.Atoi(port); err != nil || numErr != nil || n < 0 || n > 65535 {
		return "", Usagef("%s is %q: write host:port with a port from 0 to 65535, as %s", flag, address, example)
	}
	return host, nil
}

// loopback reports whether only this machine can reach a host. Names other than localhost are not looked up.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// meetPolicy refuses a policy that a node without replicas can never meet (R7).
func (c *Server) meetPolicy() error {
	p, err := durability.Parse(c.Policy, durability.DefaultNodes)
	if err != nil {
		return Usagef("--policy: %v", err)
	}
	if p.MetBy(1) != nil && !c.ForcePolicy {
		return Usagef("--policy is %q, which this node alone can never meet, and it has no replicas: use local, or accept with --force-policy "+
			"that nothing is answered until the policy is swapped", c.Policy)
	}
	return nil
}

// Reload returns a configuration from the same sources read again, and the names of settings that differ from c in what
// cannot change while the server runs. c itself is not changed.
func (c *Server) Reload(args, environ []string) (fresh *Server, fixed []string, err error) {
	fresh = DefaultServer()
	set := fresh.Set()
	if _, err := set.Load(args, environ); err != nil {
		return nil, nil, err
	}
	if err := fresh.Validate(); err != nil {
		return nil, nil, err
	}
	for i, now := range c.Set().Settings {
		if s := set.Settings[i]; !s.Reload && s.Value.String() != now.Value.String() {
			fixed = append(fixed, s.Name)
		}
	}
	return fresh, fixed, nil
}
