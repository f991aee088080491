package otel

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const deploy = "../../deploy"

// tool returns a program of Debian's prometheus package, or skips.
func tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed (Debian: apt-get install prometheus)", name)
	}
	return path
}

// known returns the labels of every metric that a scrape can contain, with the parts of histograms.
func known(t testing.TB) map[string][]string {
	names := map[string][]string{"up": {"job", "instance"},
		"ALERTS": {"alertname", "alertstate", "job", "instance"}}
	for _, i := range Instruments() {
		labels := append([]string{"job", "instance"}, i.Labels...)
		name := promName(t, i)
		names[name] = labels
		if i.Kind == Histogram {
			names[name+"_bucket"] = append(slices.Clone(labels), "le")
			names[name+"_sum"], names[name+"_count"] = labels, labels
		}
	}
	tel := start(t, newRig().config())
	body, _ := scrape(t, tel.Handler(), "/metrics", "")
	for l := range strings.SplitSeq(body, "\n") {
		if name := regexp.MustCompile(`^(go|process)_[a-z_]+`).FindString(l); name != "" {
			names[name] = []string{"job", "instance", "quantile", "le"}
		}
	}
	return names
}

var (
	selector = regexp.MustCompile(`\b([a-zA-Z_][a-zA-Z0-9_]*)\s*(?:\{([^}]*)\}|\[|\)|$| )`)
	matcher  = regexp.MustCompile(`([a-zA-Z_]+)\s*(?:=~|!~|!=|=)`)
	exported = regexp.MustCompile(`^(sluice|go|process)_|^(up|ALERTS)$`)
	grouping = regexp.MustCompile(`by \(([^)]*)\)`)
)

// checkQuery reports metrics and labels that are not exported. It returns the labels of the metrics in
// the query.
func checkQuery(t *testing.T, where, query string, names map[string][]string) (labels []string) {
	t.Helper()
	found := 0
	for _, m := range selector.FindAllStringSubmatch(query, -1) {
		if !exported.MatchString(m[1]) {
			continue
		}
		found++
		allowed, ok := names[m[1]]
		if !ok {
			t.Errorf("%s: there is no metric %s", where, m[1])
		}
		labels = append(labels, allowed...)
		for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
			if !slices.Contains(allowed, l[1]) {
				t.Errorf("%s: %s has no label %s", where, m[1], l[1])
			}
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(query, -1) {
		for l := range strings.SplitSeq(g[1], ",") {
			if !slices.Contains(labels, strings.TrimSpace(l)) {
				t.Errorf("%s: groups by %s, which none of its metrics has: %s", where, l, query)
			}
		}
	}
	if found == 0 {
		t.Errorf("%s: no metric in %q", where, query)
	}
	return labels
}

type dashboard struct {
	UID, Title string
	Panels     []struct {
		ID      int
		Type    string
		Title   string
		GridPos struct{ X, Y, W, H int }
		Targets []struct{ Expr, RefID, LegendFormat string }

		FieldConfig struct{ Defaults struct{ Unit string } }
	}
	Templating struct{ List []struct{ Name, Type string } }
}

func TestDashboardUsesExistingMetrics(t *testing.T) {
	text, err := os.ReadFile(deploy + "/grafana/dashboards/sluice.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	names, ids, used := known(t), map[int]bool{}, string(text)
	for i, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("two panels have id %d", p.ID)
		}
		ids[p.ID] = true
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q has no query", p.Title)
		}
		if p.Type != "row" && p.FieldConfig.Defaults.Unit == "" {
			t.Errorf("panel %q has no unit", p.Title)
		}
		for _, q := range p.Targets {
			labels := checkQuery(t, "panel "+p.Title, q.Expr, names)
			for _, l := range regexp.MustCompile(`{{(\w+)}}`).FindAllStringSubmatch(q.LegendFormat,
				-1) {
				if !slices.Contains(labels, l[1]) {
					t.Errorf("panel %q: the legend uses label %s, which no metric in %s has",
						p.Title, l[1], q.Expr)
				}
			}
			if len(p.Targets) > 1 && q.LegendFormat == "" {
				t.Errorf("panel %q: query without a legend: %s", p.Title, q.Expr)
			}
		}
		for _, o := range d.Panels[:i] {
			if p.GridPos.X < o.GridPos.X+o.GridPos.W && o.GridPos.X < p.GridPos.X+p.GridPos.W &&
				p.GridPos.Y < o.GridPos.Y+o.GridPos.H && o.GridPos.Y < p.GridPos.Y+p.GridPos.H {
				t.Errorf("panels %q and %q overlap", o.Title, p.Title)
			}
		}
	}
	for _, v := range regexp.MustCompile(`\$\{?(\w+)`).FindAllStringSubmatch(used, -1) {
		if !strings.HasPrefix(v[1], "__") &&
			!slices.ContainsFunc(d.Templating.List,
				func(x struct{ Name, Type string }) bool { return x.Name == v[1] }) {
			t.Errorf("variable $%s is not defined", v[1])
		}
	}
	if tool, err := exec.LookPath("promtool"); err == nil {
		parses(t, tool, d)
	}
}

