package config

import (
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"sluice/actors"
	"sluice/actors/node"
	"sluice/actors/node/observe"
	"sluice/actors/node/observe/status"
	"sluice/durability"
	"sluice/durability/journal"
	"sluice/encode"
	"sluice/transport"
	"sluice/transport/listen"
)

// Server is the configuration of `sluice serve`. All sizes are bytes.
type Server struct {
	File string // path of a YAML file with these settings

	TCP            []string // host:port addresses
	Unix           []string // paths of unix-domain sockets, @name for an abstract one
	Keys           string   // path of the authorized keys, "" for no authentication
	Insecure       bool     // allows addresses that other machines can reach without authentication
	MaxConnections int

	DataDir        string
	DataDirExists  bool // refuse to create it
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
	LeaveFor  time.Duration // between SIGTERM and the drain
	LogLevel  slog.Level
	LogFormat Format
	StatsFile string
	AuditFile string

	Observe
	Endpoints
	ClientTLS
	Topics
	Cluster
}

// Format is the format of log lines.
type Format string

// String returns the name of the format.
func (f Format) String() string { return string(f) }

// Formats of log lines.
const (
	FormatText Format = "text"
	FormatJSON Format = "json"
)

// DefaultAddress is the TCP address that servers listen on and clients connect to.
const DefaultAddress = "127.0.0.1:9876"

// DefaultServer returns the defaults of all settings.
func DefaultServer() *Server {
	return &Server{
		TCP: []string{DefaultAddress}, MaxConnections: actors.DefaultMaxConnections,
		DataDir: "./sluice-data", SegmentBytes: journal.DefaultSegmentBytes,
		SnapshotEvents: node.DefaultSnapshotEvents, SnapshotBytes: node.DefaultSnapshotBytes,
		Policy:      durability.Local().Name(),
		RingEntries: actors.DefaultRingEntries, FrameMax: encode.DefaultMaxFrame,
		Heartbeat: actors.DefaultHeartbeat,
		Limits:    transport.DefaultLimits(), ShardBudget: actors.DefaultShardBudget,
		DrainFor: observe.DefaultDrainTimeout, LogFormat: FormatText, Observe: defaultObserve(),
		Endpoints: defaultEndpoints(), Topics: defaultTopics(), Cluster: defaultCluster(),
	}
}

// Set returns the table of settings over c's fields. Their present values are the defaults.
func (c *Server) Set() *Set {
	var all []Setting
	for _, group := range []struct {
		name     string
		settings []Setting
	}{
		{"Configuration", c.fileSettings()},
		{"Clients", c.clientSettings()},
		{"Clients", c.ClientTLS.settings()},
		{"Clients", c.Endpoints.settings()},
		{"Data", c.dataSettings()},
		{"Durability", c.durabilitySettings()},
		{"Cluster", c.Cluster.settings()},
		{"Response pipeline", c.pipelineSettings()},
		{"Slow clients", c.limitSettings()},
		{"Topics", c.Topics.settings()},
		{"Operation", c.operationSettings()},
		{"Observation", c.Observe.settings()},
	} {
		for _, s := range group.settings {
			s.Group = group.name
			all = append(all, s)
		}
	}
	return NewSet("config", all...)
}

func (c *Server) fileSettings() []Setting {
	return []Setting{
		{Name: "config", NotInFile: true, Value: Text(&c.File, "FILE"),
			Help: "read these settings from a YAML file, one `name: value` per line; flags and " +
				"SLUICE_* variables take precedence"},
	}
}

func (c *Server) clientSettings() []Setting {
	return []Setting{
		{Name: "listen-tcp", Value: List(&c.TCP, "ADDR,..."),
			Help: "listen for TCP clients on these host:port addresses; empty for no TCP, port 0 " +
				"for any free port"},
		{Name: "listen-unix", Value: List(&c.Unix, "PATH,..."),
			Help: "listen for local clients on these unix-domain sockets; @name for an " +
				"abstract socket"},
		{Name: "authorized-keys", Value: Text(&c.Keys, "FILE"),
			Help: "accept only clients with an Ed25519 key in this file, one `role base64(key) " +
				"comment` per line; " +
				"without it, every client that reaches an address may trade. " +
				"`sluice client keygen` makes keys; SIGHUP reads the file again"},
		{Name: "insecure", Value: Bool(&c.Insecure),
			Help: "allow addresses that other machines can reach without authorized keys"},
		{Name: "max-connections", Value: Count(&c.MaxConnections, 1, 1<<20, false),
			Help: "accept at most N clients at the same time; each needs a file descriptor"},
	}
}

