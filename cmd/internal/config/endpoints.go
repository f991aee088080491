package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/transport"
	"sluice/transport/listen"
)

// Endpoints bounds what clients may do, by connection, address and listener, and how a drain closes them.
type Endpoints struct {
	RequestRate    string   // of a connection, as ParseRate reads it
	ConnectRate    string   // of an address
	ListenerLimits []string // slow-client limits of single addresses, as parseLimits reads them
	DrainSpread    time.Duration
}

func defaultEndpoints() Endpoints { return Endpoints{DrainSpread: time.Second} }

// settings are listed under Clients.
func (e *Endpoints) settings() []Setting {
	return []Setting{
		{Name: "request-rate", Reload: true, Value: Checked(&e.RequestRate, "N/BURST", checkRate),
			Help: "requests a second of one connection, and how many at once; above it a request is answered ServerBusy; empty for no limit"},
		{Name: "connect-rate", Reload: true, Value: Checked(&e.ConnectRate, "N/BURST", checkRate),
			Help: "connections a second from one address (IPv6: a /64), and how many at once; above it they are closed at once; empty for no limit"},
		{Name: "listener-limits", Reload: true, Value: limitList{&e.ListenerLimits},
			Help: "other slow-client limits for single addresses: address=hard/soft/soft-for/no-progress, as /run/sluice/clients=4MiB/1MiB/2s/10s"},
		{Name: "drain-spread", Value: Duration(&e.DrainSpread, time.Nanosecond, time.Hour),
			Help: "time over which a drain closes connections, so that clients do not all come back at once; at most a third of drain"},
	}
}

// Rates are RequestRate and ConnectRate.
func (e *Endpoints) Rates() (requests, connects listen.Rate) {
	requests, _ = ParseRate(e.RequestRate) // were checked when they were set
	connects, _ = ParseRate(e.ConnectRate)
	return requests, connects
}

// ByListener gives the limits of the addresses that have their own.
func (e *Endpoints) ByListener() map[string]transport.Limits {
	all := make(map[string]transport.Limits)
	for _, text := range e.ListenerLimits {
		address, l, err := parseLimits(text)
		if err == nil { // were checked when they were set
			all[address] = l
		}
	}
	return all
}

// ParseRate reads 1000/2000: so many a second, and so many at once. Empty is no limit.
func ParseRate(text string) (r listen.Rate, err error) {
	if text == "" {
		return r, nil
	}
	rate, burst, _ := strings.Cut(text, "/")
	per, rateErr := strconv.ParseFloat(rate, 64)
	n, burstErr := strconv.Atoi(burst)
	if rateErr != nil || burstErr != nil || !(per >= 0.001 && per <= 1e9) || n < 1 || n > 1<<30 {
		return r, errors.New("write so many a second and so many at once, as 1000/2000")
	}
	return listen.Rate{PerSecond: per, Burst: n}, nil
}

func checkRate(text string) error {
	_, err := ParseRate(text)
	return err
}

// parseLimits reads address=hard/soft/soft-for/no-progress. An address may hold any sign, so the last = counts.
func parseLimits(text string) (address string, l transport.Limits, err error) {
	at := strings.LastIndexByte(text, '=')
	parts := strings.Split(text[at+1:], "/")
	if at < 1 || len(parts) != 4 {
		return "", l, fmt.Errorf("write address=hard/soft/soft-for/no-progress, as /run/sluice/clients=4MiB/1MiB/2s/10s, and not %q", text)
	}
	for i, v := range []Value{
		Size(&l.HardBytes, 512, 64<<20), Size(&l.SoftBytes, 1, 64<<20), Duration(&l.SoftFor, time.Millisecond, time.Hour), Duration(&l.NoProgress, time.Millisecond, time.Hour),
	} {
		if err := v.Set(strings.TrimSpace(parts[i])); err != nil {
			return "", l, fmt.Errorf("%q: %w", parts[i], err)
		}
	}
	if l.SoftBytes > l.HardBytes {
		return "", l, fmt.Errorf("in %q the soft limit is above the hard one", text)
	}
	return text[:at], l, nil
}

// limitList is a list of which each part is checked.
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
		switch {
		case !slices.Contains(c.TCP, address) && !slices.Contains(c.Unix, address):
			return Usagef("--listener-limits names %q, which is no address of --listen-tcp or --listen-unix", address)
		case l.HardBytes < c.FrameMax+5:
			return Usagef("--listener-limits of %q: the hard limit is %s and --frame-max %s: a client must be able to hold one frame", address,
				FormatSize(uint64(l.HardBytes)), FormatSize(uint64(c.FrameMax)))
		case int64(l.HardBytes) > c.ShardBudget:
			return Usagef("--listener-limits of %q: the hard limit is %s and --shard-budget %s: one client could take more than its shard has", address,
				FormatSize(uint64(l.HardBytes)), FormatSize(uint64(c.ShardBudget)))
		}
	}
	return nil
}
