package otel

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"sluice/telemetry"
	"sluice/telemetry/otel/otlp"
)

// rig is a collector with the actors of a pipeline of two shards. The actors are parked except while
// they record.
type rig struct {
	clock     telemetry.Clock
	collector *telemetry.Collector
	actors    map[string]*telemetry.Recorder
	boxes     []*telemetry.TraceBox
}

func newRig() *rig {
	clock := telemetry.NewClock()
	r := &rig{clock: clock, collector: telemetry.NewCollector(clock),
		actors: map[string]*telemetry.Recorder{}}
	for _, name := range []string{"control", "gate", "encode"} {
		r.actors[name] = r.collector.Register(name, telemetry.NoShard)
	}
	r.actors["egress 0"], r.actors["egress 1"] = r.collector.Register("egress",
		0), r.collector.Register("egress", 1)
	for _, a := range r.actors {
		a.Park()
	}
	r.boxes = []*telemetry.TraceBox{telemetry.NewTraceBox(1024), telemetry.NewTraceBox(1024)}
	for id := range telemetry.GaugeID(telemetry.NumGauges) {
		if _, ok := mailboxGauges()[id]; ok {
			continue // exported as a mailbox
		}
		shard, value := telemetry.NoShard, ""
		for _, row := range gaugeRows() {
			if row.from == id.Info().Name && slices.Contains(row.Labels, "shard") {
				shard = 0
			}
		}
		if id.Info().Label != "" {
			value = "0"
		}
		r.collector.Gauge(id, shard, value, func() float64 { return 2 })
	}
	return r
}

// record unparks an actor, calls f with its block and parks it.
func (r *rig) record(actor string, f func(b *telemetry.Block)) {
	a := r.actors[actor]
	a.Unpark()
	f(a.B)
	a.Park()
}

// responses records n responses sent by a shard, each taking ns.
func (r *rig) responses(shard string, n int, ns uint64) {
	r.record("egress "+shard, func(b *telemetry.Block) {
		b.C[telemetry.EgressFramesSent] += uint64(n)
		b.C[telemetry.EgressSlots] += uint64(n)
		b.H[telemetry.StageWhole].RecordN(ns, uint32(n))
		b.H[telemetry.StageSend].RecordN(ns/2, uint32(n))
		b.Batch.Record(uint64(n))
	})
}

// config returns a configuration for the rig that does not log.
func (r *rig) config() Config {
	return Config{
		OTLP:      otlp.Exporters{},
		Collector: r.collector, Clock: r.clock, Boxes: r.boxes, ClusterID: "test",
		Log:            slog.New(slog.DiscardHandler),
		ServiceVersion: "0", ShutdownTimeout: 10 * time.Second, CollectEvery: time.Minute,
	}
}

// start starts telemetry and shuts it down at the end of the test.
func start(t testing.TB, c Config) *Telemetry {
	t.Helper()
	tel, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tel.Shutdown(t.Context()) })
	return tel
}

// scrape requests url as a scraper does.
func scrape(t testing.TB, h http.Handler, url, accept string) (body string, header http.Header) {
	t.Helper()
	req := httptest.NewRequest(http.MethodGet, url, nil)
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	b, _ := io.ReadAll(w.Result().Body)
	if w.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", url, w.Code, b)
	}
	return string(b), w.Header()
}

// line returns the value of a series in the text format, "" if it is absent.
func line(body, series string) string {
	for l := range strings.SplitSeq(body, "\n") {
		if v, ok := strings.CutPrefix(l, series+" "); ok {
			return v
		}
	}
	return ""
}

// discard is a writer that discards everything.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// blockWithEverything sets every value of a block.
func blockWithEverything(b *telemetry.Block) {
	for s := range b.H {
		b.H[s].Record(uint64(s+1) * 1000)
	}
	b.Batch.Record(3)
	for c := range b.C {
		if telemetry.Counter(c) != telemetry.CloseNone.Counter() {
			b.C[c]++
		}
	}
	for m := range b.M {
		b.Mark(telemetry.Mark(m), 5)
	}
}

// newResponse calls a handler and returns its response.
func newResponse(h http.Handler, url string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, url, nil))
	return w
}

// family returns a metric family of a protobuf scrape.
func family(t testing.TB, body, name string) *dto.MetricFamily {
	t.Helper()
	decoder := expfmt.NewDecoder(strings.NewReader(body), expfmt.NewFormat(expfmt.TypeProtoDelim))
	for {
		f := new(dto.MetricFamily)
		if err := decoder.Decode(f); err != nil {
			t.Fatalf("no %s: %v", name, err)
		}
		if f.GetName() == name {
			return f
		}
	}
}

// lockedBuffer is a buffer that several goroutines may write.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
