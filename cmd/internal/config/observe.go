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

// Observe is the configuration of the admin endpoints, metrics, traces and flight recorder.
type Observe struct {
	Admin         string // host:port of the live page, /metrics and the other pages; "" for none
	AdminInsecure bool   // allows an Admin address that other machines can reach
	AdminTLS      string // host:port of the same pages and commands over TLS; "" for none
	AdminToken    string // path of the token for AdminTLS
	Metrics       string // host:port of /metrics alone; "" for none
	AdminSocket   string // path of the unix-domain socket that also accepts commands; "" for none
	Pprof         bool   // serves profiles at /debug/pprof/

	Histograms   string        // form of histograms at /metrics
	TraceRatio   string        // share of responses that are traced, 0 to 1
	TraceSlow    time.Duration // the slowest response of a flush is traced if it took longer
	TracesPerSec int           // most traces per second

	Flight     bool          // runs Go's flight recorder
	FlightSlow time.Duration // its recording is saved if a response took longer
	TraceDir   string        // directory of the recordings; "" for traces in the data directory
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
	ratio, _ := strconv.ParseFloat(o.TraceRatio, 64) // checked when it was set
	return ratio
}

// FlightDir is the directory of flight recordings.
func (c *Server) FlightDir() string {
	if c.TraceDir != "" {
		return c.TraceDir
	}
	return filepath.Join(c.DataDir, "traces")
}

// settings are the group Observation of the help text.
func (o *Observe) settings() []Setting {
	return []Setting{
		{Name: "admin-address", Former: "admin-addr", Value: Text(&o.Admin, "ADDR"),
			Help: "serve the live page for browsers and `sluice top`, /metrics, /readyz and more " +
				"on this host:port, read-only; " +
				"empty for none, port 0 for any free port"},
		{Name: "admin-insecure", Value: Bool(&o.AdminInsecure),
			Help: "allow an --admin-address that other machines can reach; its pages show all " +
				"connected clients"},
		{Name: "admin-tls", Value: Text(&o.AdminTLS, "ADDR"),
			Help: "serve the same pages and accept commands over TLS on this host:port, with the certificate of " +
				"--tls-cert, for clients with the token of --admin-token-file or the certificate of an operator; empty " +
				"for none"},
		{Name: "admin-token-file", Value: Text(&o.AdminToken, "FILE"),
			Help: "accept the token in this file, of at least 32 characters, on --admin-tls; SIGHUP reads it again"},
		{Name: "admin-socket", Value: Text(&o.AdminSocket, "PATH"),
			Help: "serve the same pages and accept commands on this unix-domain socket, for this " +
				"user only; empty for none"},
		{Name: "metrics-address", Value: Text(&o.Metrics, "ADDR"),
			Help: "serve /metrics, and no other page, on this host:port, which other machines may reach: they " +
				"name no client; empty for none"},
		{Name: "pprof", Value: Bool(&o.Pprof),
			Help: "serve profiles at /debug/pprof/ of the admin address"},
		{Name: "metrics-histograms", Value: Checked(&o.Histograms, "auto|classic|native",
			checkHistograms),
			Help: "write histograms at /metrics in this form; auto is native for scrapers that " +
				"accept protobuf and classic for others"},
		{Name: "trace-ratio", Value: Checked(&o.TraceRatio, "RATIO", checkRatio),
			Help: "trace this share of all responses, 0 to 1; OTEL_EXPORTER_OTLP_ENDPOINT names " +
				"the collector, " +
				"and without it nothing is traced"},
		{Name: "trace-slow", Value: Duration(&o.TraceSlow, time.Microsecond, time.Hour),
			Help: "trace the slowest response of a flush as well, if it took longer than this"},
		{Name: "trace-max-per-sec", Value: Count(&o.TracesPerSec, 1, 1_000_000, false),
			Help: "export at most N traces per second, and N more of requests that came with a " +
				"sampled parent"},
		{Name: "flight-recorder", Value: Bool(&o.Flight),
			Help: "run Go's flight recorder, which keeps the last seconds of the scheduler in " +
				"memory; " +
				"GET /debug/flight of the admin address returns them for `go tool trace`; not with --cluster"},
		{Name: "flight-slow", Value: Duration(&o.FlightSlow, time.Microsecond, time.Hour),
			Help: fmt.Sprintf("save the flight recording when a response takes or has waited "+
				"longer than this; "+
				"at most one every %s, and the last %d are kept",
				FormatDuration(observe.FlightEvery), observe.FlightKeep)},
		{Name: "trace-dir", Value: Text(&o.TraceDir, "DIR"),
			Help: "keep flight recordings in this directory; empty for traces in the data directory"},
	}
}

// validate rejects an address whose pages other machines could read, and a socket that cannot
// exist.
func (o *Observe) validate(c *Server) error {
	switch {
	case o.AdminTLS == "" && o.AdminToken != "":
		return Usagef("--admin-token-file is for --admin-tls, which is empty")
	case o.AdminTLS != "" && (c.Cert == "" || c.Key == ""):
		return Usagef("--admin-tls needs a certificate: name it with --tls-cert, and its key with --tls-key")
	case o.AdminTLS != "" && o.AdminToken == "" && c.Keys == "":
		return Usagef("--admin-tls would serve no client: name a token with --admin-token-file, or keys of operators with " +
			"--authorized-keys")
	case o.AdminTLS != "":
		if _, err := checkAddress("--admin-tls", o.AdminTLS, "0.0.0.0:9466"); err != nil {
			return err
		}
	}
	if o.AdminSocket != "" {
		if err := listen.CheckSocketPath(o.AdminSocket); err != nil {
			return Usagef("--admin-socket: %v", err)
		}
	}
	if o.Metrics != "" {
		if _, err := checkAddress("--metrics-address", o.Metrics, "0.0.0.0:9465"); err != nil {
			return err
		}
	}
	if o.Admin == "" {
		return nil
	}
	host, err := checkAddress("--admin-address", o.Admin, observe.DefaultAddress)
	if err != nil {
		return err
	}
	if !o.AdminInsecure && !loopback(host) {
		return Usagef("--admin-address is %q, which other machines can reach, and its pages show "+
			"all connected clients: "+
			"listen on 127.0.0.1 or [::1], serve them with --admin-tls, or accept it with --admin-insecure", o.Admin)
	}
	return nil
}

// Exposed says what other machines can see at the admin address; empty if nothing.
func (o *Observe) Exposed() []string {
	return observe.Exposure(o.Admin)
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
		return fmt.Errorf("write a number from 0 to 1, such as 0.001")
	}
	return nil
}
