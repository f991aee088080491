package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/actors"
	"sluice/encode"
	"sluice/transport"
	"sluice/transport/listen"
)

// Endpoints bounds what clients may do, by connection, address and listener, and how a drain closes
// them.
type Endpoints struct {
	RequestRate    string        // requests of one connection, as ParseRate reads it
	ConnectRate    string        // connections from one address, as ParseRate reads it
	ListenerLimits []string      // slow-client limits of single listeners, as parseLimits reads them
	DrainSpread    time.Duration // time over which a drain closes connections
}

func defaultEndpoints() Endpoints { return Endpoints{DrainSpread: actors.DefaultDrainSpread} }

// settings are a part of the group Clients of the help text.
func (e *Endpoints) settings() []Setting {
	return []Setting{
		{Name: "request-rate", Reload: true, Value: Checked(&e.RequestRate, "N/BURST", checkRate),
			Help: "limit each connection to N requests per second and a burst; requests above it " +
				"receive ServerBusy; empty for no limit"},
		{Name: "connect-rate", Reload: true, Value: Checked(&e.ConnectRate, "N/BURST", checkRate),
			Help: "limit each address (IPv6: each /64) to N new connections per second and a " +
				"burst; connections above it are closed; " +
				"empty for no limit"},
		{Name: "listener-limits", Reload: true, Value: limitList{&e.ListenerLimits},
			Help: "replace the slow-client limits of single listeners: " +
				"address=hard/soft/soft-for/no-progress, such as " +
				"/run/sluice/clients=4MiB/1MiB/2s/10s"},
		{Name: "drain-spread", Value: Duration(&e.DrainSpread, time.Nanosecond, time.Hour),
			Help: "close the connections of a drain over this time, so that clients do not all " +
				"reconnect at once; " +
				"at most a third of --drain; with --cluster at once by default, since they are served elsewhere"},
	}
}

// Rates returns RequestRate and ConnectRate.
func (e *Endpoints) Rates() (requests, connects listen.Rate) {
	requests, _ = ParseRate(e.RequestRate) // both were checked when they were set
	connects, _ = ParseRate(e.ConnectRate)
	return requests, connects
}

// ByListener returns the limits of the listeners that have their own, by address.
func (e *Endpoints) ByListener() map[string]transport.Limits {
	all := make(map[string]transport.Limits)
	for _, text := range e.ListenerLimits {
		address, l, err := parseLimits(text)
		if err == nil { // it was checked when it was set
			all[address] = l
		}
	}
	return all
}

// ParseRate reads a rate per second and a burst, such as 1000/2000. An empty text is no limit.
func ParseRate(text string) (r listen.Rate, err error) {
	if text == "" {
		return r, nil
	}
	rate, burst, _ := strings.Cut(text, "/")
	per, rateErr := strconv.ParseFloat(rate, 64)
	n, burstErr := strconv.Atoi(burst)
	r = listen.Rate{PerSecond: per, Burst: n}
	if rateErr != nil || burstErr != nil || r == (listen.Rate{}) || r.Validate() != nil {
		return listen.Rate{}, errors.New("write a rate per second and a burst, such as 1000/2000")
	}
	return r, nil
}

func checkRate(text string) error {
	_, err := ParseRate(text)
	return err
}

// parseLimits reads address=hard/soft/soft-for/no-progress. An address may contain an equals sign,
// so the last one counts.
func parseLimits(text string) (address string, l transport.Limits, err error) {
	at := strings.LastIndexByte(text, '=')
	parts := strings.Split(text[at+1:], "/")
	if at < 1 || len(parts) != 4 {
		return "", l, fmt.Errorf("%q: write address=hard/soft/soft-for/no-progress, such as "+
			"/run/sluice/clients=4MiB/1MiB/2s/10s", text)
	}
	for i, v := range limitValues(&l) {
		if err := v.Set(strings.TrimSpace(parts[i])); err != nil {
			return "", l, fmt.Errorf("%q: %w", parts[i], err)
		}
	}
	return text[:at], l, nil
}

// limitValues are the fields of slow-client limits in the order hard, soft, soft-for, no-progress.
func limitValues(l *transport.Limits) [4]Value {
	return [4]Value{
		Size(&l.HardBytes, 512, transport.SegmentMax),
		Size(&l.SoftBytes, 1, transport.SegmentMax),
		Duration(&l.SoftFor, time.Millisecond, time.Hour),
		Duration(&l.NoProgress, time.Millisecond, time.Hour),
	}
}

// limitList is a list whose parts are checked by parseLimits.
type limitList struct{ field *[]string }

func (v limitList) String() string { return strings.Join(*v.field, ",") }
func (v limitList) Form() string   { return "LIMITS,..." }
func (v limitList) Set(text string) error {
	var parts []string
	if err := List(&parts, "").Set(text); err != nil {
		return err
	}
	for _, part := range parts {
		if _, _, err := parseLimits(part); err != nil {
			return err
		}
	}
	*v.field = parts
	return nil
}

// validate checks the limits of listeners against the rest of the configuration.
func (e *Endpoints) validate(c *Server) error {
	for address, l := range e.ByListener() {
		if !slices.Contains(slices.Concat(c.TCP, c.TLSListen, c.Unix), address) {
			return Usagef("--listener-limits names %q, which is not an address of --listen-tcp, "+
				"--listen-tls or --listen-unix", address)
		}
		if err := c.checkLimits(l, fmt.Sprintf("--listener-limits of %q: hard", address),
			"soft"); err != nil {
			return err
		}
	}
	return nil
}

// checkLimits checks slow-client limits against one another, the largest frame and the budget of a
// shard. hard and soft name the limits in the error.
func (c *Server) checkLimits(l transport.Limits, hard, soft string) error {
	hardSize, softSize := FormatSize(uint64(l.HardBytes)), FormatSize(uint64(l.SoftBytes))
	if l.SoftBytes > l.HardBytes {
		return Usagef("%s is %s and %s %s: the soft limit must not be above the hard limit", hard, hardSize,
			soft, softSize)
	}
	if err := l.Validate(max(c.FrameMax+encode.BatchEndBytes, encode.MaxControl), transport.SegmentMax); err != nil {
		return Usagef("%s is %s and %s %s, with --frame-max %s: %v",
			hard, hardSize, soft, softSize, FormatSize(uint64(c.FrameMax)), err)
	}
	if int64(l.HardBytes) > c.ShardBudget {
		return Usagef("%s is %s and --shard-budget %s: one client could take more than its shard "+
			"has; raise the budget",
			hard, hardSize, FormatSize(uint64(c.ShardBudget)))
	}
	return nil
}
