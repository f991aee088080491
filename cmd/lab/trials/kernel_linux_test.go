package trials

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"sluice/cmd/internal/fleet"
	"sluice/durability/journal/powerloss"
)

// kernel stands between a node and the kernel: the node stands still at each call that reaches its disk, or
// reads the wall clock, until the kernel of the trial says what becomes of it (seccomp_unotify(2), see
// docs/decisions/0018-power-loss.md). The node's program is not changed.
//
//	test binary, as the child: filter ── exec ──> sluice serve ── fdatasync ──┐
//	test: kernel <────────────────────────────────────────────────────────────┘
//	        └── continue, fail with an errno, or no reply until the disk is well
//
// Its methods may be called from any goroutine.
type kernel struct {
	dir      string // of the node's data
	clock    bool   // the wall clock is the trial's
	listener int    // where the child hands its descriptor over

	mu    sync.Mutex // guards what follows
	errno unix.Errno // not 0: calls that reach the disk fail with it
	hangs bool       // calls that reach the disk do not return
	held  []heldCall
	wall  time.Duration // by which the wall clock is ahead
	calls int           // that failed or hung
	wrong int           // times that a wrong wall clock was read
	err   error
}

// heldCall is a call that hangs.
type heldCall struct {
	listener int
	call     powerloss.Notification
}

// kernelChild makes this binary the child: the path of a socket, whether the wall clock is the trial's, and
// the program with its arguments follow.
const kernelChild = "under-the-kernel-of-a-trial"

func init() {
	if len(os.Args) > 4 && os.Args[1] == kernelChild {
		runtime.LockOSThread() // the filter is that of the thread that becomes the program
		fmt.Fprintln(os.Stderr, beUnderKernel(os.Args[2], os.Args[3] == "clock", os.Args[4:]))
		os.Exit(3)
	}
}

// beUnderKernel becomes the program. It returns only an error.
func beUnderKernel(socket string, clock bool, program []string) error {
	to, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Connect(to, &unix.SockaddrUnix{Name: socket}); err != nil {
		return err
	}
	filter := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}}
	for _, nr := range []uint32{unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_FALLOCATE, unix.SYS_FTRUNCATE,
		unix.SYS_WRITE, unix.SYS_PWRITE64} {
		filter = append(filter, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: nr, Jf: 1},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF})
	}
	if clock { // CLOCK_REALTIME, 0, as the first argument
		filter = append(filter,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_CLOCK_GETTIME, Jf: 3},
			unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 16},
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.CLOCK_REALTIME, Jf: 1},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF})
	}
	filter = append(filter, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
		uintptr(unsafe.Pointer(&unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})))
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	if err := unix.Sendmsg(to, []byte{0}, unix.UnixRights(int(fd)), nil, 0); err != nil {
		return err
	}
	if n, err := unix.Read(to, make([]byte, 1)); n != 1 {
		return fmt.Errorf("the trial has ended: %w", err)
	}
	return syscall.Exec(program[0], program, os.Environ())
}

// underKernel has a node run under a kernel, from its next start on, and with a wall clock of the trial's if
// clock is set. An error says why that is not possible on this machine.
func underKernel(t testing.TB, n *fleet.Node, clock bool) (*kernel, error) {
	t.Helper()
	k := &kernel{dir: n.Dir, clock: clock}
	socket := n.Dir + ".kernel"
	var err error
	if k.listener, err = unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0); err == nil {
		err = errors.Join(unix.Bind(k.listener, &unix.SockaddrUnix{Name: socket}), unix.Listen(k.listener, 8))
	}
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(k.accept)
	t.Cleanup(func() {
		_ = unix.Shutdown(k.listener, unix.SHUT_RDWR) // ends accept
		wg.Wait()
		unix.Close(k.listener)
		os.Remove(socket)
		if k.err != nil {
			t.Error(k.err)
		}
	})
	n.Wrap = []string{os.Args[0], kernelChild, socket, map[bool]string{false: "disk", true: "clock"}[clock]}
	if err := triesKernel(n.Wrap); err != nil {
		return nil, fmt.Errorf("needs a kernel that lets a process watch its child's system calls (seccomp user "+
			"notification, Linux 5.19, and ptrace): %w", err)
	}
	return k, nil
}

