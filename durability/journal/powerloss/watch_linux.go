package powerloss

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Environment of a child: the root, which makes the test binary run as one, and whether calls that only read
// are reported too.
const (
	watchedEnv = "SLUICE_WATCHED"
	readsEnv   = "SLUICE_WATCHED_READS"
)

// calls are the calls that change a disk or, with reads, can fail on it. Go's runtime makes some of them itself; the
// parent ignores calls on other files.
func calls(reads bool) map[int]string {
	all := map[int]string{
		unix.SYS_WRITE: "write", unix.SYS_PWRITE64: "pwrite64", unix.SYS_FSYNC: "fsync",
		unix.SYS_FDATASYNC: "fdatasync",
		unix.SYS_FTRUNCATE: "ftruncate", unix.SYS_FALLOCATE: "fallocate", unix.SYS_OPENAT: "openat",
		unix.SYS_RENAMEAT:  "renameat",
		unix.SYS_RENAMEAT2: "renameat2", unix.SYS_UNLINKAT: "unlinkat", unix.SYS_MKDIRAT: "mkdirat",
		unix.SYS_COPY_FILE_RANGE: "copy_file_range",
	}
	if reads {
		maps.Copy(all, map[int]string{unix.SYS_FLOCK: "flock", unix.SYS_READ: "read", unix.SYS_PREAD64: "pread64",
			unix.SYS_GETDENTS64: "getdents64", unix.SYS_LSEEK: "lseek", unix.SYS_FSTAT: "fstat"})
	}
	return all
}

// messageFD is the child's descriptor for messages. A write to it is reported like any other call,
// so messages and file operations are in one order.
const messageFD = 4

// Answer is the result of a hook.
type Answer struct {
	Errno unix.Errno // not 0: the call is not executed and fails with it
	Kill  bool       // the child is killed before the call
}

// Process is a child process under the filter.
type Process struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stderr bytes.Buffer
	notify int
	root   string
	hook   func(Call) Answer
	names  map[int]string
	done   chan error // result of the supervising goroutine
}

// Watch starts the test binary as a child that runs the named test under the filter. hook is called
// on one goroutine for each call on a file below root that changes it, or with reads also for those that read it,
// and for each message. Skips the test if the kernel does not allow it.
func Watch(t testing.TB, child, root string, reads bool, hook func(Call) Answer) *Process {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "handover")
	defer theirs.Close()
	defer unix.Close(pair[0])
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	w := &Process{cmd: exec.Command(os.Args[0], "-test.run=^"+child+"$"), root: root, hook: hook,
		names: calls(true), done: make(chan error, 1)}
	w.cmd.Env = append(os.Environ(), watchedEnv+"="+root)
	if reads {
		w.cmd.Env = append(w.cmd.Env, readsEnv+"=1")
	}
	w.cmd.ExtraFiles = []*os.File{theirs, null}
	w.cmd.Stderr = &w.stderr
	w.cmd.Stdout = &w.stderr
	if w.stdin, err = w.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	if w.notify, err = receiveDescriptor(pair[0]); err != nil {
		w.stdin.Close()
		_ = w.cmd.Wait()
		t.Skipf("needs a kernel that lets a process watch its child's system calls (seccomp user "+
			"notification, Linux 5.19): %v %s", err, w.stderr.String())
	}
	go func() { w.done <- w.supervise() }()
	return w
}

func receiveDescriptor(socket int) (int, error) {
	control := make([]byte, unix.CmsgSpace(4))
	text := make([]byte, 256)
	n, m, _, _, err := unix.Recvmsg(socket, text, control, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, err
	}
	messages, err := unix.ParseSocketControlMessage(control[:m])
	if err != nil || len(messages) == 0 {
		return -1, fmt.Errorf("the child says %q", text[:n])
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return -1, err
	}
	return fds[0], nil
}

// End ends the child's input.
func (w *Process) End() error { return w.stdin.Close() }

// Done is sent the result of the child once it has ended; Wait takes it.
func (w *Process) Done() chan error { return w.done }

// Output is what the child has printed, once it has ended.
func (w *Process) Output() string { return w.stderr.String() }

// Tell sends a line to the child.
func (w *Process) Tell(line string) error { _, err := io.WriteString(w.stdin, line+"\n"); return err }

// Wait waits for the child's end and returns the error of the supervisor or, unless it was killed,
// of the child.
func (w *Process) Wait() error {
	err := <-w.done
	w.stdin.Close()
	exit := w.cmd.Wait()
	unix.Close(w.notify)
	var status *exec.ExitError
	if errors.As(exit, &status) && status.Sys().(interface{ Signaled() bool }).Signaled() {
		exit = nil
	}
	if exit != nil {
		exit = fmt.Errorf("child: %w\n%s", exit, w.stderr.String())
	}
	return errors.Join(err, exit)
}

func (w *Process) supervise() error {
	return Notified(w.notify, func(n *Notification) error {
		r := n.Continue()
		if call, ours := w.describe(n); ours {
			switch a := w.hook(call); {
			case a.Kill: // the thread is killed while it waits for the answer
				return w.cmd.Process.Kill()
			case a.Errno != 0:
				r = n.Fail(a.Errno)
			}
		}
		return r.Send(w.notify)
	})
}

