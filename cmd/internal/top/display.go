package top

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

// Control sequences of terminals.
const (
	ownScreen  = "\x1b[?1049h\x1b[?25l\x1b[?7l" // alternate screen, no cursor, long lines are cut
	giveBack   = "\x1b[?7h\x1b[?25h\x1b[?1049l" // undo ownScreen
	fromTop    = "\x1b[H"                       // draw over the last frame, because clearing flickers
	clearLine  = "\x1b[K"                       // the rest of the line
	clearBelow = "\x1b[J"                       // the rest of the screen
)

// Display is a terminal on which frames are drawn, one over the other, until q or a signal. It belongs
// to one goroutine.
type Display struct {
	out     *os.File
	restore func()
	signals chan os.Signal
	keys    chan byte
}

// OpenDisplay takes a terminal over. in is its keyboard. The caller calls Close.
func OpenDisplay(in, out *os.File) (*Display, error) {
	restore, err := rawKeys(in)
	if err != nil {
		return nil, err
	}
	if _, err := io.WriteString(out, ownScreen); err != nil {
		restore()
		return nil, fmt.Errorf("top: %w", err)
	}
	d := &Display{out: out, restore: restore, signals: make(chan os.Signal, 4), keys: make(chan byte)}
	signal.Notify(d.signals, append(resized(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)...)
	go func() { // ends with the process, because a read of a terminal cannot be cancelled
		var b [1]byte
		for {
			if n, err := in.Read(b[:]); err != nil || n == 0 {
				close(d.keys)
				return
			}
			d.keys <- b[0]
		}
	}()
	return d, nil
}

// Close gives the terminal back.
func (d *Display) Close() {
	signal.Stop(d.signals)
	_, _ = io.WriteString(d.out, giveBack)
	d.restore()
}

// Signals receives signals, which are for Ended.
func (d *Display) Signals() <-chan os.Signal { return d.signals }

// Keys receives keys, which are for Quit.
func (d *Display) Keys() <-chan byte { return d.keys }

// Ended reports whether a signal ends the display; if not, the size has changed.
func (d *Display) Ended(s os.Signal) bool { return !slices.Contains(resized(), s) }

// Quit reports whether a key, or the end of the input, ends the display: q, ctrl-C and ctrl-D.
func (d *Display) Quit(key byte, ok bool) bool { return !ok || key == 'q' || key == 3 || key == 4 }

// Size returns the columns and rows that a frame may have.
func (d *Display) Size() (width, height int) { return terminalSize(d.out) }

// Draw draws a frame, whose lines end with \n.
func (d *Display) Draw(frame string) error {
	text := strings.ReplaceAll(frame, "\n", clearLine+"\r\n")
	text = fromTop + strings.TrimSuffix(text, "\r\n") + clearBelow
	if _, err := io.WriteString(d.out, text); err != nil && !errors.Is(err, syscall.EINTR) {
		return fmt.Errorf("top: %w", err)
	}
	return nil
}
