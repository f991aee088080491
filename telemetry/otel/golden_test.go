package otel

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/otlptranslator"

	"sluice/telemetry"
)

var update = flag.Bool("update", false, "rewrite the golden file and the table of docs/telemetry.md")

const doc = "../../docs/telemetry.md"

// everything returns a text scrape of a rig in which every series has values.
func everything(t testing.TB) string {
	r := newRig()
	c := r.config()
	c.Traces, c.Console = ExporterConsole, discard{}
	tel := start(t, c)
	for name := range r.actors {
		r.record(name, blockWithEverything)
	}
	body, _ := scrape(t, tel.Handler(), "/metrics", "")
	return body
}

var sample = regexp.MustCompile(`^(sluice_[a-z_]+)(?:\{([^}]*)\})? `)

// described lists name, kind, labels and help of each metric in a scrape.
func described(body string) string {
	labels, kind, help := map[string][]string{}, map[string]string{}, map[string]string{}
	for l := range strings.SplitSeq(body, "\n") {
		if rest, ok := strings.CutPrefix(l, "# TYPE sluice_"); ok {
			name, k, _ := strings.Cut(rest, " ")
			kind["sluice_"+name] = k
		}
		if rest, ok := strings.CutPrefix(l, "# HELP sluice_"); ok {
			name, h, _ := strings.Cut(rest, " ")
			help["sluice_"+name] = h
		}
		if m := sample.FindStringSubmatch(l); m != nil {
			name := m[1]
			if kind[name] == "" {
				name = regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
			}
			for pair := range strings.SplitSeq(m[2], ",") {
				if key, _, _ := strings.Cut(pair, "="); key != "" &&
					!slices.Contains(labels[name], key) {
					labels[name] = append(labels[name], key)
				}
			}
		}
	}
	var out strings.Builder
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for n := range kind {
			if !yield(n) {
				return
			}
		}
	}) {
		slices.Sort(labels[name])
		fmt.Fprintf(&out, "%s %s {%s} %s\n", name, kind[name], strings.Join(labels[name], ","),
			help[name])
	}
	return out.String()
}

func TestMetricsMatchGoldenFile(t *testing.T) {
	got := described(everything(t))
	const file = "testdata/metrics.golden"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("metrics differ from %s. Names are an interface; if the change is intended: go "+
			"test ./telemetry/otel -update\n%s", file, difference(string(want), got))
	}
	if n := strings.Count(got, "\n"); n != len(Instruments()) {
		t.Errorf("%d metrics scraped, %d in the table", n, len(Instruments()))
	}
}

func difference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	var out []string
	for _, l := range w {
		if !slices.Contains(g, l) {
			out = append(out, "- "+l)
		}
	}
	for _, l := range g {
		if !slices.Contains(w, l) {
			out = append(out, "+ "+l)
		}
	}
	return strings.Join(out, "\n")
}

func TestDocumentListsEveryMetric(t *testing.T) {
	const begin, end = "<!-- metrics: made by go test ./telemetry/otel -update -->\n", "<!-- end of metrics -->\n"
	text, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no table between %q and %q", doc, begin, end)
	}
	want := before + begin + metricTable(t) + end + after
	if *update {
		if err := os.WriteFile(doc, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(text) {
		t.Errorf("the table of %s differs from the code: go test ./telemetry/otel -update\n%s", doc,
			difference(string(text), want))
	}
}

// metricTable returns the table of docs/telemetry.md.
func metricTable(t testing.TB) string {
	var b strings.Builder
	b.WriteString("| Prometheus | OpenTelemetry | kind | unit | labels | meaning " +
		"|\n|---|---|---|---|---|---|\n")
	for _, i := range Instruments() {
		unit, labels := "", ""
		if i.Unit != "" {
			unit = "`" + i.Unit + "`"
		}
		if len(i.Labels) > 0 {
			labels = "`" + strings.Join(i.Labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s | %s | %s |\n", promName(t, i), i.Name, i.Kind,
			unit, labels, i.Help)
	}
	return b.String()
}

// promName returns the Prometheus name of an instrument.
func promName(t testing.TB, i Instrument) string {
	t.Helper()
	kind := map[Kind]otlptranslator.MetricType{
		Histogram:     otlptranslator.MetricTypeHistogram,
		Counter:       otlptranslator.MetricTypeMonotonicCounter,
		UpDownCounter: otlptranslator.MetricTypeNonMonotonicCounter,
		Gauge:         otlptranslator.MetricTypeGauge,
	}[i.Kind]
	namer := otlptranslator.NewMetricNamer("", otlptranslator.UnderscoreEscapingWithSuffixes)
	name, err := namer.Build(otlptranslator.Metric{Name: i.Name, Unit: i.Unit, Type: kind})
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// The number of label values must not grow with clients or time.
func TestLabelsAreBounded(t *testing.T) {
	allowed := []string{"stage", "shard", "state", "reason", "outcome", "blocker", "mailbox",
		"slot", "event", "source", "kind", "le", "peer", "lane", "limit"} // peer: a node of the cluster
	body := everything(t)
	lines := 0
	for l := range strings.SplitSeq(body, "\n") {
		if m := sample.FindStringSubmatch(l); m != nil {
			lines++
			for pair := range strings.SplitSeq(m[2], ",") {
				if key, _, _ := strings.Cut(pair, "="); key != "" && !slices.Contains(allowed, key) {
					t.Errorf("label %q of %s", key, m[1])
				}
			}
		}
	}
	if lines < 100 || lines > 1200 {
		t.Errorf("%d series of a pipeline of two shards", lines)
	}
}

// The document lists every attribute of the root span, and no others.
func TestDocumentListsEverySpanAttribute(t *testing.T) {
	text, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(text),
		"| attribute of the root | type | meaning |\n|---|---|---|\n")
	table, _, end := strings.Cut(table, "\n\n")
	if !ok || !end {
		t.Fatalf("%s has no table of attributes", doc)
	}
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z._]+)` \\| [a-z]+ \\| [^|]+ \\|$").FindAllStringSubmatch(table, -1) {
		documented = append(documented, row[1])
	}
	in, _ := traced(t, ProtocolHTTP, nil, func(r *rig) []telemetry.TraceRec {
		rec := sampled(r, 1)
		rec.Flags |= telemetry.TraceFailed
		topic := sampled(r, 2)
		topic.Flags |= telemetry.TraceTopic
		return []telemetry.TraceRec{rec, topic}
	})
	seen := map[string]bool{}
	for _, spans := range in.trees() {
		for _, s := range spans {
			for _, a := range s.Attributes {
				if seen[a.Key] = true; !slices.Contains(documented, a.Key) || s.Name != spanRoot {
					t.Errorf("span %s has the attribute %s, which %s does not list", s.Name, a.Key, doc)
				}
			}
		}
	}
	documented = slices.DeleteFunc(documented, func(key string) bool { return seen[key] })
	if len(documented) > 0 {
		t.Errorf("%s lists %q, which no span has", doc, documented)
	}
}
