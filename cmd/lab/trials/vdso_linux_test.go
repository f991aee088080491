package trials

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tell writes a time into the memory of a process, as clock_gettime does.
func tell(pid int, at uint64, now time.Time) error {
	var b [16]byte
	binary.NativeEndian.PutUint64(b[:], uint64(now.Unix()))
	binary.NativeEndian.PutUint64(b[8:], uint64(now.Nanosecond()))
	return poke(pid, at, b[:])
}

func poke(pid int, at uint64, b []byte) error {
	local := []unix.Iovec{{Base: &b[0]}}
	local[0].SetLen(len(b))
	_, err := unix.ProcessVMWritev(pid, local, []unix.RemoteIovec{{Base: uintptr(at), Len: len(b)}}, 0)
	return err
}

// withoutVDSO takes the kernel's own code away from a process that is about to become another program, so
// that it reads its clocks by system calls. begin lets it go on.
func withoutVDSO(pid int, begin func() error) error {
	runtime.LockOSThread() // a tracer is a thread
	defer runtime.UnlockOSThread()
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(pid), 0,
		unix.PTRACE_O_TRACEEXEC, 0, 0); errno != 0 {
		return fmt.Errorf("ptrace: %w", errno)
	}
	if err := begin(); err != nil {
		return err
	}
	for {
		var status unix.WaitStatus
		if _, err := unix.Wait4(pid, &status, unix.WALL, nil); err != nil {
			return fmt.Errorf("wait: %w", err)
		}
		if !status.Stopped() {
			return fmt.Errorf("the child has ended: %v", status)
		}
		if status.TrapCause() == unix.PTRACE_EVENT_EXEC {
			break
		}
		if err := unix.PtraceCont(pid, int(status.StopSignal())); err != nil {
			return err
		}
	}
	return errors.Join(hideVDSO(pid), unix.PtraceDetach(pid))
}

// hideVDSO removes the address of the vDSO from what the kernel tells a program that begins: the stack has
// the count of arguments, their addresses, 0, those of variables, 0, and pairs of a type and a value.
func hideVDSO(pid int) error {
	const wordSize, sysinfoEHDR, ignore = 8, 33, 1
	stat, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "stat"))
	if err != nil {
		return err
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	var stack uint64
	if _, err := fmt.Sscan(fields[28-3], &stack); err != nil {
		return err
	}
	words := make([]byte, 64<<10)
	local := []unix.Iovec{{Base: &words[0]}}
	local[0].SetLen(len(words))
	n, err := unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: uintptr(stack), Len: len(words)}}, 0)
	if err != nil {
		return fmt.Errorf("reading the stack: %w", err)
	}
	word := func(i int) uint64 { return binary.NativeEndian.Uint64(words[i*wordSize:]) }
	for i, zeroes := 1+int(word(0)), 0; (i+2)*wordSize <= n; {
		switch {
		case zeroes < 2: // the ends of arguments and variables
			if word(i) == 0 {
				zeroes++
			}
			i++
		case word(i) == sysinfoEHDR:
			var b [wordSize]byte
			binary.NativeEndian.PutUint64(b[:], ignore)
			return poke(pid, stack+uint64(i*wordSize), b[:])
		case word(i) == 0:
			return nil // it has none
		default:
			i += 2
		}
	}
	return errors.New("the stack has no end of what the kernel tells a program")
}
