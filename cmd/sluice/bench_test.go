//go:build linux

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// `bench --cluster` measures real processes and leaves none, nor a file.
func TestBenchOfACluster(t *testing.T) {
	dir := t.TempDir()
	page := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(page, []byte("<!-- begin environment -->\n<!-- end environment -->\n"+
		"<!-- begin cluster -->\nold\n<!-- end cluster -->\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, "bench", "--durable", "--cluster", "3", "--io", "poll", "--runs", "1", "--seconds", "100ms", "--warm", "0s",
		"--kills", "1", "--transfers", "1", "--dir", dir, "--into", page)
	select { // it starts five clusters
	case <-p.exited:
	case <-time.After(10 * time.Minute):
		t.Fatal(p.err)
	}
	p.ends(exitOK, "1/1 single node: one order p50", "1/1 3 nodes: one order p50", "5ms slower: one order p50")
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"sluice bench --durable --cluster 3", "one order p50 us", "| 3 nodes ", "persisted>=2",
		"256 orders in a batch"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is missing:\n%s", want, text)
		}
	}
	if !regexp.MustCompile(`longest \S+ m?s of [1-9]`).Match(text) {
		t.Errorf("no gap is measured:\n%s", text)
	}
	// etcd is measured by a program that is not beside the test.
	if strings.Count(string(text), "not measured") != strings.Count(string(text), "not measured: build it with `make peers`") ||
		strings.Contains(string(text), "old") {
		t.Errorf("the table is incomplete:\n%s", text)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestBenchOfAClusterRefusesWhatItCannotMeasure(t *testing.T) {
	for _, args := range [][]string{{"--cluster", "3"}, {"--cluster", "2", "--durable"},
		{"--cluster", "3", "--durable", "--profile", "full"}} {
		start(t, append([]string{"bench"}, args...)...).ends(exitUsage, "three to seven nodes, with --durable")
	}
}