func (c *Server) dataSettings() []Setting {
	return []Setting{
		{Name: "data-dir", Value: Text(&c.DataDir, "DIR"),
			Help: "keep journal and snapshots in this directory; created if missing, used by one " +
				"server at a time"},
		{Name: "data-dir-must-exist", Value: Bool(&c.DataDirExists),
			Help: "fail if the data directory holds no journal, instead of beginning at event 1"},
		{Name: "journal-segment", Value: Size(&c.SegmentBytes, journal.MinSegmentBytes, 1<<30),
			Help: "start a new journal file after this size"},
		{Name: "snapshot-events", Value: Count(&c.SnapshotEvents, 1, 1<<30, false),
			Help: "snapshot the book every N events; bounds journal size and restart time"},
		{Name: "snapshot-bytes", Value: Size(&c.SnapshotBytes, 4<<10, 1<<40),
			Help: "snapshot the book after this size of events, if that comes first"},
	}
}

func (c *Server) durabilitySettings() []Setting {
	return []Setting{
		{Name: "policy", Value: Checked(&c.Policy, "POLICY", checkPolicy),
			Help: "hold each response back until its event is this durable: local (the disk of " +
				"this node), or clauses such as " +
				"persisted>=1 && in_memory>=2; with --cluster, a majority of disks by default, and the policy " +
				"of the log as soon as it has one"},
		{Name: "force-policy", Value: Bool(&c.ForcePolicy),
			Help: "start with a policy that this node cannot meet, so that no response leaves until the " +
				"policy is swapped; or start a member of a cluster with one that is exposed"},
	}
}

func (c *Server) pipelineSettings() []Setting {
	return []Setting{
		{Name: "shards", Value: Count(&c.Shards, 1, actors.MaxShards, true),
			Help: "run N sending actors, each with an I/O ring and its share of the clients; " +
				"auto is the number of cores, at most 8"},
		{Name: "placement", Value: Choice(&c.Placement, actors.ParsePlacement, "auto",
			"fused", "front", "spread"),
			Help: "distribute the actors over goroutines: all on one (fused), one plus one for " +
				"each further shard (front), " +
				"one each (spread)"},
		{Name: "idle", Value: Choice(&c.Idle, actors.ParseIdle, "adaptive", "spin"),
			Help: "wait for work by sleeping (adaptive), or by polling (spin), " +
				"which needs a core for every goroutine"},
		{Name: "io", Value: Choice(&c.IO, transport.ParseMode, "auto", "uring", "poll"),
			Help: "send with io_uring (uring), with send and epoll (poll), or with the first of " +
				"the two that works here (auto)"},
		{Name: "ring-entries", Value: Count(&c.RingEntries, transport.EntriesMin,
			transport.EntriesMax, false),
			Help: "submit up to N sends per shard at once, rounded up to a power of two; does " +
				"not limit connections"},
		{Name: "frame-max", Value: Size(&c.FrameMax, 128, encode.MaxFrameLimit),
			Help: "limit a frame of a response to this size"},
		{Name: "heartbeat", Value: Duration(&c.Heartbeat, 50*time.Millisecond, time.Hour),
			Help: "send a heartbeat to a client after this time without other data"},
	}
}

func (c *Server) limitSettings() []Setting {
	limits := limitValues(&c.Limits)
	return []Setting{
		{Name: "hard-limit", Reload: true, Value: limits[0],
			Help: "close a connection as soon as it has more unsent bytes than this"},
		{Name: "soft-limit", Reload: true, Value: limits[1],
			Help: "close a connection that has had more unsent bytes than this for --soft-for"},
		{Name: "soft-for", Reload: true, Value: limits[2],
			Help: "allow --soft-limit to be exceeded for this time"},
		{Name: "no-progress", Reload: true, Value: limits[3],
			Help: "close a connection whose client accepts none of its unsent bytes for this time"},
		{Name: "shard-budget", Value: Size(&c.ShardBudget, 1<<20, 1<<40),
			Help: "limit the send buffers of one shard to this size in all; beyond it, the " +
				"slowest client is disconnected; by default less if all shards had more than a quarter of the " +
				"memory limit of the cgroup"},
	}
}

func (c *Server) operationSettings() []Setting {
	return []Setting{
		{Name: "drain", Value: Duration(&c.DrainFor, time.Millisecond, time.Hour),
			Help: "wait at most this time after SIGTERM for responses to leave, then stop by force"},
		{Name: "drain-delay", Value: Duration(&c.LeaveFor, 0, time.Hour),
			Help: "go on accepting and serving clients for this time after SIGTERM, with /readyz at 503, " +
				"before the drain begins"},
		{Name: "log-level", Value: Choice(&c.LogLevel, parseLevel, "debug", "info", "warn",
			"error"),
			Help: "write log lines of this level and above"},
		{Name: "log-format", Value: Choice(&c.LogFormat, parseFormat, "text", "json"),
			Help: "write log lines in this format"},
		{Name: "stats-file", Value: Text(&c.StatsFile, "FILE"),
			Help: "write all measurements to this file as JSON, on SIGUSR1 and at the end"},
		{Name: "audit-file", Value: Text(&c.AuditFile, "FILE"),
			Help: "append who did what to this file, a JSON object a line: logins, refused logins, operators' " +
				"commands, reloads, start and stop; SIGHUP opens it again, for a rotation"},
	}
}

