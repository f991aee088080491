package main

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// scraped returns a metric without labels from a scrape.
func (p *process) scraped(name string) string {
	_, text := get(p.t, "http://"+p.page()+"/metrics", "text/plain")
	for line := range strings.Lines(text) {
		if value, found := strings.CutPrefix(line, name+" "); found {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// metric returns an error if a metric without labels does not have the wanted value.
func (p *process) metric(name, want string) func() error {
	return func() error {
		if got := p.scraped(name); got != want {
			return fmt.Errorf("%s is %q", name, got)
		}
		return nil
	}
}

// lost returns the number of dropped traces for any reason.
func (p *process) lost() (n float64) {
	p.t.Helper()
	_, text := get(p.t, "http://"+p.page()+"/metrics", "text/plain")
	for line := range strings.Lines(text) {
		if series, value, _ := strings.Cut(strings.TrimSpace(line), " "); strings.HasPrefix(series,
			"sluice_trace_dropped_total") {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				p.t.Fatal(line)
			}
			n += v
		}
	}
	return n
}

// number returns a metric without labels.
func (p *process) number(name string) float64 {
	p.t.Helper()
	v, err := strconv.ParseFloat(p.scraped(name), 64)
	if err != nil {
		p.t.Fatalf("%s: %v", name, err)
	}
	return v
}

// heap returns the size of the server's heap after a collection, in bytes.
func (p *process) heap() float64 {
	p.t.Helper()
	if status, text := get(p.t, "http://"+p.page()+"/debug/pprof/heap?gc=1&debug=1",
		"*/*"); status != http.StatusOK {
		p.t.Fatal(text)
	}
	return p.number("go_memstats_heap_alloc_bytes")
}
