package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// servingWithLimit starts a server whose limit of file descriptors is n.
func servingWithLimit(t *testing.T, n int, args ...string) *process {
	t.Helper()
	limited := fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, n)
	p := &process{t: t, cmd: exec.Command("/bin/sh", append([]string{"-c", limited, os.Args[0], "serve"}, args...)...),
		out: newOutput(), err: newOutput(), exited: make(chan struct{})}
	p.cmd.Stderr = p.err
	p.run()
	return p
}

// A limit of descriptors with which no client could be served is refused before anything is opened, and
// the error says what needs how many. One more is enough for one client.
func TestTooFewDescriptorsAreRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	args := []string{"--data-dir", dir, "--listen-tcp", "127.0.0.1:0", "--admin-address", "127.0.0.1:0"}
	least := 80
	for range 2 {
		p := servingWithLimit(t, least, args...)
		<-p.exited
		if code := p.cmd.ProcessState.ExitCode(); code != 64 {
			t.Fatalf("exit code %d\n%s", code, p.err)
		}
		for _, part := range []string{fmt.Sprintf("limit is %d,", least), "16384 clients", "1024 handshakes", "listening sockets",
			"shards", "journal", "admin connections", "LimitNOFILE"} {
			if !strings.Contains(p.err.String(), part) {
				t.Errorf("%q is not in %s", part, p.err)
			}
		}
		if _, err := os.Lstat(dir); err == nil {
			t.Error("the data directory was made")
		}
		found := regexp.MustCompile(`needs (\d+) to serve one client`).FindStringSubmatch(p.err.String())
		if found == nil {
			t.Fatal(p.err)
		}
		n, _ := strconv.Atoi(found[1])
		least = n - 1 // the second time
	}
	p := servingWithLimit(t, least+1, args...)
	address := p.address()
	p.err.await(t, "excess clients will wait in the backlog")
	trading(t, address, 1)
	p.signal(syscall.SIGTERM)
	<-p.exited
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d\n%s", code, p.err)
	}
}
