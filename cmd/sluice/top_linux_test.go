package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"sluice/actors/node/observe/status"
)

// Control sequences of a frame, as written by package top.
const (
	ownScreen  = "\x1b[?1049h\x1b[?25l\x1b[?7l"
	giveBack   = "\x1b[?7h\x1b[?25h\x1b[?1049l"
	fromTop    = "\x1b[H"
	clearBelow = "\x1b[J"
)

// terminal is the master of a pseudoterminal, pty(7), on which a program draws.
type terminal struct {
	t    *testing.T
	file *os.File // written bytes are keys
	out  *output  // output of the program
	cmd  *exec.Cmd
}

// onTerminal runs a sluice on a terminal of its own.
func onTerminal(t *testing.T, columns, rows int, args ...string) *terminal {
	t.Helper()
	far, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("this system has no pseudoterminals: %v", err)
	}
	t.Cleanup(func() { far.Close() })
	if err := unix.IoctlSetPointerInt(int(far.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Skipf("cannot unlock a pseudoterminal: %v", err)
	}
	number, err := unix.IoctlGetUint32(int(far.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	near, err := os.OpenFile("/dev/pts/"+strconv.FormatUint(uint64(number), 10),
		os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("cannot open a pseudoterminal: %v", err)
	}
	defer near.Close()
	m := &terminal{t: t, file: far, out: newOutput(), cmd: exec.Command(os.Args[0], args...)}
	m.resize(columns, rows)
	m.cmd.Stdin, m.cmd.Stdout, m.cmd.Stderr = near, near, near
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL} // receives SIGWINCH
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = m.cmd.Process.Kill()
		_ = m.cmd.Wait() // an error on a second call
	})
	go func() { _, _ = io.Copy(m.out, far) }() // ends with an error when the program ends
	return m
}

// resize changes the size of the terminal. The kernel notifies the program with SIGWINCH.
func (m *terminal) resize(columns, rows int) {
	m.t.Helper()
	if err := unix.IoctlSetWinsize(int(m.file.Fd()), unix.TIOCSWINSZ,
		&unix.Winsize{Col: uint16(columns), Row: uint16(rows)}); err != nil {
		m.t.Fatal(err)
	}
}

// frames returns the frames drawn so far, as lines without control sequences. The last one may be
// incomplete.
func (m *terminal) frames() (frames [][]string) {
	_, drawn, _ := strings.Cut(m.out.String(), ownScreen)
	for _, frame := range strings.Split(drawn, fromTop)[1:] {
		whole, _, done := strings.Cut(frame, clearBelow)
		if done {
			whole = regexp.MustCompile("\x1b\\[[0-9;?]*[A-Za-z]|\r").ReplaceAllString(whole, "")
			frames = append(frames, strings.Split(whole, "\n"))
		}
	}
	return frames
}

// size returns the width of the widest line and the number of lines.
func size(frame []string) (columns, rows int) {
	for _, line := range frame {
		columns = max(columns, utf8.RuneCountInString(line))
	}
	return columns, len(frame)
}

// fits waits for a new frame that fills the terminal and fits in it.
func (m *terminal) fits(before, columns, rows int) {
	m.t.Helper()
	until(m.t, fmt.Sprintf("a frame of %d by %d", columns, rows), func() error {
		all := m.frames()
		if len(all) <= before {
			return fmt.Errorf("no frame is drawn; output: %q", m.out)
		}
		c, r := size(all[len(all)-1])
		if c > columns || r > rows || c < columns-columns/8 || r < min(rows-1, 20) {
			return fmt.Errorf("the last frame is %d by %d:\n%s", c, r,
				strings.Join(all[len(all)-1], "\n"))
		}
		return nil
	})
}

// The server hangs after its first response, so only the new size causes a new frame. Keys still
// work.
func TestTopRedrawsOnResize(t *testing.T) {
	p, address := serving(t, t.TempDir())
	r := trading(t, address, 0)
	r.rests(5)
	r.settle()
	var text string
	until(t, "a point to draw", func() error {
		var s status.Snapshot
		_, text = get(t, "http://"+p.page()+"/live.json", "*/*")
		if err := json.Unmarshal([]byte(text), &s); err != nil || len(s.Points) == 0 {
			return fmt.Errorf("%v: %s", err, text)
		}
		return nil
	})
	var asked atomic.Int64
	quit := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			_, _ = io.WriteString(w, text)
			return
		}
		select {
		case <-quit:
		case <-r.Context().Done():
		}
	}))
	defer hanging.Close()
	defer close(quit)

	m := onTerminal(t, 120, 40, "top", "--timeout", "1h", "--admin-address",
		hanging.Listener.Addr().String())
	m.fits(0, 120, 40)
	until(t, "a question without an answer", func() error {
		if asked.Load() < 2 {
			return fmt.Errorf("%d requests", asked.Load())
		}
		return nil
	})
	for _, to := range [][2]int{{80, 24}, {160, 50}, {60, 10}, {100, 30}} {
		before := len(m.frames())
		m.resize(to[0], to[1])
		m.fits(before, to[0], to[1])
	}
	if n := asked.Load(); n != 2 {
		t.Errorf("%d requests to a server that does not respond", n)
	}
	if _, err := m.file.WriteString("q"); err != nil {
		t.Fatal(err)
	}
	m.out.await(t, giveBack)
	if err := m.cmd.Wait(); err != nil {
		t.Error(err)
	}
}