// parses checks that Prometheus parses every query, as recording rules.
func parses(t *testing.T, promtool string, d dashboard) {
	var rules strings.Builder
	rules.WriteString("groups:\n- name: panels\n  rules:\n")
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			expr := jsonOf(strings.ReplaceAll(q.Expr, "$__rate_interval", "1m"))
			rules.WriteString("  - record: panel:" + strings.ToLower(q.RefID) + "\n    labels: {panel: " + jsonOf(p.Title) + "}\n    expr: " + expr + "\n")
		}
	}
	file := filepath.Join(t.TempDir(), "panels.yml")
	if err := os.WriteFile(file, []byte(rules.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(promtool, "check", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// jsonOf quotes text for YAML, of which JSON is a subset.
func jsonOf(text string) string {
	b, _ := json.Marshal(text) // a string never fails
	return string(b)
}

// ruleTests is a file of tests for promtool.
type ruleTests struct {
	Tests []struct {
		Name   string
		Series []struct{ Series string } `yaml:"input_series"`
		Exprs  []struct {
			Expr    string
			Samples []struct{ Labels string } `yaml:"exp_samples"`
		} `yaml:"promql_expr_test"`
	}
}

// quiet reports whether a test feeds one of the metrics of a rule for an instance and expects that the
// alert does not fire for it.
func (f *ruleTests) quiet(alert, expr string) bool {
	for _, test := range f.Tests {
		for _, e := range test.Exprs {
			wanted := ""
			for _, s := range e.Samples {
				if strings.Contains(s.Labels, `"`+alert+`"`) {
					wanted += s.Labels
				}
			}
			for _, s := range test.Series {
				metric, labels, _ := strings.Cut(s.Series, "{")
				instance := regexp.MustCompile(`instance="\w+"`).FindString(labels)
				if regexp.MustCompile(`\b`+metric+`\b`).MatchString(expr) &&
					!strings.Contains(wanted, instance) {
					return true
				}
			}
		}
	}
	return false
}

type ruleFile struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert, Expr         string
			Labels, Annotations map[string]string
		}
	}
}

func TestEveryAlertUsesExistingMetricsAndIsTested(t *testing.T) {
	var rules ruleFile
	text, err := os.ReadFile(deploy + "/prometheus/rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &rules); err != nil {
		t.Fatal(err)
	}
	tests, parsed := "", new(ruleTests)
	for _, f := range []string{"rules_test.yml", "rules_slow_test.yml"} {
		b, err := os.ReadFile(deploy + "/prometheus/" + f)
		if err != nil {
			t.Fatal(err)
		}
		tests += string(b)
		var one ruleTests
		if err := yaml.Unmarshal(b, &one); err != nil {
			t.Fatal(err)
		}
		parsed.Tests = append(parsed.Tests, one.Tests...)
	}
	names, n := known(t), 0
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			n++
			checkQuery(t, "alert "+r.Alert, r.Expr, names)
			if !strings.Contains(tests, `alertname="`+r.Alert+`",alertstate="firing"`) {
				t.Errorf("no test expects that %s fires", r.Alert)
			}
			if !parsed.quiet(r.Alert, r.Expr) {
				t.Errorf("no test expects that %s does not fire for normal values", r.Alert)
			}
			if r.Labels["severity"] == "" || r.Annotations["summary"] == "" ||
				r.Annotations["description"] == "" {
				t.Errorf("%s has no severity, summary or description", r.Alert)
			}
			if g.Name == "sluice-cluster" {
				checkRunbook(t, r.Alert, r.Annotations["runbook"])
			}
		}
	}
	if n < 10 {
		t.Errorf("%d alerts", n)
	}
	for _, m := range regexp.MustCompile(`series: '(\w+)`).FindAllStringSubmatch(tests, -1) {
		if _, ok := names[m[1]]; !ok {
			t.Errorf("the rule tests feed %s, which does not exist", m[1])
		}
	}
}

// checkRunbook checks that an alert names a section of a document that exists, and that the list of runbooks has the
// alert.
func checkRunbook(t *testing.T, alert, place string) {
	t.Helper()
	file, anchor, _ := strings.Cut(place, "#")
	text, err := os.ReadFile(filepath.Join(deploy, "..", file))
	if err != nil {
		t.Errorf("%s: %v", alert, err)
		return
	}
	heading := `(?im)^##+ ` + strings.ReplaceAll(regexp.QuoteMeta(anchor), "-", "[ -]") + `$`
	if anchor == "" || !regexp.MustCompile(heading).Match(text) {
		t.Errorf("%s: %s has no section for the anchor %q", alert, file, anchor)
	}
	if !regexp.MustCompile(`(?m)^\|.*\b` + alert + `\b.*\(#` + anchor + `\)`).Match(text) {
		t.Errorf("%s: the list of runbooks in %s does not lead from the alert to %q", alert, file, anchor)
	}
}

func TestAlertRulesAndPrometheusConfig(t *testing.T) {
	promtool := tool(t, "promtool")
	cmd := exec.Command(promtool, "test", "rules", "rules_test.yml", "rules_slow_test.yml")
	cmd.Dir = deploy + "/prometheus"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := exec.Command(promtool, "check", "config",
		deploy+"/prometheus/prometheus.yml").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// The paths that the compose file and the provisioning mount exist.
func TestComposeMountsExistingFiles(t *testing.T) {
	for _, f := range []string{"dashboards.compose.yml",
		"grafana/provisioning/dashboards/sluice.yml",
		"grafana/provisioning/datasources/prometheus.yml"} {
		text, err := os.ReadFile(filepath.Join(deploy, f))
		if err != nil {
			t.Fatal(err)
		}
		var v map[string]any
		if err := yaml.Unmarshal(text, &v); err != nil {
			t.Errorf("%s: %v", f, err)
		}
		for _, m := range regexp.MustCompile(`(?m)(\./[\w/]+):/`).FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(deploy, m[1])); err != nil {
				t.Errorf("%s mounts %s: %v", f, m[1], err)
			}
		}
	}
}
