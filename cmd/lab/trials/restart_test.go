package trials

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/cmd/orderbook"
	"sluice/transport/wire"
)

// A server takes many orders and no snapshot, is killed, and starts again. It must not need much more memory
// for the start than it needed to take the orders: under a memory limit it would be killed at every start.
func TestStartOfLongJournalNeedsNoMoreMemoryThanRun(t *testing.T) {
	const clients = 4
	orders := scale(20_000, 200_000, 10_000_000) / clients
	program := buildProgram(t)
	dir, err := os.MkdirTemp(scratch(t), "sluice-restart-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	run := startLong(t, program, dir)
	began, ended := time.Now(), make(chan error, clients)
	for account := range uint64(clients) {
		go func() { ended <- placeAndCancel(run.tcp, account+1, orders) }()
	}
	for range clients {
		if err := <-ended; err != nil {
			t.Fatalf("%v\n%s", err, &run.log)
		}
	}
	took := time.Since(began)
	most := run.kill(t)
	size := int64(0)
	segments, err := filepath.Glob(filepath.Join(dir, "data/journal/wal/*.wal"))
	for _, path := range segments {
		if info, statErr := os.Stat(path); statErr == nil {
			size += info.Size()
		}
	}
	if err != nil || size == 0 {
		t.Fatalf("segments: %d B, %v", size, err)
	}
	again := startLong(t, program, dir)
	need := again.kill(t)
	t.Logf("%d events in %v, log of %d MiB: %d MiB at most while the server ran, %d MiB for the start, ready after %v",
		clients*orders, took.Round(time.Millisecond), size>>20, most>>20, need>>20, again.ready.Round(time.Millisecond))
	if need > most*3/2 {
		t.Error("the start needs more than 1.5 times the memory of the run")
	}
}

// longLived is a server process without snapshots.
type longLived struct {
	cmd   *exec.Cmd
	tcp   string
	ready time.Duration // from the start of the process
	log   bytes.Buffer
}

func startLong(t *testing.T, program, dir string) *longLived {
	t.Helper()
	s := &longLived{cmd: exec.Command(program, "serve", "--data-dir", filepath.Join(dir, "data"), "--listen-tcp",
		"127.0.0.1:0", "--listen-unix", filepath.Join(dir, "s"), "--admin-address", "127.0.0.1:0",
		"--snapshot-events", "1073741824", "--snapshot-bytes", "1TiB", "--log-level", "warn")}
	s.cmd.Stderr = &s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := s.cmd.StdoutPipe()
	began := time.Now()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.cmd.Process.Kill() })
	at, ready := addresses(out)
	if !ready {
		t.Fatalf("the server is not ready: %v\n%s", s.cmd.Wait(), &s.log)
	}
	s.tcp, s.ready = at["tcp"], time.Since(began)
	return s
}

// kill returns the largest resident size that the process had, in bytes, and kills it.
func (s *longLived) kill(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kib, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	most, err := strconv.ParseInt(kib, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait() // killed
	return most << 10
}

// placeAndCancel sends that many requests: orders, each cancelled by the next request, so that the book
// stays empty.
func placeAndCancel(tcp string, account uint64, requests int) error {
	const window = 512
	c, err := connect(how{network: "tcp", address: tcp}, account, 0)
	if err != nil {
		return err
	}
	defer c.Close()
	var frame []byte
	for sent := 0; sent < requests; {
		n := min(window, requests-sent)
		if err := c.SetWriteDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		for range n {
			sent++
			cmd := orderOf(placement{account, uint64(sent)})
			if sent%2 == 0 {
				cmd = &orderbook.Command{Tag: orderbook.TagCancel, Account: account, ClientOrderID: uint64(sent),
					Target: uint64(sent - 1)}
			}
			if frame, err = orderbook.AppendRequest(frame[:0], uint64(sent), cmd); err != nil {
				return err
			}
			if err := c.Send(uint64(sent), cmd.Tag, frame[wire.PrefixSize+wire.RequestHeaderSize:]); err != nil {
				return err
			}
		}
		if err := c.Flush(); err != nil {
			return err
		}
		for ends := 0; ends < n; {
			tag, _, err := c.frame()
			if err != nil {
				return err
			}
			if tag == wire.TagBatchEnd {
				ends++
			}
		}
	}
	return nil
}
