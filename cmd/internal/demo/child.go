package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// child is a running server process.
type child struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process is gone
	err    error         // how it ended; read after exited

	tcp, unix string        // where clients find it
	live      string        // its live page
	started   time.Time     // when it was started
	ready     time.Duration // from then until clients could connect
}

// spawn starts a server and returns when clients can connect. Its log goes to log.
func spawn(ctx context.Context, program string, args []string, log io.Writer) (*child, error) {
	c := &child{cmd: exec.Command(program, args...), exited: make(chan struct{}), started: time.Now()}
	// A group of its own keeps ctrl-C for the demonstration; the death signal lets no server survive it.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	c.cmd.Stderr = log
	c.cmd.Env = slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "SLUICE_") }) // they mean another server
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("demo: starting the server: %w", err)
	}
	found := make(chan error, 1)
	go func() {
		err := c.readAddresses(out)
		found <- err
		_, _ = io.Copy(io.Discard, out)
		c.err = c.cmd.Wait()
		close(c.exited)
	}()
	select {
	case err = <-found:
	case <-ctx.Done():
		err = fmt.Errorf("demo: the server was not ready in time: %w", context.Cause(ctx))
	}
	if err != nil {
		c.kill()
		return nil, err
	}
	c.ready = time.Since(c.started)
	return c, nil
}

// readAddresses reads the block that the server prints when it is ready: "  clients   tcp 127.0.0.1:1234, unix /path", and
// after it "  live      http://127.0.0.1:1235/ in a browser".
func (c *child) readAddresses(out io.Reader) error {
	scan := bufio.NewScanner(out)
	for scan.Scan() {
		name, list, _ := strings.Cut(strings.TrimSpace(scan.Text()), " ")
		switch name {
		case "clients":
			for part := range strings.SplitSeq(list, ",") {
				network, address, _ := strings.Cut(strings.TrimSpace(part), " ")
				switch network {
				case "tcp":
					c.tcp = address
				case "unix":
					c.unix = address
				}
			}
			if c.tcp == "" || c.unix == "" {
				return fmt.Errorf("demo: the server names its addresses as %q; want a tcp and a unix one", list)
			}
		case "live":
			c.live, _, _ = strings.Cut(strings.TrimSpace(list), " ")
			return nil
		}
	}
	return errors.New("demo: the server ended before it was ready")
}

// kill ends the process as a power failure would, and returns when it is gone.
func (c *child) kill() {
	_ = c.cmd.Process.Kill() // an error says that it is gone
	<-c.exited
}

// drain ends the process in order. An error says that it did not manage.
func (c *child) drain(limit time.Duration) error {
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("demo: ending the server: %w", err)
	}
	select {
	case <-c.exited:
		if c.err != nil {
			return fmt.Errorf("demo: the server did not end in order: %w", c.err)
		}
		return nil
	case <-time.After(limit):
		c.kill()
		return fmt.Errorf("demo: the server did not end within %v of SIGTERM", limit)
	}
}

// tail returns the last lines of a log file, for errors.
func tail(path string, lines int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
