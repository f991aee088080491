//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sluice/cmd/internal/config"
)

func TestMemoryLimitIsTheLowestOfAllCgroups(t *testing.T) {
	const own, none = "proc/self/cgroup", "9223372036854771712\n" // none of version 1
	for name, v := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"no cgroup": {nil, 0},
		"version 2": {map[string]string{own: "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "1048576\n"}, 1 << 20},
		"of a parent": {map[string]string{own: "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "max\n",
			"sys/fs/cgroup/a/memory.max": "2097152\n"}, 2 << 20},
		"no limit":  {map[string]string{own: "0::/a\n", "sys/fs/cgroup/a/memory.max": "max\n"}, 0},
		"namespace": {map[string]string{own: "0::/\n", "sys/fs/cgroup/memory.max": "4096\n"}, 4096},
		"version 1": {map[string]string{own: "4:cpu,memory:/d\n0::/\n",
			"sys/fs/cgroup/memory/d/memory.limit_in_bytes": "8192\n"}, 8192},
		"version 1, none": {map[string]string{own: "4:memory:/d\n",
			"sys/fs/cgroup/memory/d/memory.limit_in_bytes": none}, 0},
		"path from outside": {map[string]string{own: "4:memory:/host/d\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "4096\n"}, 4096},
		"another controller": {map[string]string{own: "4:memory_x:/\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "4096\n"}, 0},
	} {
		root := t.TempDir()
		for file, text := range v.files {
			path := filepath.Join(root, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := cgroupLimit(root); got != v.want {
			t.Errorf("%s: %d, want %d", name, got, v.want)
		}
	}
}

func TestBudgetOfSendBuffersFitsTheMemoryLimit(t *testing.T) {
	for _, v := range []struct {
		limit, want int64
		shards      int
	}{
		{8 << 30, 256 << 20, 2}, {2 << 30, 256 << 20, 2}, {1 << 30, 128 << 20, 2}, {1 << 30, 32 << 20, 8},
		{4 << 20, 1 << 20, 8},
	} {
		c := config.DefaultServer()
		c.Shards = v.shards
		s := &service{cfg: c}
		if got := s.shardBudget(v.limit); got != v.want {
			t.Errorf("limit %d, %d shards: budget %d, want %d", v.limit, v.shards, got, v.want)
		}
	}
}

// limitedCgroup makes a cgroup with a memory limit, and returns the file that takes a process into it.
func limitedCgroup(t *testing.T, limit int64) string {
	t.Helper()
	for _, v := range []struct{ top, file string }{
		{"/sys/fs/cgroup", "memory.max"}, {"/sys/fs/cgroup/memory", "memory.limit_in_bytes"},
	} {
		dir := filepath.Join(v.top, fmt.Sprintf("sluice-test-%d", os.Getpid()))
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		t.Cleanup(func() { _ = os.Remove(dir) })
		f, err := os.OpenFile(filepath.Join(dir, v.file), os.O_WRONLY, 0) // not there: no cgroup, or no such controller
		if err != nil {
			continue
		}
		_, err = fmt.Fprint(f, limit)
		if f.Close() == nil && err == nil {
			return filepath.Join(dir, "cgroup.procs")
		}
	}
	t.Skip("a test cannot make a cgroup with a memory limit here: it needs root and the memory controller")
	return ""
}

// A server in a cgroup adapts to its limit, and settings take precedence.
func TestServerAdaptsToTheMemoryLimitOfItsCgroup(t *testing.T) {
	procs := limitedCgroup(t, 512<<20)
	for _, v := range []struct {
		environment, flags string
		want               []string
	}{
		{"", "--shards 2", []string{"limit=512MiB", "go_memory_limit=", "shard_budget=64MiB"}},
		{"GOMEMLIMIT=100MiB", "--shards 1 --shard-budget 300MiB", []string{"go_memory_limit=100MiB", "shard_budget=300MiB",
			"send buffers may take more than half of the memory limit"}},
	} {
		args := append([]string{"-c", `echo $$ > "$1" && shift && exec "$@"`, "sh", procs, os.Args[0], "serve",
			"--data-dir", t.TempDir(),
			"--listen-tcp", "127.0.0.1:0", "--admin-address", ""}, strings.Fields(v.flags)...)
		p := &process{t: t, cmd: exec.Command("/bin/sh", args...), out: newOutput(), err: newOutput(),
			exited: make(chan struct{})}
		p.cmd.Stderr = p.err
		p.cmd.Env = append(os.Environ(), v.environment)
		p.run()
		p.out.await(t, "sluice is ready")
		for _, want := range v.want {
			p.err.await(t, want)
		}
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}
