package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"sluice/transport"
)

// profileEnv lets the test binary restrict itself with a seccomp profile, less some calls, before
// it becomes a sluice.
const profileEnv = "SLUICE_TEST_PROFILE"

// profile is the part of the seccomp profile format that deploy/seccomp.json uses.
type profile struct {
	DefaultAction   string
	DefaultErrnoRet uint32
	Syscalls        []struct {
		Names  []string
		Action string
		Args   []any
	}
}

func readProfile(path string) (p profile, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return p, err
	}
	return p, json.Unmarshal(text, &p)
}

// init runs before TestMain. It restricts a child process of these tests permanently.
func init() {
	path, without, _ := strings.Cut(os.Getenv(profileEnv), "|")
	if path == "" {
		return
	}
	if err := restrict(path, strings.Fields(without)); err != nil {
		fmt.Fprintln(os.Stderr, "skip:", err)
		os.Exit(77)
	}
}

// restrict limits this process to the system calls of a profile, seccomp(2).
func restrict(path string, without []string) error {
	p, err := readProfile(path)
	if err != nil {
		return err
	}
	filter := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}} // number of the system call
	for _, s := range p.Syscalls {
		for _, name := range s.Names {
			if number, ok := numbers()[name]; ok && !slices.Contains(without, name) {
				filter = append(filter, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: number, Jf: 1},
					unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
			}
		}
	}
	filter = append(filter, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | p.DefaultErrnoRet})
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl: %w", err)
	}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	return nil
}

const uringCalls = "io_uring_enter io_uring_register io_uring_setup"

// The shipped profile allows all operations of the server on both engines. Without the three calls
// of io_uring the server names the sandbox and uses the portable engine.
func TestShippedSeccompProfile(t *testing.T) {
	path, err := filepath.Abs("../../deploy/seccomp.json")
	if err != nil {
		t.Fatal(err)
	}
	p, err := readProfile(path)
	if err != nil || p.DefaultAction != "SCMP_ACT_ERRNO" || p.DefaultErrnoRet != uint32(unix.EPERM) {
		t.Fatalf("%+v, %v", p, err)
	}
	for _, s := range p.Syscalls {
		if s.Action != "SCMP_ACT_ALLOW" || len(s.Args) > 0 || !slices.IsSorted(s.Names) {
			t.Errorf("a rule that this test does not apply: %+v", s)
		}
	}
	for _, v := range []struct{ name, io, without, engine string }{
		{"io_uring", "uring", "", "io_uring is in use"}, {"portable engine", "poll", "", "because it was asked for"},
		{"without io_uring", "auto", uringCalls, "a seccomp filter or another sandbox"},
	} {
		t.Run(v.name, func(t *testing.T) {
			if v.without != uringCalls {
				engineOrSkip(t, v.io)
			} else {
				engineOrSkip(t, "uring")
			}
			t.Setenv(profileEnv, path+"|"+v.without)
			dir := t.TempDir()
			socket := filepath.Join(dir, "admin")
			p, address := serving(t, filepath.Join(dir, "data"), "--io", v.io, "--admin-socket", socket, "--pprof", "--drain-spread", "1ms", "--idle", "spin", "--placement", "fused")
			p.out.await(t, v.engine)
			for _, args := range [][]string{
				{"client", "--address", address, "buy", "1", "1", "@", "100"}, {"admin", "--admin-socket", socket, "live"}, {"admin", "--admin-socket", socket, "policy", "in_memory>=1"},
				{"client", "--address", address, "sell", "1", "1", "@", "100"}, {"admin", "--admin-socket", socket, "connections"},
			} {
				if out, problems, code := local(args...); code != 0 {
					t.Fatalf("%v: exit code %d: %s%s", args, code, out, problems)
				}
			}
			_ = p.cmd.Process.Signal(syscall.SIGHUP)
			_ = p.cmd.Process.Signal(syscall.SIGUSR1)
			p.err.await(t, "limits reloaded")
			if out, problems, code := local("admin", "--admin-socket", socket, "drain"); code != 0 {
				t.Fatalf("%s%s", out, problems)
			}
			<-p.exited
			if code := p.cmd.ProcessState.ExitCode(); code != 0 || strings.Contains(p.err.String(), "not permitted") && v.without == "" {
				t.Errorf("exit code %d:\n%s", code, p.err)
			}
		})
	}
}

