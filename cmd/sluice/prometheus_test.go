package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// prometheus is a running Prometheus with the shipped alerts. It scrapes one server.
type prometheus struct {
	t    *testing.T
	base string
}

// watching starts a Prometheus that scrapes a server at an interval, which is also the timeout, and
// evaluates the alerts twice per second. It ends with the test.
func watching(t *testing.T, target string, every time.Duration, flags ...string) *prometheus {
	t.Helper()
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("prometheus is not installed: .ci/prometheus installs Debian's")
	}
	rules, err := filepath.Abs("../../deploy/prometheus/rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf("global: {scrape_interval: %v, scrape_timeout: %v, evaluation_interval: "+
		"500ms}\nrule_files: [%q]\n"+
		"scrape_configs:\n- job_name: sluice\n  static_configs: [{targets: [%q]}]\n", every, every, rules, target)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	running(t, program, append([]string{"--config.file=" + config,
		"--storage.tsdb.path=" + filepath.Join(dir, "data"),
		"--web.listen-address=" + address}, flags...)...)
	return &prometheus{t, "http://" + address}
}

// value returns the result of a query with one sample.
func (p *prometheus) value(query string) (float64, error) {
	var answer struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet,
		p.base+"/api/v1/query?"+url.Values{"query": {query}}.Encode(), nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return 0, err
	}
	if n := len(answer.Data.Result); response.StatusCode != http.StatusOK || n != 1 {
		return 0, fmt.Errorf("%s: %s, %d samples", query, response.Status, n)
	}
	return strconv.ParseFloat(fmt.Sprint(answer.Data.Result[0].Value[1]), 64)
}

// becomes waits until a query has the wanted result.
func (p *prometheus) becomes(query string, want float64) {
	p.t.Helper()
	until(p.t, query, func() error {
		got, err := p.value(query)
		if err == nil && got != want {
			err = fmt.Errorf("got %v, want %v", got, want)
		}
		return err
	})
}

// Clients trade with a running server while Prometheus scrapes it, as text and as protobuf with
// native histograms. In the end its query API returns exactly the requests, responses and bytes
// that the clients counted.
func TestPrometheusMatchesClientCounts(t *testing.T) {
	t.Parallel() // Prometheus scrapes its target only after 5 s
	p, address := serving(t, t.TempDir(), "--heartbeat", "1h", "--shards", "3")
	watchers := map[string]*prometheus{
		"text, classic histograms": watching(t, p.page(), 2*time.Second),
		"protobuf, native histograms": watching(t, p.page(), 2*time.Second,
			"--enable-feature=native-histograms"),
	}
	clients, scraped := make([]*trader, 6), make(chan struct{})
	var all sync.WaitGroup
	for i := range clients {
		r := trading(t, address, i)
		clients[i] = r
		all.Go(func() {
			pace := time.NewTicker(20 * time.Millisecond) // leaves CPU for the scrapes
			defer pace.Stop()
			for enough := false; !enough; <-pace.C {
				r.meets(20)
				for r.ended < r.asked && r.next() {
				}
				if r.ended < r.asked {
					t.Errorf("a connection ended with %d of %d requests answered", r.ended, r.asked)
					return
				}
				select {
				case <-scraped:
					enough = true
				default:
				}
			}
		})
	}
	for _, w := range watchers {
		until(t, "a scrape while clients trade", func() error {
			n, err := w.value("sum(sluice_response_sent_total)")
			if err == nil && n == 0 {
				err = fmt.Errorf("no frame is sent yet")
			}
			return err
		})
	}
	close(scraped)
	all.Wait()
	clients[0].rests(1) // after the trades, one order that does not trade
	clients[0].settle()
	sum := totals(clients)
	t.Logf("%d requests, %d responses, %d bytes", sum.asked, sum.frames, sum.bytes)
	if sum.frames < sum.asked*5/3 { // accepted, accepted, two fills and a position for three requests
		t.Errorf("%d responses to %d requests: the orders did not trade", sum.frames, sum.asked)
	}
	for name, w := range watchers {
		t.Run(name, func(t *testing.T) {
			w.t = t
			count := "sluice_response_duration_seconds_count"
			if name != "text, classic histograms" {
				count = "histogram_count(sluice_response_duration_seconds)"
			}
			queries := (sum.asked - 1) / 3
			for query, want := range map[string]uint64{
				"sum(sluice_response_sent_total)":            sum.frames,
				"sum(sluice_response_sent_size_bytes_total)": sum.bytes,
				"sum(sluice_gate_released_total)":            sum.frames,
				"sum(sluice_encode_size_bytes_total)":        sum.bytes,
				"sum(sluice_response_dropped_total)":         0,
				count:                                        sum.frames,
				"sluice_listener_requests_total":             sum.asked,
				"sluice_sequencer_queries_total":             queries,
				"sluice_sequencer_events_total":              sum.asked - queries,
				"sluice_active_connections":                  uint64(len(clients)),
				"sum(sluice_egress_connections)":             uint64(len(clients)),
				"count(sluice_response_sent_total)":          3,
			} {
				w.becomes(query, float64(want))
			}
		})
	}
	for name, w := range watchers {
		t.Run("dashboard, "+name, func(t *testing.T) { w.t = t; w.shows(p.page()) })
	}
	p.signal(syscall.SIGTERM)
	p.ends(0, "drained in")
}

// shows checks that each query of the shipped dashboard has a result for a server.
func (p *prometheus) shows(instance string) {
	p.t.Helper()
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	text, err := os.ReadFile("../../deploy/grafana/dashboards/sluice.json")
	if err == nil {
		err = json.Unmarshal(text, &dashboard)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	given, queries := strings.NewReplacer("$__rate_interval", "1m", "$job", "sluice", "$instance",
		instance), 0
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			if strings.Contains(target.Expr, "sluice_replica_lag") || strings.Contains(target.Expr, "sluice_cluster_") {
				continue // this server is no member of a cluster
			}
			queries++
			query := "count(" + given.Replace(target.Expr) + ")"
			if n, err := p.value(query); err != nil || n == 0 {
				p.t.Errorf("panel %q is empty: %v", panel.Title, err)
			}
		}
	}
	if queries < 40 {
		p.t.Errorf("%d queries", queries)
	}
}
