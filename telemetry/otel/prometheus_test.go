package otel

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/telemetry"
)

// server is a running Prometheus that scrapes one target.
type server struct {
	t    *testing.T
	base string
}

// prometheusOf starts Debian's Prometheus and stops it at the end of the test.
func prometheusOf(t *testing.T, target, params string, flags ...string) *server {
	t.Helper()
	program := tool(t, "prometheus")
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	rules, err := filepath.Abs(deploy + "/prometheus/rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("global: {scrape_interval: 1s, scrape_timeout: 1s, "+
		"evaluation_interval: 250ms}\nrule_files: [%q]\nscrape_configs:\n- job_name: sluice\n%s  "+
		"static_configs: [{targets: [%q]}]\n", rules, params, target)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"--config.file=" + config,
		"--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:0"}, flags...)
	log := new(lockedBuffer)
	cmd := exec.Command(program, args...)
	cmd.Stderr = log
	endWithTest(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("prometheus:\n%s", log)
		}
	})
	for deadline := time.After(patience); ; {
		if at := listening.FindStringSubmatch(log.String()); at != nil {
			return &server{t: t, base: "http://" + at[1]}
		}
		select {
		case <-deadline:
			t.Fatal("Prometheus does not listen")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// listening finds the address in Prometheus's log.
var listening = regexp.MustCompile(`msg="Listening on" address=(\S+)`)

// patience is how long tests wait for Prometheus.
const patience = 2 * time.Minute

// get queries the HTTP API. It returns false if there is no valid response.
func (s *server) get(path string, query url.Values, into any) bool {
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet,
		s.base+path+"?"+query.Encode(), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	return res.StatusCode == http.StatusOK && json.NewDecoder(res.Body).Decode(into) == nil
}

// value evaluates an instant query with one sample as its result.
func (s *server) value(query string) (v float64, ok bool) {
	var answer struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	if !s.get("/api/v1/query", url.Values{"query": {query}}, &answer) || len(answer.Data.Result) != 1 {
		return 0, false
	}
	v, err := strconv.ParseFloat(fmt.Sprint(answer.Data.Result[0].Value[1]), 64)
	return v, err == nil
}

// wait repeats the query until its value is the wanted one.
func (s *server) wait(query string, want float64) {
	s.t.Helper()
	deadline := time.After(patience)
	for {
		got, ok := s.value(query)
		if ok && got == want {
			return
		}
		select {
		case <-deadline:
			s.t.Errorf("%s is %v (%v), want %v", query, got, ok, want)
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// serve starts telemetry behind a real listener and returns its address.
func serve(t *testing.T, r *rig, change func(*Config)) string {
	t.Helper()
	c := r.config()
	if change != nil {
		change(&c)
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", start(t, c).Handler())
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// A running shard records while Prometheus scrapes. In the end its query API returns exactly what was
// recorded, for text and for protobuf.
func TestPrometheusCountsMatchRecordedCounts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, params, count, sum, median string
		flags                            []string
	}{
		{"text, classic histograms", "", "sluice_response_duration_seconds_count",
			"sluice_response_duration_seconds_sum",
			"histogram_quantile(0.5, sluice_response_duration_seconds_bucket)", nil},
		{
			"protobuf, native histograms", "", "histogram_count(sluice_response_duration_seconds)",
			"histogram_sum(sluice_response_duration_seconds)",
			"histogram_quantile(0.5, sluice_response_duration_seconds)",
			[]string{"--enable-feature=native-histograms"},
		},
		{
			"protobuf, classic histograms requested", "  params: {histograms: [classic]}\n",
			"sluice_response_duration_seconds_count", "sluice_response_duration_seconds_sum",
			"histogram_quantile(0.5, sluice_response_duration_seconds_bucket)",
			[]string{"--enable-feature=native-histograms"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // Prometheus starts to scrape after 5 s
			r := newRig()
			r.record("egress 1", func(b *telemetry.Block) { // a value that exists before the shard records
				b.C[telemetry.DropSlowClient.Counter()] += 5
			})
			p := prometheusOf(t, serve(t, r, nil), c.params, c.flags...)
			want := recordWhile(t, r,
				func() { p.wait(`sum(sluice_response_dropped_total)`, 5); p.waitScrapes(3) })
			p.wait(`sum(sluice_response_sent_total)`, float64(want))
			p.wait(`sluice_response_sent_total{shard="0"}`, float64(want))
			p.wait(`sluice_response_dropped_total{reason="slow_client"}`, 5)
			p.wait(c.count, float64(want))
			p.wait(c.sum+" * 1e9", float64(want*2000)/1e9*1e9)
			if median, ok := p.value(c.median); !ok || median < 1.5e-6 || median > 2.2e-6 {
				t.Errorf("median %v s of responses that took 2 us", median)
			}
			p.wait(`up`, 1)
			p.wait(`count(target_info{service_name="sluice"})`, 1)
		})
	}
}

// waitScrapes waits for n more scrapes.
func (s *server) waitScrapes(n int) {
	s.t.Helper()
	last, deadline := "", time.After(30*time.Second)
	for n >= 0 {
		var answer struct {
			Data struct {
				ActiveTargets []struct{ LastScrape, LastError string }
			}
		}
		if s.get("/api/v1/targets", nil, &answer) && len(answer.Data.ActiveTargets) == 1 {
			a := answer.Data.ActiveTargets[0]
			if a.LastScrape != last && !strings.HasPrefix(a.LastScrape, "0001") {
				last = a.LastScrape
				n--
			}
		}
		select {
		case <-deadline:
			s.t.Fatal("Prometheus does not scrape")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestPrometheusStoresExemplars(t *testing.T) {
	t.Parallel()
	r := newRig()
	target := serve(t, r, func(c *Config) { c.Traces, c.Console = ExporterConsole, discard{} })
	rec := sampled(r, 4711) // after the start: older exemplars are not exported
	r.record("egress 0", func(b *telemetry.Block) {
		b.H[telemetry.StageWhole].Record(uint64(rec.AfterNanos[telemetry.PointCompleted]))
	})
	p := prometheusOf(t, target, "", "--enable-feature=exemplar-storage")
	r.boxes[0].TryPut(&rec)
	want, _ := newIDsOf("test", &rec).NewIDs(context.Background())
	deadline := time.After(patience)
	for {
		var answer struct {
			Data []struct {
				Exemplars []struct{ Labels map[string]string }
			}
		}
		now := time.Now()
		p.get("/api/v1/query_exemplars", url.Values{
			"query": {"sluice_response_duration_seconds_bucket"},
			"start": {now.Add(-time.Hour).Format(time.RFC3339)},
			"end":   {now.Add(time.Minute).Format(time.RFC3339)},
		}, &answer)
		if len(answer.Data) > 0 && len(answer.Data[0].Exemplars) > 0 {
			if got := answer.Data[0].Exemplars[0].Labels["trace_id"]; got != want.String() {
				t.Errorf("trace %s, want %s", got, want)
			}
			return
		}
		select {
		case <-deadline:
			t.Fatal("Prometheus has no exemplar")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// A gate that never opens fires the shipped alert in Prometheus.
func TestWedgedGateAlertFires(t *testing.T) {
	t.Parallel()
	r := newRig() // its gauges read 2: the oldest response has waited 2 s
	p := prometheusOf(t, serve(t, r, nil), "")
	p.wait("sluice_gate_oldest_age_seconds", 2)
	p.wait(`count(ALERTS{alertname="SluiceGateWedged",alertstate="firing"})`, 1)
}

// newIDsOf returns the id generator for a record's trace.
func newIDsOf(cluster string, rec *telemetry.TraceRec) *ids {
	g := newIDs(cluster)
	g.begin(rec, 0)
	return g
}
