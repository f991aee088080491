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
	exited chan struct{} // closed when the process has ended
	err    error         // result of Wait; read after exited

	tcp, unix string        // addresses for clients
	live      string        // URL of the live page
	started   time.Time     // time of the start
	ready     time.Duration // from the start until clients could connect
}

// spawn starts a server and returns when clients can connect. log receives the server's log.
func spawn(ctx context.Context, program string, args []string, log io.Writer) (*child, error) {
	c := &child{cmd: exec.Command(program, args...), exited: make(chan struct{}), started: time.Now()}
	// A process group of its own keeps ctrl-C from the server. The death signal ends the server
	// with this process.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	c.cmd.Stderr = log
	// SLUICE_* variables are meant for another server.
	c.cmd.Env = slices.DeleteFunc(os.Environ(),
		func(e string) bool { return strings.HasPrefix(e, "SLUICE_") })
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

// readAddresses reads the lines that the server prints when it is ready, such as
//
//	clients   tcp 127.0.0.1:1234, unix /path
//	live      http://127.0.0.1:1235/ in a browser
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
				return fmt.Errorf("demo: the server printed the addresses %q; want a tcp and a "+
					"unix address", list)
			}
		case "live":
			c.live, _, _ = strings.Cut(strings.TrimSpace(list), " ")
			return nil
		}
	}
	return errors.New("demo: the server ended before it was ready")
}

// kill kills the process and returns when it has ended.
func (c *child) kill() {
	_ = c.cmd.Process.Kill() // an error means that it has ended
	<-c.exited
}

// drain ends the process in order. An error means that the process failed or took too long.
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
