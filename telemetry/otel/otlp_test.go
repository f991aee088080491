package otel

import (
	"math"
	"sync"
	"testing"

	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"

	"sluice/telemetry"
)

// An actor records during exports. The last export contains every sample.
func TestLastExportContainsEverySample(t *testing.T) {
	for _, protocol := range []string{ProtocolHTTP, ProtocolGRPC} {
		for _, temporality := range []string{"cumulative", "delta"} {
			t.Run(protocol+" "+temporality, func(t *testing.T) {
				in := receive(t, protocol)
				t.Setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", temporality)
				t.Setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
				r := newRig()
				c := r.config()
				c.Metrics = []string{ExporterOTLP}
				c, err := FromEnv(c)
				if err != nil {
					t.Fatal(err)
				}
				tel := start(t, c)
				want := recordWhile(t, r, func() {
					for range 3 {
						if err := tel.push.ForceFlush(t.Context()); err != nil {
							t.Error(err)
						}
					}
				})
				if err := tel.Shutdown(t.Context()); err != nil {
					t.Fatal(err)
				}
				sent, hist, hsum := received(in, temporality == "delta")
				if sent != int64(want) || hist != want {
					t.Errorf("recorded %d; sent %d, histogram %d", want, sent, hist)
				}
				if w := float64(want) * 2e-6; math.Abs(hsum-w) > w*1e-9 {
					t.Errorf("sum %v s, want %v", hsum, w)
				}
				if protocol == ProtocolHTTP && !in.zipped {
					t.Error("OTEL_EXPORTER_OTLP_COMPRESSION was not honored")
				}
				for _, name := range []string{"go.goroutine.count", "go.schedule.duration"} {
					if len(in.points(name)) == 0 {
						t.Errorf("no %s of the runtime", name)
					}
				}
			})
		}
	}
}

// recordWhile records responses of 2 us in a shard that never parks until f returns. It returns their
// number.
func recordWhile(t *testing.T, r *rig, f func()) (n uint64) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		a := r.actors["egress 0"]
		a.Unpark()
		defer a.Park()
		for {
			select {
			case <-stop:
				return
			default:
			}
			for range 64 {
				a.B.C[telemetry.EgressFramesSent]++
				a.B.H[telemetry.StageWhole].Record(2000)
				n++
			}
			a.Poll()
		}
	})
	f()
	close(stop)
	wg.Wait()
	return n
}

// received returns the sum of delta exports, or the last of cumulative exports.
func received(in *receiver, delta bool) (sent int64, count uint64, total float64) {
	counters, hists := in.points("sluice.response.sent"), in.points("sluice.response.duration")
	if !delta {
		counters, hists = counters[len(counters)-1:], hists[len(hists)-1:]
	}
	for _, m := range counters {
		sent += sum(m)
	}
	for _, m := range hists {
		p := m.GetExponentialHistogram().GetDataPoints()[0]
		in := p.ZeroCount
		for _, n := range p.GetPositive().GetBucketCounts() {
			in += n
		}
		if in != p.Count {
			return sent, in, 0
		}
		count += p.Count
		total += p.GetSum()
	}
	return sent, count, total
}

func TestOTLPHonorsAggregationAndResourceVariables(t *testing.T) {
	in := receive(t, ProtocolHTTP)
	t.Setenv("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "explicit_bucket_histogram")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES",
		"service.instance.id=from-env,deployment.environment.name=test")
	t.Setenv("OTEL_SERVICE_NAME", "renamed")
	r := newRig()
	c := r.config()
	c.Metrics, c.InstanceID, c.ClusterID = []string{ExporterOTLP}, "from-config", "c7"
	tel := start(t, c)
	r.responses("0", 3, 5000)
	if err := tel.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := in.points("sluice.response.duration")
	p := all[len(all)-1].GetHistogram().GetDataPoints()
	if len(p) != 1 || p[0].Count != 3 || len(p[0].ExplicitBounds) != 42 {
		t.Errorf("%v", p)
	}
	res := in.metrics[0].Resource.Attributes
	for key, want := range map[string]string{
		"service.name": "renamed", "service.instance.id": "from-env",
		"deployment.environment.name": "test",
		"sluice.cluster.id":           "c7", "service.version": "0", "service.namespace": "sluice",
	} {
		if got := attr(res, key).GetStringValue(); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	for _, key := range []string{"host.name", "process.pid"} {
		if attr(res, key) == nil {
			t.Errorf("no %s", key)
		}
	}
	conns := in.points("sluice.active_connections")[0].GetSum()
	if conns.IsMonotonic ||
		conns.AggregationTemporality != metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE {
		t.Errorf("%v", conns)
	}
}

func TestPrometheusAndOTLPExportTheSameValues(t *testing.T) {
	in := receive(t, ProtocolHTTP)
	r := newRig()
	c := r.config()
	c.Metrics = []string{ExporterPrometheus, ExporterOTLP}
	tel := start(t, c)
	r.responses("1", 11, 5000)
	r.record("egress 1", func(b *telemetry.Block) { b.Mark(telemetry.MarkBuffered, 4096) })
	if err := tel.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	body, _ := scrape(t, tel.Handler(), "/metrics", "")
	if got := line(body, `sluice_response_sent_total{shard="1"}`); got != "11" {
		t.Errorf("scraped %q", got)
	}
	if got := sum(in.points("sluice.response.sent")[0]); got != 11 {
		t.Errorf("pushed %d", got)
	}
	if got := line(body, `sluice_client_send_buffer_max_bytes{shard="1"}`); got != "4096" {
		t.Errorf("the push reset the mark of the scrape: %q", got)
	}
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.responses("1", 1, 5000)
	r.collector.Final()
	body, _ = scrape(t, tel.Handler(), "/metrics", "")
	if got := line(body, `sluice_response_sent_total{shard="1"}`); got != "12" {
		t.Errorf("scraped after Shutdown: %q; the last scrape must contain everything", got)
	}
}