// describe reads the arguments of a call from the child; false if it does not concern the journal's
// files.
func (w *Process) describe(n *Notification) (Call, bool) {
	c := Call{Name: w.names[int(n.NR)]}
	pid, a := int(n.PID), n.Args
	if c.Name == "write" && a[0] == messageFD {
		c.Message = strings.TrimSpace(string(memory(pid, a[1], int(a[2]))))
		return c, true
	}
	switch c.Name {
	case "openat", "unlinkat", "mkdirat", "renameat", "renameat2":
		c.Path = name(pid, a[0], a[1])
		c.Flag = int(int32(a[2]))
		if strings.HasPrefix(c.Name, "renameat") {
			c.To = name(pid, a[2], a[3])
		}
	case "copy_file_range":
		c.Path = link(pid, a[2])
	default:
		c.Path = link(pid, a[0])
	}
	if c.Path != w.root && !strings.HasPrefix(c.Path, w.root+"/") {
		return c, false
	}
	switch c.Name {
	case "write":
		c.Off, c.Data = position(pid, a[0]), memory(pid, a[1], int(a[2]))
	case "pwrite64":
		c.Off, c.Data = int64(a[3]), memory(pid, a[1], int(a[2]))
	case "ftruncate":
		c.Off = int64(a[1])
	case "fallocate":
		c.Flag, c.Off, c.Size = int(a[1]), int64(a[2]), int64(a[3])
	case "copy_file_range": // one file to another: the bytes that can be read are those that will be written
		from, err := os.ReadFile(link(pid, a[0]))
		at := position(pid, a[0])
		if a[1] != 0 || a[3] != 0 || err != nil || at > int64(len(from)) {
			panic(fmt.Sprintf("unexpected copy_file_range: %v, %v", a, err))
		}
		c.Off, c.Data = position(pid, a[2]), from[at:min(int64(len(from)), at+int64(a[4]))]
	}
	return c, true
}

func memory(pid int, at uint64, n int) []byte {
	out := make([]byte, n)
	if n == 0 {
		return out
	}
	local := []unix.Iovec{{Base: &out[0]}}
	local[0].SetLen(n)
	got, err := unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: uintptr(at), Len: n}}, 0)
	if err != nil {
		got = 0
	}
	return out[:got]
}

// name returns the absolute path for a directory descriptor and a path in the child's memory.
func name(pid int, dir, at uint64) string {
	var text []byte
	for len(text) < unix.PathMax {
		page := memory(pid, at+uint64(len(text)), 256-int((at+uint64(len(text)))%256))
		if end := bytes.IndexByte(page, 0); end >= 0 || len(page) == 0 {
			text = append(text, page[:max(end, 0)]...)
			break
		}
		text = append(text, page...)
	}
	path := string(text)
	if !filepath.IsAbs(path) {
		path = filepath.Join(link(pid, dir), path)
	}
	return filepath.Clean(path)
}

func link(pid int, fd uint64) string {
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, int32(fd)))
	if err != nil {
		return ""
	}
	return path
}

func position(pid int, fd uint64) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", pid, fd))
	if err != nil {
		return -1
	}
	line, _, _ := strings.Cut(string(text), "\n")
	n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimPrefix(line, "pos:")), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// BeWatched is called by the child: it installs the filter for the whole process and passes the
// listener to the parent. It returns the root and the parent's lines.
func BeWatched(t *testing.T) (root string, lines *bufio.Scanner) {
	root = os.Getenv(watchedEnv)
	if root == "" {
		t.Skip("runs only as a child of the tests that watch its system calls")
	}
	filter := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}}
	for number := range calls(os.Getenv(readsEnv) != "") {
		filter = append(filter, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K,
			K: uint32(number), Jf: 1},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF})
	}
	filter = append(filter, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	const flags = unix.SECCOMP_FILTER_FLAG_TSYNC | unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH |
		unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
	runtime.LockOSThread() // both calls must be made by one thread; the second applies to all threads
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		_ = unix.Sendmsg(3, []byte("prctl: "+err.Error()), nil, nil, 0)
		os.Exit(0)
	}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags,
		uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		_ = unix.Sendmsg(3, []byte("seccomp: "+errno.Error()), nil, nil, 0)
		os.Exit(0)
	}
	if err := unix.Sendmsg(3, []byte{0}, unix.UnixRights(int(fd)), nil, 0); err != nil {
		os.Exit(2)
	}
	unix.Close(int(fd))
	unix.Close(3)
	runtime.UnlockOSThread()
	return root, bufio.NewScanner(os.Stdin)
}

// Ask is Say for a question, and reports whether the parent failed it.
func Ask(format string, values ...any) bool {
	_, err := unix.Write(messageFD, fmt.Appendf(nil, format, values...))
	return err != nil
}

// Say sends a message to the parent, in order with the file operations.
func Say(format string, values ...any) {
	text := fmt.Appendf(nil, format, values...)
	if _, err := unix.Write(messageFD, text); err != nil {
		panic(err)
	}
}