// triesKernel runs a program that does nothing.
func triesKernel(wrap []string) error {
	program, err := exec.LookPath("true")
	if err != nil {
		return err
	}
	cmd := exec.Command(wrap[0], append(wrap[1:], program)...)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, out) // until its end: a wait before would take a stop of the tracer's
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%w: %s", err, problems.String())
	}
	return nil
}

// accept takes over the descriptors of children.
func (k *kernel) accept() {
	for {
		from, _, err := unix.Accept4(k.listener, unix.SOCK_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return
		}
		if err := k.take(from); err != nil {
			k.note(fmt.Errorf("kernel of %s: %w", k.dir, err))
		}
		unix.Close(from)
	}
}

// take takes a child over.
func (k *kernel) take(from int) error {
	control := make([]byte, unix.CmsgSpace(4))
	_, m, _, _, err := unix.Recvmsg(from, make([]byte, 8), control, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return err
	}
	messages, err := unix.ParseSocketControlMessage(control[:m])
	if err != nil || len(messages) == 0 {
		return err // the child says why
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return err
	}
	go k.watch(fds[0])
	if !k.clock {
		_, err := unix.Write(from, []byte{0})
		return err
	}
	child, err := unix.GetsockoptUcred(from, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return err
	}
	return withoutVDSO(int(child.Pid), func() error {
		_, err := unix.Write(from, []byte{0})
		return err
	})
}

func (k *kernel) note(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err = errors.Join(k.err, err)
}

// watch says what becomes of the calls of a process, until it has ended.
func (k *kernel) watch(listener int) {
	defer k.forget(listener)
	if err := powerloss.Notified(listener, func(n *powerloss.Notification) error {
		k.judge(listener, n)
		return nil
	}); err != nil {
		k.note(err)
	}
}

// judge says what becomes of a call.
func (k *kernel) judge(listener int, n *powerloss.Notification) {
	r := n.Continue()
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case n.NR == unix.SYS_CLOCK_GETTIME:
		if k.wall != 0 {
			k.wrong++
		}
		if tell(int(n.PID), n.Args[1], time.Now().Add(k.wall)) == nil { // else it was killed
			r.Flags = 0
		}
	case !k.hangs && k.errno == 0, !k.concerns(n):
	case k.hangs:
		k.calls++
		k.held = append(k.held, heldCall{listener, *n})
		return
	default:
		k.calls++
		r = n.Fail(k.errno)
	}
	_ = r.Send(listener) // an error: it was killed
}

// concerns reports whether a call is on a file of the node's data.
func (k *kernel) concerns(n *powerloss.Notification) bool {
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", n.PID, int32(n.Args[0])))
	return err == nil && strings.HasPrefix(path, k.dir+"/")
}

// forget forgets a process that has ended.
func (k *kernel) forget(listener int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held = slices.DeleteFunc(k.held, func(c heldCall) bool { return c.listener == listener })
	unix.Close(listener)
}

// hang has the disk hang from now on.
func (k *kernel) hang() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.hangs = true
}

// fail has all writes to the disk fail from now on.
func (k *kernel) fail(errno unix.Errno) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.errno = errno
}

// heal ends all faults of the disk. What hung goes on. It returns how many calls failed or hung since then.
func (k *kernel) heal() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.held {
		_ = c.call.Continue().Send(c.listener) // an error: it was killed
	}
	calls := k.calls
	k.hangs, k.errno, k.held, k.calls = false, 0, nil, 0
	return calls
}

// set sets the wall clock: ahead of that of the machine by a time, or behind it. It returns how often a wrong
// clock was read until now.
func (k *kernel) set(ahead time.Duration) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.wall = ahead
	return k.wrong
}

// wrongReads is how often a wrong clock was read until now.
func (k *kernel) wrongReads() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.wrong
}
