package config

import (
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"sluice/actors/node/observe"
	"sluice/telemetry/otel"
	"sluice/transport/listen"
)

// Observe is how a server is looked at.
type Observe struct {
	Admin         string // host:port of the live page, /metrics and the other pages; empty: none
	AdminInsecure bool   // allow an address beyond this machine
	AdminSocket   string // path of the unix socket that also takes commands; empty: none
	Pprof         bool   // profiles at /debug/pprof/

	Histograms   string        // form of histograms at /metrics
	TraceRatio   string        // of answers that are traced, 0 to 1
	TraceSlow    time.Duration // the slowest answer of a flush is traced when it took longer
	TracesPerSec int           // traces a second at most

	Flight     bool          // Go's flight recorder runs
	FlightSlow time.Duration // its recording is kept when an answer took longer
	TraceDir   string        // of the recordings; empty: traces in the data directory
}

func defaultObserve() Observe {
	return Observe{
		Admin: observe.DefaultAddress, Histograms: otel.HistogramsAuto,
		TraceRatio: "0", TraceSlow: otel.DefaultTraceSlow, TracesPerSec: otel.DefaultTracesPerSecond,
		FlightSlow: 100 * time.Millisecond,
	}
}

// Ratio is TraceRatio as a number.
func (o *Observe) Ratio() float64 {
	ratio, _ := strconv.ParseFloat(o.TraceRatio, 64) // was checked when it was set
	return ratio
}

// FlightDir is where flight recordings are kept.
func (c *Server) FlightDir() string {
	if c.TraceDir != "" {
		return c.TraceDir
	}
	return filepath.Join(c.DataDir, "traces")
}

// settings are listed under Observation.
func (o *Observe) settings() []Setting {
	return []Setting{
		{Name: "admin-addr", Value: Text(&o.Admin, "ADDR"), Help: "live page for browsers and `sluice top`, /metrics, /readyz and more, for reading only; empty for none, port 0 for any free port"},
		{Name: "admin-insecure", Value: Bool(&o.AdminInsecure), Help: "allow an --admin-addr beyond this machine: everyone who reaches it sees who is connected"},
		{Name: "admin-socket", Value: Text(&o.AdminSocket, "PATH"), Help: "unix-domain socket with the same pages, and commands, for this user only"},
		{Name: "pprof", Value: Bool(&o.Pprof), Help: "profiles at /debug/pprof/ of the admin address"},
		{Name: "metrics-histograms", Value: Checked(&o.Histograms, "auto|classic|native", checkHistograms),
			Help: "histograms at /metrics: native for who accepts protobuf and classic for others (auto), or one of them for all"},
		{Name: "trace-ratio", Value: Checked(&o.TraceRatio, "RATIO", checkRatio), Help: "part of all answers that is traced, 0 to 1; OTEL_EXPORTER_OTLP_ENDPOINT says where traces go, and without it nothing is traced"},
		{Name: "trace-slow", Value: Duration(&o.TraceSlow, time.Microsecond, time.Hour), Help: "the slowest answer of a flush is traced, too, when it took longer"},
		{Name: "trace-max-per-sec", Value: Count(&o.TracesPerSec, 1, 1_000_000, false), Help: "traces a second at most, ten times as many with a sampled parent"},
		{Name: "flight-recorder", Value: Bool(&o.Flight), Help: "Go's flight recorder remembers the last seconds of the scheduler; GET /debug/flight of the admin address gives them to `go tool trace`"},
		{Name: "flight-slow", Value: Duration(&o.FlightSlow, time.Microsecond, time.Hour), Help: "the flight recording is kept when an answer took longer, or has waited for longer; at most one in 30s, the last 8"},
		{Name: "trace-dir", Value: Text(&o.TraceDir, "DIR"), Help: "flight recordings; empty is traces in the data directory"},
	}
}

// validate refuses an address that would show strangers who is connected, and a socket that cannot be.
func (o *Observe) validate() error {
	if o.AdminSocket != "" {
		if err := listen.CheckSocketPath(o.AdminSocket); err != nil {
			return Usagef("--admin-socket: %v", err)
		}
	}
	if o.Admin == "" {
		return nil
	}
	host, err := checkAddress("--admin-addr", o.Admin, observe.DefaultAddress)
	if err != nil {
		return err
	}
	if !o.AdminInsecure && !loopback(host) {
		return Usagef("--admin-addr is %q, which others can reach, and its pages show who is connected to everyone who asks: "+
			"listen on 127.0.0.1 or [::1], or accept it with --admin-insecure", o.Admin)
	}
	return nil
}

func checkHistograms(text string) error {
	switch text {
	case otel.HistogramsAuto, otel.HistogramsClassic, otel.HistogramsNative:
		return nil
	}
	return fmt.Errorf("write auto, classic or native")
}

func checkRatio(text string) error {
	if ratio, err := strconv.ParseFloat(text, 64); err != nil || !(ratio >= 0 && ratio <= 1) {
		return fmt.Errorf("write a number from 0 to 1, as 0.001")
	}
	return nil
}
