// Program check drives the program of docs/embedding.md, which make test-embedding has built: clients
// send lines while it is killed with SIGKILL, and each line that came back must be in its journal.
//
//	check PROGRAM [URL]      with a URL, its metrics are read too
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	patience = 30 * time.Second
	clients  = 16
	each     = 200 // lines of a client
)

func main() {
	if err := check(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "check:", err)
		os.Exit(1)
	}
}

func check(program string, metrics []string) error {
	echoed := map[string]bool{}
	for run := range 3 {
		p, err := start(program)
		if err != nil {
			return err
		}
		var killed atomic.Bool
		lines, err := p.load(run, func(answers int64) {
			if run < 2 && answers == clients*each/2 {
				killed.Store(true)
				_ = p.cmd.Process.Kill()
			}
		})
		if err != nil && !killed.Load() {
			return err
		}
		if run == 2 && len(lines) != clients*each {
			return fmt.Errorf("%d of %d lines came back", len(lines), clients*each)
		}
		for _, line := range lines {
			echoed[line] = true
		}
		if run == 2 && len(metrics) > 0 {
			if err := scrape(metrics[0]); err != nil {
				return err
			}
		}
		if err := p.end(run == 2); err != nil {
			return err
		}
	}
	journal, err := os.ReadFile("journal")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(journal)) {
		delete(echoed, line)
	}
	if len(echoed) > 0 {
		return fmt.Errorf("%d lines came back that are not in the journal", len(echoed))
	}
	return nil
}

// process is the running program.
type process struct {
	cmd     *exec.Cmd
	address string
}

func start(program string) (*process, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // finds a free port
	if err != nil {
		return nil, err
	}
	p := &process{address: l.Addr().String()}
	l.Close()
	p.cmd = exec.Command(program, p.address)
	p.cmd.Stderr = os.Stderr
	return p, p.cmd.Start()
}

// end waits for the end of a program, after SIGINT if it was not killed. A connection that is open
// then ends too.
func (p *process) end(orderly bool) error {
	if !orderly {
		_ = p.cmd.Wait() // it was killed
		return nil
	}
	idle, err := net.Dial("tcp", p.address)
	if err != nil {
		return err
	}
	defer idle.Close()
	fmt.Fprintln(idle, "the last one")
	in := bufio.NewReader(idle)
	if line, err := in.ReadString('\n'); line != "the last one\n" {
		return fmt.Errorf("before the end: %q, %v", line, err)
	}
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	if _, err := in.ReadByte(); err != io.EOF {
		return fmt.Errorf("at the end: %v, want the end of the stream", err)
	}
	ended := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer ended.Stop()
	return p.cmd.Wait()
}

// load has clients send lines and returns those that came back. Each client must get its own, in
// order, and then the end of the stream, because it sends no more.
func (p *process) load(run int, progress func(answers int64)) (echoed []string, err error) {
	var mu sync.Mutex
	var answers atomic.Int64
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			e := p.client(fmt.Sprintf("run %d client %d line", run, i), func(line string) {
				mu.Lock()
				echoed = append(echoed, line)
				mu.Unlock()
				progress(answers.Add(1))
			})
			mu.Lock()
			err = errors.Join(err, e)
			mu.Unlock()
		})
	}
	all.Wait()
	return echoed, err
}

func (p *process) client(name string, got func(line string)) error {
	c, err := net.Dial("tcp", p.address)
	for began := time.Now(); err != nil && time.Since(began) < patience; c, err = net.Dial("tcp", p.address) {
		time.Sleep(10 * time.Millisecond) // it starts
	}
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	go func() {
		for i := range each {
			fmt.Fprintf(c, "%s %d\n", name, i)
		}
		c.(*net.TCPConn).CloseWrite()
	}()
	in := bufio.NewReader(c)
	for i := range each {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		if want := fmt.Sprintf("%s %d\n", name, i); line != want {
			return fmt.Errorf("got %q, want %q", line, want)
		}
		got(line)
	}
	if _, err := in.ReadByte(); err != io.EOF {
		return fmt.Errorf("after the last line: %v, want the end of the stream", err)
	}
	return nil
}

func scrape(url string) error {
	response, err := http.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || !strings.Contains(string(text), "sluice_response_sent_total") {
		return fmt.Errorf("%s: status %s, %d bytes without sluice_response_sent_total, %v", url, response.Status,
			len(text), err)
	}
	return nil
}
