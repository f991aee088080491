//go:build linux || darwin

package top

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// IsTerminal reports whether Watch can read from f and draw on it.
func IsTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), getTermios)
	return err == nil
}

// resized lists the signals that report a new size of the terminal.
func resized() []os.Signal { return []os.Signal{unix.SIGWINCH} }

// terminalSize returns columns and rows.
func terminalSize(f *os.File) (width, height int) {
	if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil &&
		size.Col > 0 && size.Row > 1 {
		return int(size.Col), int(size.Row)
	}
	return 80, 24
}

// rawKeys makes a terminal deliver keys as they are pressed, without showing them. restore undoes
// it.
func rawKeys(f *os.File) (restore func(), err error) {
	fd := int(f.Fd())
	old, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil {
		return nil, fmt.Errorf("top: the terminal: %w", err)
	}
	keys := *old
	keys.Lflag &^= unix.ICANON | unix.ECHO
	keys.Cc[unix.VMIN], keys.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, setTermios, &keys); err != nil {
		return nil, fmt.Errorf("top: the terminal: %w", err)
	}
	return func() {
		_ = unix.IoctlSetTermios(fd, setTermios, old) // an error leaves nothing to do
	}, nil
}
