package transport

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
)

// Mode chooses the engine of a ring.
type Mode uint8

const (
	ModeAuto  Mode = iota // io_uring if available, else the portable engine
	ModeUring             // io_uring, or an error
	ModePoll              // the portable engine: send(2) and epoll(7)
)

// ParseMode reads the value of the option --io.
func ParseMode(text string) (Mode, error) {
	for _, m := range []Mode{ModeAuto, ModeUring, ModePoll} {
		if text == m.String() {
			return m, nil
		}
	}
	return ModeAuto, fmt.Errorf("transport: unknown I/O engine %q; use auto, uring or poll", text)
}

// String returns "auto", "uring" or "poll".
func (m Mode) String() string {
	switch m {
	case ModeAuto:
		return "auto"
	case ModeUring:
		return "uring"
	case ModePoll:
		return "poll"
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

// Engines returns the engines that this program was built with, in the order in which ModeAuto
// tries them. "uring" needs the build tag giouring.
func Engines() []string {
	if uringBuilt {
		return []string{"uring", "poll"}
	}
	return []string{"poll"}
}

// Diagnosis describes which engine a ring uses, and why.
type Diagnosis struct {
	Mode     Mode     // requested mode
	Engine   string   // "uring" or "poll"; "" if there is an error
	FellBack bool     // ModeAuto was asked for and the portable engine is in use; worth a warning at start
	Fallback Fallback // why io_uring is not in use, or why no engine is
	Err      error    // error of io_uring; nil if it is in use or was not tried
	Text     string   // one sentence for people: engine, cause, remedy
}

// Fallback is the reason why io_uring is not in use. The result of String is stable and fit for a
// metric label.
type Fallback uint8

const (
	FallbackNone     Fallback = iota // it is in use
	FallbackAsked                    // the portable engine was asked for
	FallbackNotBuilt                 // the program was built without io_uring
	FallbackSysctl                   // the sysctl kernel.io_uring_disabled forbids it
	FallbackSandbox                  // a seccomp filter or another sandbox forbids it
	FallbackKernel                   // the kernel has no io_uring, or an old one
	FallbackMemlock                  // the locked-memory limit is too small for the ring
	FallbackFiles                    // no file descriptor was left
	FallbackOther                    // any other error
)

// String returns the name of the fallback.
func (f Fallback) String() string {
	names := [...]string{"none", "asked", "not_built", "sysctl", "sandbox", "kernel", "memlock",
		"files", "other"}
	if int(f) < len(names) {
		return names[f]
	}
	return fmt.Sprintf("Fallback(%d)", uint8(f))
}

// fallsBack reports whether ModeAuto uses the portable engine instead. It does not if memory or
// descriptors are short, because the operator can fix that.
func (f Fallback) fallsBack() bool {
	return f == FallbackNotBuilt || f == FallbackSysctl || f == FallbackSandbox || f == FallbackKernel
}

// errNotBuilt is the error of a program that was built without the io_uring engine.
var errNotBuilt = errors.New("built without io_uring")

// Open opens a ring. It finds out whether io_uring works by using it: it opens a ring with the real
// flags, runs one no-op and sends one byte over a socket pair. The Diagnosis is never nil; if there
// is an error, it says what to do.
func Open(mode Mode, cfg RingConfig) (Ring, *Diagnosis, error) {
	return open(mode, cfg, probeUring)
}

func open(
	mode Mode, cfg RingConfig, uring func(RingConfig) (ring Ring, refused, err error),
) (Ring, *Diagnosis, error) {
	d := &Diagnosis{Mode: mode, Fallback: FallbackAsked}
	cfg, err := cfg.normalized()
	if err != nil {
		d.Fallback, d.Text = FallbackOther, err.Error()
		return nil, d, err
	}
	switch mode {
	case ModePoll:
		d.Text = "The portable engine (poll) is in use because it was asked for."
	case ModeAuto, ModeUring:
		ring, refused, err := uring(cfg)
		if err == nil {
			d.Engine, d.Fallback = ring.Info().Engine, FallbackNone
			d.Text = fmt.Sprintf("io_uring is in use with %d entries.", ring.Info().Entries)
			if refused != nil {
				d.Text += fmt.Sprintf(" The kernel refused it with more flags: %v.", refused)
			}
			return ring, d, nil
		}
		var why string
		d.Fallback, why = diagnose(err, cfg.Entries, readEnvironment())
		d.Err = err
		if mode == ModeUring || !d.Fallback.fallsBack() {
			d.Text = fmt.Sprintf("io_uring cannot be used: %s.", why)
			return nil, d, fmt.Errorf("transport: io_uring cannot be used: %s: %w", why, err)
		}
		d.Text = fmt.Sprintf("The portable engine (poll) is in use instead of io_uring: %s.", why)
	default:
		panic(fmt.Sprintf("transport: Open(%v); want ModeAuto, ModeUring or ModePoll", mode))
	}
	ring, err := openPoll(cfg)
	if err != nil {
		why := strings.TrimPrefix(err.Error(), "transport: ")
		if d.Fallback = FallbackOther; errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			d.Fallback, why = diagnose(err, cfg.Entries, environment{})
		}
		d.Text = fmt.Sprintf("The portable engine (poll) cannot be used: %s.", why)
		if d.Err != nil {
			d.Text += fmt.Sprintf(" io_uring cannot either: %v.", d.Err)
		}
		return nil, d, err
	}
	d.Engine, d.FellBack = ring.Info().Engine, mode == ModeAuto
	return ring, d, nil
}

// environment is what a diagnosis depends on besides the error.
type environment struct {
	disabled string // kernel.io_uring_disabled: "0", "1", "2"; "" if the kernel has no such sysctl
	release  string // kernel release, as uname -r; "" if unknown
	memlock  uint64 // RLIMIT_MEMLOCK of this process, bytes
}

// diagnose returns the fallback for an error of io_uring, and half a sentence with the cause and
// the remedy.
func diagnose(err error, entries int, env environment) (Fallback, string) {
	var errno syscall.Errno
	if errors.Is(err, errNotBuilt) {
		return FallbackNotBuilt, "this program was built without it; build with -tags giouring " +
			"-ldflags=-checklinkname=0"
	}
	if !errors.As(err, &errno) {
		return FallbackOther, err.Error()
	}
	switch errno {
	case syscall.EPERM, syscall.EACCES:
		switch env.disabled {
		case "2":
			return FallbackSysctl, "kernel.io_uring_disabled is 2, which forbids it for " +
				"everyone, root included; set the sysctl to 0, or accept --io=poll"
		case "1":
			return FallbackSysctl, "kernel.io_uring_disabled is 1, which forbids it for " +
				"processes outside kernel.io_uring_group and without CAP_SYS_ADMIN; join the " +
				"group, set the sysctl to 0, or accept --io=poll"
		}
		return FallbackSandbox, "a seccomp filter or another sandbox (container runtime, service " +
			"manager) forbids it; allow the system calls io_uring_setup, io_uring_enter and " +
			"io_uring_register, or accept --io=poll"
	case syscall.EOPNOTSUPP:
		return FallbackSandbox, "the sandbox of this platform does not support it; allow it " +
			"there, or accept --io=poll"
	case syscall.ENOSYS:
		return FallbackKernel, fmt.Sprintf("kernel %s has no io_uring, or a sandbox reports that "+
			"it has none; use a kernel of 5.11 or later with CONFIG_IO_URING, or accept "+
			"--io=poll", orUnknown(env.release))
	case syscall.EINVAL:
		return FallbackKernel, fmt.Sprintf("the io_uring of kernel %s is too old for sends and "+
			"polls; use a kernel of 5.11 or later, or accept --io=poll", orUnknown(env.release))
	case syscall.ENOMEM:
		return FallbackMemlock, fmt.Sprintf("a ring of %d entries needs about %d KiB of locked "+
			"memory and this process is allowed %s, shared by all rings of the user; raise "+
			"LimitMEMLOCK (ulimit -l), use fewer shards or entries, or choose --io=poll",
			entries, ringMemory(entries)>>10, limitText(env.memlock))
	case syscall.EMFILE:
		return FallbackFiles, "this process has no file descriptor left; raise LimitNOFILE (ulimit -n)"
	case syscall.ENFILE:
		return FallbackFiles, "this system has no file descriptor left; raise the sysctl fs.file-max"
	}
	return FallbackOther, err.Error()
}

// ringMemory is approximately the memory that the kernel locks for a ring, in bytes: submission
// entries of 64 B, twice as many completions of 16 B, an index of 4 B an entry and a header, each
// in whole pages.
func ringMemory(entries int) int {
	const page = 4096
	pages := func(n int) int { return (n + page - 1) &^ (page - 1) }
	return pages(64*entries) + pages(320+16*2*entries+4*entries)
}

func limitText(limit uint64) string {
	if limit == ^uint64(0) {
		return "any amount"
	}
	return fmt.Sprintf("%d KiB", limit>>10)
}

func orUnknown(release string) string {
	if release == "" {
		return "(unknown)"
	}
	return release
}
