package bench

import (
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// reportOf returns a report with rows whose runs all have a curve.
func reportOf(sections ...pageSection) *page {
	for _, s := range sections {
		for _, r := range s.rows {
			for _, res := range r.Results {
				res.Curve = []Percentile{{0, res.P50 / 2}, {50, res.P50}, {99, res.P99},
					{99.9, res.P999}}
			}
		}
	}
	return &page{title: "a <report>", environment: "two cores & more",
		goals: []goalLine{{"fast", "<= 1x", "0.5x", "met, 50 %"},
			{"small", "<= 1 MiB", "-", "not measured: no"}}, sections: sections}
}

func TestReportIsSelfContained(t *testing.T) {
	row := func(server string, rate int, us ...float64) *Row {
		return made(Spec{Server: server, Net: "tcp", Frame: 64, Connections: 7, Rate: rate}, us...)
	}
	p := reportOf(
		pageSection{name: "latency", command: "sluice bench --rate 1000,9000",
			note: "Without <that>.", rows: []*Row{
				row("one", 1000, 10.1, 10.2, 10.3), row("two", 1000, 20.1, 20.2, 20.3), row("one", 9000,
					30.1, 30.2, 30.3), row("two", 9000, 40.1, 40.2, 40.3),
			}},
		pageSection{name: "empty", command: "sluice bench --peer none"},
	)
	name := filepath.Join(t.TempDir(), "r.html")
	if err := p.save(name); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(raw), ` xmlns="http://www.w3.org/2000/svg"`, "") // a name, not loaded
	for _, bad := range []string{"http", "<script", "<link", "@import", "url(", "NaN", "Inf"} {
		if strings.Contains(text, bad) {
			t.Errorf("the report has %q", bad)
		}
	}
	for _, want := range []string{
		"a &lt;report&gt;", "two cores &amp; more", "Without &lt;that&gt;.",
		"sluice bench --rate 1000,9000", "sluice bench --peer none", "prefers-color-scheme:dark",
		"p99.9 by load", "Latency by percentile", `class="good">met, 50 %`, "<td>not measured: no",
		"10.2 (10.1-10.3)", "20.2 (20.1-20.3)", "30.2 (30.1-30.3)", "40.2 (40.1-40.3)",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q", want)
		}
	}
	wellFormed(t, text)
}

// wellFormed reads the text as XML after its first line.
func wellFormed(t *testing.T, text string) {
	d := xml.NewDecoder(strings.NewReader(strings.TrimPrefix(text, "<!DOCTYPE html>\n")))
	for depth := 0; ; {
		token, err := d.Token()
		if err == io.EOF && depth == 0 {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token.(type) {
		case xml.StartElement:
			depth++
		case xml.EndElement:
			depth--
		}
	}
}

func TestMainWritesAReport(t *testing.T) {
	name := filepath.Join(t.TempDir(), "r.html")
	p := Process{Stdout: io.Discard, Stderr: io.Discard, Command: runner(t).Command}
	args := fmt.Sprintf("--io poll --connections 3 --rate 1000,2000 --runs 1 --seconds 100ms "+
		"--warm 20ms --html %s", name)
	if err := Main(t.Context(), p, strings.Fields(args)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(text), "<td>goroutines</td>"); got != 2 {
		t.Errorf("goroutines are in %d rows, want 2", got)
	}
	wellFormed(t, string(text))
	err = Main(t.Context(), p, strings.Fields("--seconds 100ms --html /nonexistent/r.html"))
	if err == nil || !strings.Contains(err.Error(), "--html") {
		t.Errorf("a report without a directory: %v", err)
	}
}
