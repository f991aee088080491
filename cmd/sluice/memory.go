//go:build linux

package main

import (
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"sluice/cmd/internal/config"
)

// budgetShare is the part of a memory limit that the send buffers of all shards have by default.
const budgetShare = 4

// cgroupLimit returns the lowest memory limit of the cgroups of this process, in bytes, 0 for none. root
// is / but in tests. In a container without a cgroup namespace, the path of the cgroup does not exist
// in it; then the limit is at the top.
func cgroupLimit(root string) (lowest int64) {
	text, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) != 3 {
			continue
		}
		top, file := "sys/fs/cgroup", "memory.max"
		if part[0] != "0" {
			if !strings.Contains(","+part[1]+",", ",memory,") {
				continue
			}
			top, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		}
		for dir := filepath.Clean("/" + part[2]); ; dir = filepath.Dir(dir) { // each parent limits as well
			text, err := os.ReadFile(filepath.Join(root, top, dir, file))
			n, bad := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
			if err == nil && bad == nil && n > 0 && n < 1<<60 &&
				(lowest == 0 || n < lowest) { // v1 has 2^63 less a page for none
				lowest = n
			}
			if dir == "/" {
				break
			}
		}
	}
	return lowest
}

// shards is the number of shards.
func (s *service) shards() int {
	if s.cfg.Shards > 0 {
		return s.cfg.Shards
	}
	return min(runtime.GOMAXPROCS(0), 8)
}

// limitMemory adapts the runtime and the default budget of send buffers to the memory limit of the
// cgroup, so that the collector works harder before the kernel ends the process. GOMEMLIMIT and
// --shard-budget take precedence.
func (s *service) limitMemory(root string) {
	limit := cgroupLimit(root)
	if limit == 0 {
		return
	}
	heap := debug.SetMemoryLimit(-1)
	if os.Getenv("GOMEMLIMIT") == "" {
		// the rest is the kernel's: rings, page tables, journal pages that are being written
		heap = limit / 10 * 9 >> 20 << 20
		debug.SetMemoryLimit(heap)
	}
	if s.set.Origin("shard-budget") == "default" {
		s.budget = s.shardBudget(limit)
	}
	s.log.Info("memory limited by the cgroup", "limit", config.FormatSize(uint64(limit)), "go_memory_limit",
		config.FormatSize(uint64(heap)), "shard_budget", config.FormatSize(uint64(s.budget)), "shards", s.shards())
	if all := s.budget * int64(s.shards()); all > limit/2 {
		s.log.Warn("send buffers may take more than half of the memory limit; lower --shard-budget or --shards, or raise the limit",
			"send_buffers", config.FormatSize(uint64(all)), "limit", config.FormatSize(uint64(limit)))
	}
}

// shardBudget is the default budget of a shard under a memory limit: a share of it in whole MiB, at
// most that without a limit, and enough for one client.
func (s *service) shardBudget(limit int64) int64 {
	least := int64(1 << 20)
	for _, l := range s.cfg.ByListener() {
		least = max(least, int64(l.HardBytes))
	}
	least = max(least, int64(s.cfg.Limits.HardBytes))
	return min(s.cfg.ShardBudget, max(limit/budgetShare/int64(s.shards())>>20<<20, least))
}
