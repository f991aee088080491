package otel

import (
	"net/http"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"sluice/telemetry"
)

const acceptProtobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.8,text/plain;version=0.0.4;q=0.5"

// A reader discards data that comes with an error, so a late actor is not an error.
func TestLateActorDoesNotLoseData(t *testing.T) {
	r := newRig()
	r.actors["gate"].Unpark() // runs and never polls
	tel := start(t, r.config())
	r.responses("0", 4, 1000)
	body, _ := scrape(t, tel.Handler(), "/metrics", "")
	if got := line(body, `sluice_response_sent_total{shard="0"}`); got != "4" {
		t.Errorf("sent %q", got)
	}
	if got := line(body, `sluice_telemetry_stale_total{stage="gate"}`); got == "0" || got == "" {
		t.Errorf("stale %q", got)
	}
	r.actors["gate"].Park()
}

func TestSilentActorIsExported(t *testing.T) {
	r := newRig()
	r.actors["encode"].Unpark()
	v := testView(r, shape{}, deltas{})
	stand := r.clock.Now() + 7e9
	v.src.now = func() int64 { return stand }
	for _, p := range produce(t, v)[nameSilent].Data.(metricdata.Gauge[float64]).DataPoints {
		if stage, _ := p.Attributes.Value("stage"); stage.AsString() == "encode" && p.Value < 6.9 {
			t.Errorf("encode is silent for %v s", p.Value)
		}
	}
	r.actors["encode"].Park()
}

// The text format has no buckets for native histograms, so it contains classic ones.
func TestHistogramFormatFollowsAcceptHeader(t *testing.T) {
	r := newRig()
	tel := start(t, r.config())
	r.responses("0", 5, 20_000)
	const bucket = `sluice_response_duration_seconds_bucket{le="2.4576e-05"}`
	for _, c := range []struct {
		name, url, accept string
		classic, protobuf bool
	}{
		{"text", "/metrics", "text/plain", true, false},
		{"no Accept header", "/metrics", "", true, false},
		{"OpenMetrics", "/metrics", "application/openmetrics-text;version=1.0.0", true, false},
		{"protobuf", "/metrics", acceptProtobuf, false, true},
		{"protobuf, classic requested", "/metrics?histograms=classic", acceptProtobuf, true, true},
		{"text, native requested", "/metrics?histograms=native", "text/plain", false, false},
		{"text preferred", "/metrics", "application/openmetrics-text;q=.6, " +
			"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;" +
			"encoding=delimited;q=.5", true, false},
		{"text preferred, written last", "/metrics", "application/vnd.google.protobuf;" +
			"proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.4,text/plain;q=0.9",
			true, false},
		{"protobuf refused", "/metrics", "application/vnd.google.protobuf;" +
			"proto=io.prometheus.client.MetricFamily;encoding=delimited; q=0.0", true, false},
		{"another protobuf", "/metrics", "application/vnd.google.protobuf;proto=other", true, false},
		{"auto requested", "/metrics?histograms=auto", acceptProtobuf, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			body, header := scrape(t, tel.Handler(), c.url, c.accept)
			protobuf := strings.HasPrefix(header.Get("Content-Type"), "application/vnd.google.protobuf")
			if protobuf != c.protobuf {
				t.Fatalf("content type %s", header.Get("Content-Type"))
			}
			count, classic := uint64(0), 0
			if protobuf {
				h := family(t, body, "sluice_response_duration_seconds").GetMetric()[0].GetHistogram()
				count, classic = h.GetSampleCount(), len(h.GetBucket())
				if native := h.Schema != nil; native == c.classic {
					t.Errorf("native %v, classic requested %v", native, c.classic)
				}
			} else if got := line(body, bucket); (got == "5") != c.classic {
				t.Errorf("bucket %q, classic %v", got, c.classic)
			}
			if protobuf && (count != 5 || (classic > 0) != c.classic) {
				t.Errorf("count %d, %d classic buckets", count, classic)
			}
			if header.Get("Vary") == "" {
				t.Error("no Vary header: a cache would confuse the formats")
			}
		})
	}
}

func TestUnknownHistogramsParameterIsRejected(t *testing.T) {
	tel := start(t, newRig().config())
	w := newResponse(tel.Handler(), "/metrics?histograms=tall")
	if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "tall") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// If two sources use one name, the exporter responds with 500.
