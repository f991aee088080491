package transport

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// deniedEnv makes the test binary forbid io_uring to itself and then run TestDeniedChild alone.
const deniedEnv = "TRANSPORT_TEST_DENY"

func TestMain(m *testing.M) {
	if plan := os.Getenv(deniedEnv); plan != "" {
		if err := deny(plan); err != nil {
			fmt.Println("skip:", err)
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

// deny restricts this process permanently: "call:errno" makes a system call fail, "memlock:bytes"
// lowers the limit.
func deny(plan string) error {
	what, value, _ := strings.Cut(plan, ":")
	number, err := strconv.Atoi(value)
	if err != nil {
		return err
	}
	if what == "memlock" {
		limit := unix.Rlimit{Cur: uint64(number), Max: uint64(number)}
		return unix.Setrlimit(unix.RLIMIT_MEMLOCK, &limit)
	}
	calls := map[string]uint32{"setup": unix.SYS_IO_URING_SETUP, "enter": unix.SYS_IO_URING_ENTER,
		"register": unix.SYS_IO_URING_REGISTER}
	// The filter reads the number of the system call and returns the errno for one of them; see
	// seccomp(2).
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: calls[what], Jt: 0, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(number)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl: %w", err)
	}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	return nil
}

// TestOpenWhereUringIsDenied really forbids io_uring to a child process, which opens rings in every
// mode.
func TestOpenWhereUringIsDenied(t *testing.T) {
	newRig(t, "uring/unix", 8) // skips if it is denied already
	cases := []struct {
		plan string
		want string // what the child prints for auto, and for uring
	}{
		{fmt.Sprintf("setup:%d", unix.EPERM), "auto=poll/sandbox uring=error/sandbox poll=poll/asked"},
		{fmt.Sprintf("setup:%d", unix.EACCES), "auto=poll/sandbox uring=error/sandbox poll=poll/asked"},
		{fmt.Sprintf("setup:%d", unix.ENOSYS), "auto=poll/kernel uring=error/kernel poll=poll/asked"},
		{fmt.Sprintf("setup:%d", unix.EOPNOTSUPP), "auto=poll/sandbox uring=error/sandbox poll=poll/asked"},
		{fmt.Sprintf("setup:%d", unix.EMFILE), "auto=error/files uring=error/files poll=poll/asked"},
		{fmt.Sprintf("enter:%d", unix.EPERM), "auto=poll/sandbox uring=error/sandbox poll=poll/asked"},
		{fmt.Sprintf("enter:%d", unix.ENOSYS), "auto=poll/kernel uring=error/kernel poll=poll/asked"},
		{fmt.Sprintf("enter:%d", unix.EOPNOTSUPP), "auto=poll/sandbox uring=error/sandbox poll=poll/asked"},
		{fmt.Sprintf("setup:%d", unix.EINVAL), "auto=poll/kernel uring=error/kernel poll=poll/asked"}, // with every set of flags
		{fmt.Sprintf("enter:%d", unix.EINVAL), "auto=poll/kernel uring=error/kernel poll=poll/asked"}, // a ring was opened for every set of flags
		{fmt.Sprintf("register:%d", unix.EPERM), "auto=uring/none uring=uring/none poll=poll/asked"},  // nothing is registered
		{"memlock:65536", "auto=error/memlock uring=error/memlock poll=poll/asked"},
	}
	for _, c := range cases {
		t.Run(c.plan, func(t *testing.T) {
			child := exec.Command(os.Args[0], "-test.run=^TestDeniedChild$", "-test.v")
			child.Env = append(os.Environ(), deniedEnv+"="+c.plan)
			if strings.HasPrefix(c.plan, "memlock") {
				asNobody(t, child)
			}
			out, err := child.CombinedOutput()
			text := string(out)
			switch {
			case strings.Contains(text, "skip:"):
				t.Skip("the system does not allow a process to restrict itself:", text)
			case err != nil:
				t.Fatalf("%v\n%s", err, text)
			case !strings.Contains(text, c.want+"\n"):
				t.Fatalf("child printed:\n%s\nwant %q", text, c.want)
			}
		})
	}
}

// TestDiagnosisWithoutAnyEngine lowers the limit of descriptors to those that are open.
func TestDiagnosisWithoutAnyEngine(t *testing.T) {
	ring, _, err := Open(ModePoll, RingConfig{Entries: 8, Wake: func() {}})
	if err != nil {
		t.Fatal(err)
	}
	ring.Close() // the first one initializes the Go poller
	next, err := unix.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(next)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		mode Mode
		want string
	}{
		{ModePoll, "The portable engine (poll) cannot be used: this process has no file descriptor left; " +
			"raise LimitNOFILE (ulimit -n)."},
		{ModeAuto, "The portable engine (poll) cannot be used: this process has no file descriptor left; " +
			"raise LimitNOFILE (ulimit -n). io_uring cannot either: built without io_uring."},
	} {
		low := unix.Rlimit{Cur: uint64(next), Max: limit.Max}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
			t.Fatal(err)
		}
		ring, d, err := open(c.mode, RingConfig{Entries: 8, Wake: func() {}},
			func(RingConfig) (Ring, error, error) { return nil, nil, errNotBuilt })
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		if ring != nil || !errors.Is(err, unix.EMFILE) {
			t.Fatalf("%v: ring %v, error %v; want EMFILE", c.mode, ring, err)
		}
		if d.Text != c.want || d.Fallback != FallbackFiles || d.Engine != "" || d.FellBack {
			t.Errorf("%v: %+v; want the text %q", c.mode, d, c.want)
		}
	}
}

// asNobody runs the child as an ordinary user, to whom the locked-memory limit applies, with a copy
// of the test binary that this user may run.
func asNobody(t *testing.T, child *exec.Cmd) {
	t.Helper()
	if os.Getuid() != 0 {
		return // already an ordinary user
	}
	binary, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	copied, err := os.CreateTemp("/tmp", "transport-test-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(copied.Name()) })
	_, err = copied.Write(binary)
	if err := errors.Join(err, copied.Chmod(0o755), copied.Close()); err != nil {
		t.Fatal(err)
	}
	child.Path, child.Args[0], child.Dir = copied.Name(), copied.Name(), "/"
	child.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
}

// TestDeniedChild is the child of TestOpenWhereUringIsDenied.
func TestDeniedChild(t *testing.T) {
	if os.Getenv(deniedEnv) == "" {
		t.Skip("runs as a child of TestOpenWhereUringIsDenied")
	}
	if ring, _, err := Open(ModePoll, RingConfig{Entries: 8, Wake: func() {}}); err == nil {
		ring.Close() // the first one initializes the Go poller
	}
	files := openFiles(t)
	var said []string
	for _, mode := range []Mode{ModeAuto, ModeUring, ModePoll} {
		ring, d, err := Open(mode, RingConfig{Entries: 4096, Wake: func() {}})
		engine := "error"
		if err == nil {
			engine = d.Engine
			if got := ring.Info().Engine; got != engine ||
				d.FellBack != (mode == ModeAuto && engine == "poll") {
				t.Errorf("ring %q, diagnosis %+v", got, d)
			}
			if err := ring.Close(); err != nil {
				t.Error(err)
			}
		}
		t.Log(d.Text)
		said = append(said, fmt.Sprintf("%v=%s/%v", mode, engine, d.Fallback))
	}
	if now := openFiles(t); now > files {
		t.Errorf("%d descriptors open; %d before", now, files)
	}
	fmt.Println(strings.Join(said, " "))
}
