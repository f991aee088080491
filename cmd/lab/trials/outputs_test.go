package trials

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/cmd/orderbook"
	"sluice/cmd/orderbook/trade"
	"sluice/transport"
)

// Everything that a server writes to or reads from hangs at the same time, while 200 clients trade:
// standard output and standard error are full pipes, --stats-file ends at a FIFO, FIFOs take the place
// of --trace-dir and of the configuration before a reload, and a collector accepts connections and never
// answers. Every response arrives, and SIGTERM ends the server within its deadline.
func TestServesWhileOutputsBlock(t *testing.T) {
	program := buildProgram(t)
	engines(t, func(t *testing.T, engine transport.Mode) {
		s := startBlocked(t, program, engine)
		quit, beside := make(chan struct{}), sync.WaitGroup{}
		for _, annoy := range []func(){s.signals, s.strays, s.posts} {
			beside.Go(func() {
				for {
					select {
					case <-quit:
						return
					default:
						annoy()
					}
				}
			})
		}
		orders := scale(5, 20, 500)
		took := s.trade(200, orders)
		close(quit)
		beside.Wait()
		began := time.Now()
		if err := s.cmd.Process.Signal(unix.SIGTERM); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-s.ended:
			if err != nil {
				t.Errorf("the server: %v", err)
			}
		case <-time.After(blockedDrain + patience):
			t.Fatal("the server does not end")
		}
		end := time.Since(began)
		t.Logf("%d responses in %v, the end took %v", 200*orders, took.Round(time.Millisecond), end.Round(time.Millisecond))
		if end > blockedDrain+time.Second { // and the log has a second
			t.Errorf("the end took %v", end)
		}
	})
}

const blockedDrain = 10 * time.Second

// blockedServer is a program whose outputs hang.
type blockedServer struct {
	t             *testing.T
	cmd           *exec.Cmd
	ended         chan error // its result
	socket, admin string
	config        string
}

func startBlocked(t *testing.T, program string, engine transport.Mode) *blockedServer {
	t.Helper()
	dir := t.TempDir()
	s := &blockedServer{t: t, ended: make(chan error, 1), socket: filepath.Join(dir, "s"),
		config: filepath.Join(dir, "sluice.yaml"), admin: freePort(t)}
	stats, traces := filepath.Join(dir, "stats"), filepath.Join(dir, "traces")
	if err := unix.Mkfifo(stats+".tmp", 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.config, []byte("soft-limit: 64KiB\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	collector, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { collector.Close() })
	s.cmd = exec.Command(program, "serve", "--data-dir", filepath.Join(dir, "data"), "--config", s.config,
		"--listen-tcp", "", "--listen-unix", s.socket, "--admin-address", s.admin, "--io", engine.String(),
		"--stats-file", stats, "--flight-recorder", "--flight-slow", "1us", "--trace-dir", traces,
		"--drain", blockedDrain.String())
	s.cmd.Env = append(os.Environ(), "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+collector.Addr().String(),
		"OTEL_METRICS_EXPORTER=otlp,prometheus", "OTEL_TRACES_SAMPLER=always_on", "OTEL_METRIC_EXPORT_INTERVAL=200")
	s.cmd.Stdout, s.cmd.Stderr = fullPipe(t), fullPipe(t)
	s.cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL} // a server ends with a killed test
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { s.ended <- s.cmd.Wait(); close(exited) }()
	t.Cleanup(func() { _ = s.cmd.Process.Kill(); <-exited })
	until(t, "the server to answer", func() bool {
		answer, err := http.Get("http://" + s.admin + "/readyz")
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	if err := os.Remove(s.config); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Mkfifo(s.config, 0o600), os.RemoveAll(traces), unix.Mkfifo(traces, 0o600)); err != nil {
		t.Fatal(err)
	}
	return s
}

// freePort returns an address that was free a moment ago, for a server whose output cannot be read
// here. Its port is none of those that the kernel chooses, from 32768 on, which it may choose twice.
func freePort(t *testing.T) string {
	for {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	}
}

// fullPipe returns the writing end of a pipe that has no room left.
func fullPipe(t *testing.T) *os.File {
	t.Helper()
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	reader, writer := os.NewFile(uintptr(ends[0]), "reader"), os.NewFile(uintptr(ends[1]), "writer")
	t.Cleanup(func() { reader.Close(); writer.Close() })
	if err := unix.SetNonblock(ends[1], true); err != nil {
		t.Fatal(err)
	}
	for size := 4096; size > 0; {
		if _, err := unix.Write(ends[1], make([]byte, size)); err == unix.EAGAIN {
			size /= 4096
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.SetNonblock(ends[1], false); err != nil {
		t.Fatal(err)
	}
	return writer
}

// signals asks for a report and a reload.
func (s *blockedServer) signals() {
	_ = s.cmd.Process.Signal(unix.SIGUSR1) // fails once the server has ended, which the trial sees
	_ = s.cmd.Process.Signal(unix.SIGHUP)
	s.strays()
}

// strays connects a client that does not speak the protocol, and is logged.
func (s *blockedServer) strays() {
	c, err := net.Dial("unix", s.socket)
	if err != nil {
		return
	}
	defer c.Close()
	_, _ = c.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	_ = c.SetReadDeadline(time.Now().Add(patience))
	_, _ = c.Read(make([]byte, 256)) // the challenge, or the end
}

// posts sends a request that is refused, and logged.
func (s *blockedServer) posts() {
	answer, err := http.Post("http://"+s.admin+"/drain", "application/json", strings.NewReader("{}"))
	if err == nil {
		answer.Body.Close()
	}
}

// trade lets clients send orders, each after the response to the one before it.
func (s *blockedServer) trade(clients, orders int) time.Duration {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 4*patience)
	defer cancel()
	began, failed := time.Now(), make(chan error, clients)
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			c, err := trade.Open(trade.Options{Account: uint64(i + 1)}, s.socket)
			if err != nil {
				failed <- err
				return
			}
			defer c.Close()
			side := orderbook.Buy
			if i%2 == 1 {
				side = orderbook.Sell
			}
			for n := range orders {
				o := trade.Order{Instrument: uint32(1 + i/2), Side: side, Price: 100, Quantity: 1}
				if _, err := c.New(ctx, o); err != nil {
					failed <- fmt.Errorf("client %d, order %d: %w", i, n, err)
					return
				}
			}
		})
	}
	all.Wait()
	close(failed)
	for err := range failed {
		s.t.Error(err)
	}
	return time.Since(began)
}
