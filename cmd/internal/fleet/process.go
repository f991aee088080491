package fleet

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

// Process is a running `sluice serve`. Its methods may be called from any goroutine.
type Process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process has ended
	err    error         // result of Wait; read after exited

	TCP, Unix string        // addresses for clients; empty if it has none
	Live      string        // URL of the live page; empty without --admin-address
	Ready     time.Duration // from the start until clients could connect
}

// Spawn starts a server and returns when clients can connect, or with an error when ctx ends first.
// log receives the server's log.
func Spawn(ctx context.Context, program string, args []string, log io.Writer) (*Process, error) {
	p := &Process{cmd: exec.Command(program, args...), exited: make(chan struct{})}
	// A process group of its own keeps ctrl-C from the server. The death signal ends the server
	// with this process.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p.cmd.Stderr = log
	// SLUICE_* variables are meant for another server.
	p.cmd.Env = slices.DeleteFunc(os.Environ(),
		func(e string) bool { return strings.HasPrefix(e, "SLUICE_") })
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	began := time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("fleet: starting the server: %w", err)
	}
	found := make(chan error, 1)
	go func() {
		err := p.readAddresses(out)
		found <- err
		_, _ = io.Copy(io.Discard, out)
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	select {
	case err = <-found:
	case <-ctx.Done():
		err = fmt.Errorf("fleet: the server was not ready in time: %w", context.Cause(ctx))
	}
	if err != nil {
		p.Kill()
		return nil, err
	}
	p.Ready = time.Since(began)
	return p, nil
}

// readAddresses reads the lines that the server prints when it is ready, such as
//
//	clients   tcp 127.0.0.1:1234, unix /path
//	live      http://127.0.0.1:1235/ in a browser
func (p *Process) readAddresses(out io.Reader) error {
	scan := bufio.NewScanner(out)
	for scan.Scan() {
		name, list, _ := strings.Cut(strings.TrimSpace(scan.Text()), " ")
		switch name {
		case "clients":
			for part := range strings.SplitSeq(list, ",") {
				network, address, _ := strings.Cut(strings.TrimSpace(part), " ")
				switch network {
				case "tcp":
					p.TCP = address
				case "unix":
					p.Unix = address
				}
			}
			if p.TCP == "" {
				return fmt.Errorf("fleet: the server printed the addresses %q; want a tcp address", list)
			}
		case "live":
			p.Live, _, _ = strings.Cut(strings.TrimSpace(list), " ")
			return nil
		}
	}
	return errors.New("fleet: the server ended before it was ready")
}

// Kill kills the process with -9 and returns when it has ended.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // an error means that it has ended
	<-p.exited
}

// PID is the number of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal.
func (p *Process) Signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("fleet: signal %v to the server: %w", s, err)
	}
	return nil
}

// Exited is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// ExitCode waits for the end of the process. It is -1 if a signal ended it.
func (p *Process) ExitCode() int {
	<-p.exited
	return p.cmd.ProcessState.ExitCode()
}

// Drain ends the process in order. An error means that the process failed or took too long.
func (p *Process) Drain(limit time.Duration) error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.exited:
		if p.err != nil {
			return fmt.Errorf("fleet: the server did not end in order: %w", p.err)
		}
		return nil
	case <-time.After(limit):
		p.Kill()
		return fmt.Errorf("fleet: the server did not end within %v of SIGTERM", limit)
	}
}

// Tail returns the last lines of a log file, for errors.
func Tail(path string, lines int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