// engineOrSkip skips the test if an engine is not available or a test cannot restrict itself.
func engineOrSkip(t *testing.T, engine string) {
	t.Helper()
	mode, err := transport.ParseMode(engine)
	if err != nil {
		t.Fatal(err)
	}
	ring, d, err := transport.Open(mode, transport.RingConfig{Entries: 8, Wake: func() {}})
	if err != nil {
		t.Skip(d.Text)
	}
	if err := ring.Close(); err != nil {
		t.Fatal(err)
	}
	path, _ := filepath.Abs("../../deploy/seccomp.json")
	child := exec.Command(os.Args[0], "version")
	child.Env = append(os.Environ(), profileEnv+"="+path)
	if out, err := child.CombinedOutput(); strings.Contains(string(out), "skip:") {
		t.Skipf("the system does not allow a test to restrict itself: %s", out)
	} else if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// numbers are the system calls that the profile names. A call that is missing here is missing in
// the filter.
func numbers() map[string]uint32 {
	return map[string]uint32{
		"accept4": unix.SYS_ACCEPT4, "access": unix.SYS_ACCESS, "arch_prctl": unix.SYS_ARCH_PRCTL, "bind": unix.SYS_BIND,
		"brk": unix.SYS_BRK, "capget": unix.SYS_CAPGET, "chmod": unix.SYS_CHMOD, "clock_getres": unix.SYS_CLOCK_GETRES,
		"clock_gettime": unix.SYS_CLOCK_GETTIME, "clock_nanosleep": unix.SYS_CLOCK_NANOSLEEP, "clone": unix.SYS_CLONE,
		"clone3": unix.SYS_CLONE3, "close": unix.SYS_CLOSE, "connect": unix.SYS_CONNECT, "creat": unix.SYS_CREAT,
		"dup": unix.SYS_DUP, "dup2": unix.SYS_DUP2, "dup3": unix.SYS_DUP3, "epoll_create1": unix.SYS_EPOLL_CREATE1,
		"epoll_ctl": unix.SYS_EPOLL_CTL, "epoll_pwait": unix.SYS_EPOLL_PWAIT, "epoll_pwait2": unix.SYS_EPOLL_PWAIT2,
		"epoll_wait": unix.SYS_EPOLL_WAIT, "eventfd2": unix.SYS_EVENTFD2, "execve": unix.SYS_EXECVE, "exit": unix.SYS_EXIT,
		"exit_group": unix.SYS_EXIT_GROUP, "faccessat": unix.SYS_FACCESSAT, "faccessat2": unix.SYS_FACCESSAT2,
		"fadvise64": unix.SYS_FADVISE64, "fallocate": unix.SYS_FALLOCATE, "fchmod": unix.SYS_FCHMOD,
		"fchmodat": unix.SYS_FCHMODAT, "fchmodat2": unix.SYS_FCHMODAT2, "fcntl": unix.SYS_FCNTL,
		"fdatasync": unix.SYS_FDATASYNC, "flock": unix.SYS_FLOCK, "fstat": unix.SYS_FSTAT, "fstatfs": unix.SYS_FSTATFS,
		"fsync": unix.SYS_FSYNC, "ftruncate": unix.SYS_FTRUNCATE, "futex": unix.SYS_FUTEX, "getcpu": unix.SYS_GETCPU,
		"getcwd": unix.SYS_GETCWD, "getdents64": unix.SYS_GETDENTS64, "getegid": unix.SYS_GETEGID,
		"geteuid": unix.SYS_GETEUID, "getgid": unix.SYS_GETGID, "getpeername": unix.SYS_GETPEERNAME,
		"getpid": unix.SYS_GETPID, "getppid": unix.SYS_GETPPID, "getrandom": unix.SYS_GETRANDOM,
		"getrlimit": unix.SYS_GETRLIMIT, "getsockname": unix.SYS_GETSOCKNAME, "getsockopt": unix.SYS_GETSOCKOPT,
		"gettid": unix.SYS_GETTID, "gettimeofday": unix.SYS_GETTIMEOFDAY, "getuid": unix.SYS_GETUID,
		"io_uring_enter": unix.SYS_IO_URING_ENTER, "io_uring_register": unix.SYS_IO_URING_REGISTER,
		"io_uring_setup": unix.SYS_IO_URING_SETUP, "kill": unix.SYS_KILL, "listen": unix.SYS_LISTEN, "lseek": unix.SYS_LSEEK,
		"lstat": unix.SYS_LSTAT, "madvise": unix.SYS_MADVISE, "membarrier": unix.SYS_MEMBARRIER, "mincore": unix.SYS_MINCORE,
		"mkdir": unix.SYS_MKDIR, "mkdirat": unix.SYS_MKDIRAT, "mlock": unix.SYS_MLOCK, "mmap": unix.SYS_MMAP,
		"mprotect": unix.SYS_MPROTECT, "mremap": unix.SYS_MREMAP, "munlock": unix.SYS_MUNLOCK, "munmap": unix.SYS_MUNMAP,
		"nanosleep": unix.SYS_NANOSLEEP, "newfstatat": unix.SYS_NEWFSTATAT, "open": unix.SYS_OPEN, "openat": unix.SYS_OPENAT,
		"pause": unix.SYS_PAUSE, "pipe2": unix.SYS_PIPE2, "poll": unix.SYS_POLL, "ppoll": unix.SYS_PPOLL,
		"prctl": unix.SYS_PRCTL, "pread64": unix.SYS_PREAD64, "prlimit64": unix.SYS_PRLIMIT64, "pwrite64": unix.SYS_PWRITE64,
		"read": unix.SYS_READ, "readlink": unix.SYS_READLINK, "readlinkat": unix.SYS_READLINKAT, "readv": unix.SYS_READV,
		"recvfrom": unix.SYS_RECVFROM, "recvmsg": unix.SYS_RECVMSG, "rename": unix.SYS_RENAME, "renameat": unix.SYS_RENAMEAT,
		"renameat2": unix.SYS_RENAMEAT2, "restart_syscall": unix.SYS_RESTART_SYSCALL, "rmdir": unix.SYS_RMDIR,
		"rseq": unix.SYS_RSEQ, "rt_sigaction": unix.SYS_RT_SIGACTION, "rt_sigprocmask": unix.SYS_RT_SIGPROCMASK,
		"rt_sigreturn": unix.SYS_RT_SIGRETURN, "rt_sigtimedwait": unix.SYS_RT_SIGTIMEDWAIT,
		"sched_getaffinity": unix.SYS_SCHED_GETAFFINITY, "sched_setaffinity": unix.SYS_SCHED_SETAFFINITY,
		"sched_yield": unix.SYS_SCHED_YIELD, "sendfile": unix.SYS_SENDFILE, "sendmsg": unix.SYS_SENDMSG,
		"sendto": unix.SYS_SENDTO, "set_robust_list": unix.SYS_SET_ROBUST_LIST, "set_tid_address": unix.SYS_SET_TID_ADDRESS,
		"setitimer": unix.SYS_SETITIMER, "setrlimit": unix.SYS_SETRLIMIT, "setsockopt": unix.SYS_SETSOCKOPT,
		"shutdown": unix.SYS_SHUTDOWN, "sigaltstack": unix.SYS_SIGALTSTACK, "socket": unix.SYS_SOCKET,
		"socketpair": unix.SYS_SOCKETPAIR, "splice": unix.SYS_SPLICE, "stat": unix.SYS_STAT, "statfs": unix.SYS_STATFS,
		"statx": unix.SYS_STATX, "sync_file_range": unix.SYS_SYNC_FILE_RANGE, "sysinfo": unix.SYS_SYSINFO,
		"tgkill": unix.SYS_TGKILL, "time": unix.SYS_TIME, "timer_create": unix.SYS_TIMER_CREATE,
		"timer_delete": unix.SYS_TIMER_DELETE, "timer_settime": unix.SYS_TIMER_SETTIME, "umask": unix.SYS_UMASK,
		"uname": unix.SYS_UNAME, "unlink": unix.SYS_UNLINK, "unlinkat": unix.SYS_UNLINKAT, "write": unix.SYS_WRITE,
		"writev": unix.SYS_WRITEV,
	}
}