func TestMetricNamesAreUnique(t *testing.T) {
	seen, prom := map[string]bool{}, map[string]bool{}
	for _, i := range Instruments() {
		if seen[i.Name] || prom[promName(t, i)] {
			t.Errorf("%s (%s) twice", i.Name, promName(t, i))
		}
		seen[i.Name], prom[promName(t, i)] = true, true
		if i.Help == "" || !strings.HasSuffix(i.Help, ".") {
			t.Errorf("%s has no sentence", i.Name)
		}
	}
}

// The variable for temporality applies to OTLP only; Prometheus never receives differences.
func TestScrapesAreCumulative(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta")
	r := newRig()
	tel := start(t, r.config())
	for _, want := range []string{"2", "4", "6"} {
		r.responses("0", 2, 1000)
		r.collector.Final()
		for _, url := range []string{"/metrics", "/metrics?histograms=native"} {
			body, _ := scrape(t, tel.Handler(), url, "")
			if got := line(body, "sluice_response_duration_seconds_count"); got != want {
				t.Errorf("%s: %s, want %s", url, got, want)
			}
		}
	}
}

// Scope labels would add 85 bytes to every line; a unit of 1 would add the suffix _ratio.
func TestScrapeHasNoScopeLabelsAndNoRatioSuffix(t *testing.T) {
	body := everything(t)
	for _, bad := range []string{"otel_scope", "_ratio"} {
		for l := range strings.SplitSeq(body, "\n") {
			if strings.HasPrefix(l, "sluice_") && strings.Contains(l, bad) {
				t.Error(l)
			}
		}
	}
	if !strings.Contains(body, "target_info{") || !strings.Contains(body, "go_goroutines ") ||
		!strings.Contains(body, "process_cpu_seconds_total ") {
		t.Error("no resource, Go or process metrics")
	}
	if len(body) > 76<<10 { // scope labels would take 85 bytes a line more
		t.Errorf("a scrape of two shards is %d bytes", len(body))
	}
}

// Blocks count in 32 bits, so they are collected even if there is no reader.
func TestBlocksAreCollectedWithoutReaders(t *testing.T) {
	r := newRig()
	c := r.config()
	c.Metrics, c.CollectEvery = []string{ExporterNone}, 1e6
	start(t, c)
	r.responses("0", 9, 1000)
	for n := uint64(0); n != 9; {
		r.collector.Each(func(a *telemetry.Totals) { n += a.C[telemetry.EgressFramesSent] })
		if n != 9 {
			n = 0
		}
	}
}

// Without an exporter of traces, the boxes are not emptied and fill up. That is not a loss.
func TestFullBoxCountsAsDropOnlyIfTracesAreExported(t *testing.T) {
	for exporter, want := range map[string]string{ExporterNone: "0", ExporterConsole: "1"} {
		r := newRig()
		r.boxes = []*telemetry.TraceBox{telemetry.NewTraceBox(1)}
		c := r.config()
		c.Traces, c.Console = exporter, discard{}
		rec := sampled(r, 1)
		for range 2 { // before the trace goroutine empties the box
			r.boxes[0].TryPut(&rec)
		}
		body, _ := scrape(t, start(t, c).Handler(), "/metrics", "")
		if got := line(body, `sluice_trace_dropped_total{reason="mailbox"}`); got != want {
			t.Errorf("traces to %s: %q dropped, want %s", exporter, got, want)
		}
	}
}

func TestDisabledExportsNothing(t *testing.T) {
	t.Setenv("OTEL_SDK_DISABLED", "TRUE")
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	r := newRig()
	c, err := FromEnv(r.config())
	if err != nil {
		t.Fatal(err)
	}
	c.TraceRatio = 1
	tel := start(t, c)
	if rules := c.Rules(); rules.SampleBelow != 0 || rules.SlowNanos != 0 {
		t.Errorf("traces are sampled: %+v", rules)
	}
	if w := newResponse(tel.Handler(), "/metrics"); w.Code != http.StatusNotFound ||
		!strings.Contains(w.Body.String(), "OTEL_SDK_DISABLED") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if err := tel.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
