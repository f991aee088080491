package main

import (
	"bytes"
	"runtime"
	"strings"
	"testing"

	"sluice"
	"sluice/transport"
)

func TestVersionAndFirstLogLineNameEngines(t *testing.T) {
	compiled := strings.Join(transport.Engines(), ", ")
	d, err := probe(transport.ModeAuto)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if code := run(&env{stdout: &out, stderr: &out}, []string{"version"}); code != exitOK {
		t.Fatalf("exit code %d: %s", code, &out)
	}
	for _, want := range []string{"sluice " + sluice.Version + "\n", "\ncommit ", runtime.Version(),
		"engines compiled in: " + compiled + "\n", "engine " + d.Engine + ": "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("version does not print %q:\n%s", want, &out)
		}
	}

	p, _ := serving(t, t.TempDir())
	p.err.await(t, "\n")
	first, _, _ := strings.Cut(p.err.String(), "\n")
	wanted := []string{"server starting", "version=" + sluice.Version, "engine=" + d.Engine, "poll"}
	if len(transport.Engines()) == 1 {
		wanted = append(wanted, "built without io_uring", "engines=poll")
	} else {
		wanted = append(wanted, `engines="`+compiled+`"`)
	}
	for _, want := range wanted {
		if !strings.Contains(first, want) {
			t.Errorf("the first log line does not contain %q:\n%s", want, p.err)
		}
	}
	if !strings.Contains(p.out.String(), "Compiled in: "+compiled+".") {
		t.Errorf("the block at start does not name the engines compiled in:\n%s", p.out)
	}
}
