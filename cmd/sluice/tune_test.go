package main

import (
	"os"
	"strings"
	"testing"
)

func TestTuneRecommendsFlagsEvenAfterCtrlC(t *testing.T) {
	p := start(t,
		strings.Fields("tune --io poll --connections 2 --rate 500 --seconds 100ms --warm 0s --runs 1000")...)
	p.err.await(t, "tune: 2/")
	p.signal(os.Interrupt)
	p.ends(exitFailure, "ctrl-C stops and reports the completed runs", "stopped after ",
		"context canceled")
	for _, want := range []string{"2 connections, frames of 64 B, 500 frames/s", "STOPPED EARLY",
		"Recommended: ", "  sluice serve --shards "} {
		if !strings.Contains(p.out.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, p.out)
		}
	}
	p = start(t, "tune", "--connections", "none")
	p.ends(exitUsage, `--connections has "none"; use numbers from 1`)
}
