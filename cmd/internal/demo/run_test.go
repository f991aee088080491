package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/cmd/internal/fleet"
	"sluice/transport"
)

// sluice is the path of the program under demonstration, built once for all tests.
var sluice string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "sluice-")
	if err != nil {
		panic(err)
	}
	sluice = filepath.Join(dir, "sluice")
	code := 1
	build := []string{"build"}
	if slices.Contains(transport.Engines(), "uring") { // the program has the engines of its test
		build = append(build, "-tags", "giouring", "-ldflags=-checklinkname=0")
	}
	if out, err := exec.Command("go",
		append(build, "-o", sluice, "sluice/cmd/sluice")...).CombinedOutput(); err == nil {
		code = m.Run()
	} else {
		fmt.Printf("building the program: %v\n%s\n", err, out)
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func Example() {
	err := Run(context.Background(),
		Config{Program: sluice, For: 500 * time.Millisecond, Clients: 4, Out: io.Discard})
	fmt.Println("broken promises:", err)
	// Output:
	// broken promises: <nil>
}

func TestNoAcknowledgedOrderIsLostWithEitherEngine(t *testing.T) {
	for _, engine := range []string{"auto", "poll"} {
		var out bytes.Buffer
		dir := t.TempDir()
		err := Run(t.Context(), Config{
			Program: sluice, Serve: []string{"--io", engine, "--shards", "3"},
			For: 2 * time.Second, Clients: 32, Dir: dir, Keep: true, Out: &out,
		})
		if err != nil {
			t.Errorf("%s: %v\n%s", engine, err, &out)
		}
		for _, want := range []string{"32 clients", "killed with -9", "round trip", "server whole",
			"group commits", "  ok   acknowledged", "contradictions        0"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: %q is missing:\n%s", engine, want, &out)
			}
		}
		if _, err := os.Stat(filepath.Join(dir, "data", "journal")); err != nil {
			t.Errorf("the data directory is not kept: %v", err)
		}
	}
}

// script writes a server that runs the command between before its second start.
func script(t *testing.T, between string) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "server")
	text := fmt.Sprintf("#!/bin/sh\nif [ -e %[1]s/once ]; then %[2]s; fi\n: > %[1]s/once\nexec "+
		"%[3]s \"$@\"\n", dir, between, sluice)
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLostDataIsDetected(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	for name, between := range map[string]string{
		"data directory lost":                     "rm -rf " + data,
		"data directory replaced by an older one": "rm -rf " + data + "; cp -r " + dir + "/past " + data,
	} {
		if err := os.RemoveAll(data); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(between, "past") { // the data directory of a server without requests
			c, err := fleet.Spawn(t.Context(), sluice,
				[]string{"serve", "--data-dir", filepath.Join(dir, "past"), "--listen-tcp",
					"127.0.0.1:0", "--listen-unix", "@" + dir, "--admin-address", "127.0.0.1:0"}, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			c.Kill()
		}
		var out bytes.Buffer
		err := Run(t.Context(), Config{Program: script(t, between), For: time.Second, Clients: 8,
			Dir: dir, Out: &out})
		if err == nil || !strings.Contains(err.Error(), "the server knows commands up to #0 only") {
			t.Errorf("%s: %v\n%s", name, err, &out)
		}
	}
}

func TestFailedRestartEndsTheRun(t *testing.T) {
	var out bytes.Buffer
	err := Run(t.Context(), Config{Program: script(t, "exit 3"), For: 200 * time.Millisecond,
		Clients: 2, Dir: t.TempDir(), Out: &out})
	if err == nil || !strings.Contains(err.Error(), "ended before it was ready") {
		t.Errorf("%v\n%s", err, &out)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("enough"))
	defer cancel()
	dir := t.TempDir()
	err := Run(ctx, Config{Program: sluice, For: time.Hour, Clients: 4, Dir: dir, Out: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "enough") {
		t.Error(err)
	}
	never := filepath.Join(dir, "never")
	if err := os.WriteFile(never, []byte("#!/bin/sh\nexec sleep 1000\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeoutCause(t.Context(), 100*time.Millisecond, errors.New("enough"))
	defer cancel()
	err = Run(ctx, Config{Program: never, For: time.Hour, Clients: 4, Dir: dir, Out: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "not ready in time") {
		t.Error(err)
	}
}