func parseLevel(text string) (l slog.Level, err error) { return l, l.UnmarshalText([]byte(text)) }

func parseFormat(text string) (Format, error) { return Format(text), nil }

func checkPolicy(text string) error {
	_, err := durability.Parse(text, mostNodes)
	return err
}

// Validate checks the settings against one another. Its errors are a *UsageError.
func (c *Server) Validate() error {
	if len(c.TCP)+len(c.TLSListen)+len(c.Unix) == 0 {
		return Usagef("no address to listen on: set --listen-tls, --listen-tcp or --listen-unix")
	}
	for _, a := range c.TCP {
		if err := c.checkReach("--listen-tcp", a); err != nil {
			return err
		}
	}
	if err := c.ClientTLS.validate(c); err != nil {
		return err
	}
	for _, path := range c.Unix {
		if err := listen.CheckSocketPath(path); err != nil {
			return Usagef("--listen-unix: %v", err)
		}
	}
	if c.DataDir == "" {
		return Usagef("--data-dir is empty: name a directory for the journal")
	}
	if err := c.Cluster.validate(); err != nil {
		return err
	}
	if !c.Member {
		if err := c.MeetPolicy(1); err != nil {
			return err
		}
	}
	if c.StatsFile != "" {
		if _, err := status.CheckFile(c.StatsFile); err != nil {
			return Usagef("--stats-file: %v", err)
		}
	}
	if err := c.Endpoints.validate(c); err != nil {
		return err
	}
	if err := c.Observe.validate(c); err != nil {
		return err
	}
	if err := c.checkTwice(); err != nil {
		return err
	}
	return c.checkLimits(c.Limits, "--hard-limit", "--soft-limit")
}

// checkReach checks an address for TCP clients. One that other machines can reach needs keys, or consent.
func (c *Server) checkReach(flag, a string) error {
	host, err := checkAddress(flag, a, DefaultAddress)
	if err == nil && c.Keys == "" && !c.Insecure && !loopback(host) {
		err = Usagef("%s is %q, which other machines can reach, and clients would not have to authenticate: "+
			"name the keys that may connect with --authorized-keys, listen on 127.0.0.1, or accept it with "+
			"--insecure", flag, a)
	}
	return err
}

// checkAddress checks the form of an address and returns its host. Names are not looked up, so that
// checking a configuration needs no network.
func checkAddress(flag, address, example string) (host string, err error) {
	host, port, err := net.SplitHostPort(address)
	if n, numErr := strconv.Atoi(port); err != nil || numErr != nil || n < 0 || n > 65535 {
		return "", Usagef("%s is %q: write host:port with a port from 0 to 65535, such as %s", flag,
			address, example)
	}
	return host, nil
}

// loopback reports whether a host is reachable from this machine only. Names other than localhost
// are not looked up.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// MeetClass rejects a policy that is exposed in a cluster of a number of nodes, unless it is forced.
func (c *Server) MeetClass(nodes int) error {
	p, err := durability.Parse(c.Policy, nodes)
	if err == nil && !c.ForcePolicy {
		err = p.AtLeast(durability.CrashSafe, nodes)
	}
	if err != nil {
		return Usagef("--policy, --force-policy: %v", err)
	}
	return nil
}

// MeetPolicy rejects a policy that a number of nodes can never meet (R7). The rule is Policy.MetBy; a
// node applies it again when it opens. Validate calls it for a single node.
func (c *Server) MeetPolicy(nodes int) error {
	p, err := durability.Parse(c.Policy, max(nodes, durability.DefaultNodes))
	if err != nil {
		return Usagef("--policy: %v", err)
	}
	if p.MetBy(nodes) == nil || c.ForcePolicy {
		return nil
	}
	if nodes > 1 {
		return Usagef("--policy is %q, which %d nodes can never meet: use one that fewer nodes meet, such as "+
			"persisted>=%d, or accept with --force-policy that no response leaves until the policy is swapped",
			c.Policy, nodes, nodes/2+1)
	}
	return Usagef("--policy is %q, which this node alone can never meet, and it has no "+
		"replicas: use local, or accept with "+
		"--force-policy that no response leaves until the policy is swapped", c.Policy)
}
