package observe

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/transport"
)

// scraped is the metrics of a server that has served a client, in the format of Prometheus: names,
// and the labels of each series.
func scraped(t *testing.T) map[string][]string {
	t.Helper()
	r, _ := traced(t)
	p := r.server
	r.dial("unix", r.unix, nil).served()
	// The client may have its answer before its shard has counted it.
	deadline := time.Now().Add(30 * time.Second)
	for ; p.Collector().Sum().Batch.Count == 0; p.Collector().Collect(0) {
		if time.Now().After(deadline) {
			t.Fatal("no flush was counted in 30 s")
		}
	}
	_, text := r.request("tcp", "GET", "/metrics", "")
	found, kind := map[string][]string{}, ""
	for line := range strings.SplitSeq(text, "\n") {
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			kind, _, _ = strings.Cut(rest, " ")
			continue
		}
		if !strings.HasPrefix(line, "sluice_") {
			continue
		}
		series, _, _ := strings.Cut(line, " ")
		_, labels, _ := strings.Cut(strings.TrimSuffix(series, "}"), "{")
		found[kind] = append(found[kind], labels)
	}
	return found
}

// elsewhere are metrics that a single server does not have, with their source.
func elsewhere() map[string]string {
	return map[string]string{
		"sluice_replica_lag": "a cluster", "sluice_replica_acked_sequence": "a cluster",
		"sluice_log_dropped_total": "a program whose log is a queue: TestLostLinesAreMeasured of cmd/sluice",
		"sluice_audit_lost_total":  "a program with an audit file: TestAuditFile of cmd/sluice",
	}
}

// clusterMetrics begins the names of what only a member of a cluster exports: TestGaugesOfAMember of
// package cluster.
const clusterMetrics = "sluice_cluster_"

// docs/telemetry.md lists exactly the metrics that a running server exports.
func TestEveryMetricIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../../docs/telemetry.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(sluice_[a-z_]+)` \\|.*\\| "+
		"([A-Z0-9][^|]*\\.) \\|$").FindAllStringSubmatch(string(text), -1) {
		documented[row[1]] = true
	}
	found := scraped(t)
	for name := range found {
		if !documented[name] {
			t.Errorf("%s is exported, and docs/telemetry.md has no line with a sentence for it", name)
		}
	}
	for name := range documented {
		if _, ok := found[name]; !ok && elsewhere()[name] == "" && !strings.HasPrefix(name, clusterMetrics) {
			t.Errorf("docs/telemetry.md lists %s, which a running server does not export", name)
		}
	}
}

// An alert divides the depth of a mailbox by its capacity, which needs the same labels on both.
func TestMailboxMetricsHaveTheSameLabels(t *testing.T) {
	found := scraped(t)
	want := []string{`mailbox="control"`, `mailbox="egress",shard="0"`,
		`mailbox="egress",shard="1"`, `mailbox="encode"`, `mailbox="gate"`}
	for _, name := range []string{"sluice_mailbox_depth", "sluice_mailbox_depth_max",
		"sluice_mailbox_capacity"} {
		got := slices.Sorted(slices.Values(found[name]))
		if !slices.Equal(got, want) {
			t.Errorf("%s has %q, want %q", name, got, want)
		}
	}
}

// docs/operations.md has a line for each reason why a connection ends: number, name, meaning and
// remedy.
func TestEveryCloseReasonIsInRunbook(t *testing.T) {
	text, err := os.ReadFile("../../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for r := transport.ReasonPeerClosed; r < transport.NumCloseReasons; r++ {
		want[fmt.Sprint(uint8(r))] = r.String()
	}
	for r := transport.ReasonHandshakeTimeout; r < transport.NumReasons; r++ {
		want[fmt.Sprint(uint8(r))] = r.String()
	}
	rows := regexp.MustCompile(`(?m)^\| ([0-9]+) \| ([^|]*) \| ([^|]+) \| ([^|]+) \|$`)
	for _, row := range rows.FindAllStringSubmatch(string(text), -1) {
		number, name, meaning, remedy := row[1], row[2], row[3], row[4]
		if want[number] != name {
			t.Errorf("the document calls %s %q, the code calls it %q", number, name, want[number])
		}
		if len(meaning) < 10 || remedy == "" {
			t.Errorf("%s %s: %q, %q", number, name, meaning, remedy)
		}
		delete(want, number)
	}
	for number, name := range want {
		t.Errorf("the document has no line for %s %s", number, name)
	}
}
