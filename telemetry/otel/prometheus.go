package otel

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/otlptranslator"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
)

// scrapeHandler serves /metrics from two registries: one whose histograms have explicit buckets, one
// whose histograms are native. A registry cannot have both, and a native histogram has neither buckets
// nor quantiles in the text format.
type scrapeHandler struct {
	classic, native http.Handler
	histograms      string
}

func newScrapeHandler(src *source, c *Config, res *resource.Resource) (*scrapeHandler, error) {
	s := &scrapeHandler{histograms: c.Histograms}
	// The time that runnable goroutines wait for a processor is what a busy machine adds to every stage.
	waits := collectors.GoRuntimeMetricsRule{Matcher: regexp.MustCompile("^/sched/latencies:seconds$")}
	for _, r := range []struct {
		to    *http.Handler
		shape shape
	}{{&s.classic, shape{}}, {&s.native, shape{exponential: true, scale: c.Scale}}} {
		registry := prometheus.NewRegistry()
		registry.MustRegister(collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(waits)), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
		if c.Build != nil {
			registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sluice_build_info",
				Help: "What the program was built from, as labels; always 1.", ConstLabels: c.Build},
				func() float64 { return 1 }))
		}
		exporter, err := otelprom.New(
			otelprom.WithRegisterer(registry),
			otelprom.WithProducer(newView(src, r.shape, deltas{})),
			otelprom.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes),
			otelprom.WithoutScopeInfo(),
		)
		if err != nil {
			return nil, fmt.Errorf("otel: prometheus exporter: %w", err)
		}
		// The exporter is a reader; a reader works once it is registered with a provider. It has
		// no resources to close, so /metrics is served until the process ends.
		metric.NewMeterProvider(metric.WithResource(res), metric.WithReader(exporter))
		*r.to = promhttp.HandlerFor(registry, promhttp.HandlerOpts{
			ErrorLog:            slogPrinter{c.Log},
			ErrorHandling:       promhttp.ContinueOnError,
			EnableOpenMetrics:   true,
			MaxRequestsInFlight: 4,
		})
	}
	return s, nil
}

// ServeHTTP serves native histograms to scrapers that prefer protobuf, and classic ones to all others.
// ?histograms=classic or ?histograms=native overrides that.
func (s *scrapeHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	want := r.URL.Query().Get("histograms")
	switch want {
	case "", HistogramsAuto:
		want = s.histograms
	case HistogramsClassic, HistogramsNative:
	default:
		http.Error(w, fmt.Sprintf("histograms is %q; use auto, classic or native", want),
			http.StatusBadRequest)
		return
	}
	accept := withoutRefused(r.Header)
	r = r.Clone(r.Context())
	r.Header["Accept"] = accept
	if want == HistogramsAuto {
		want = HistogramsClassic
		// The function that the handlers below choose the format by.
		format := expfmt.NegotiateAccept(r.Header, expfmt.DefaultOpenMetricsAcceptedFormats()...)
		if format.FormatType() == expfmt.TypeProtoDelim {
			want = HistogramsNative
		}
	}
	w.Header().Add("Vary", "Accept")
	if want == HistogramsNative {
		s.native.ServeHTTP(w, r)
		return
	}
	s.classic.ServeHTTP(w, r)
}

// withoutRefused returns the Accept header without media ranges of weight 0, which the negotiation
// below takes for the last choice instead of for none.
func withoutRefused(h http.Header) (kept []string) {
	for part := range strings.SplitSeq(strings.Join(h.Values("Accept"), ","), ",") {
		refused := false
		for parameter := range strings.SplitSeq(part, ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
			q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			refused = refused || strings.EqualFold(name, "q") && err == nil && q == 0
		}
		if !refused {
			kept = append(kept, part)
		}
	}
	return []string{strings.Join(kept, ",")}
}
