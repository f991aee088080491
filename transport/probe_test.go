package transport

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestParseMode(t *testing.T) {
	for _, mode := range []Mode{ModeAuto, ModeUring, ModePoll} {
		if got, err := ParseMode(mode.String()); got != mode || err != nil {
			t.Errorf("ParseMode(%q) = %v, %v", mode, got, err)
		}
	}
	for _, bad := range []string{"", "URING", "epoll", "auto "} {
		if _, err := ParseMode(bad); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", bad)) {
			t.Errorf("ParseMode(%q): error %v; want one that names the value", bad, err)
		}
	}
}

// The Makefile sets SLUICE_WANT_IOURING in every run of tests that must cover the io_uring engine.
// A missing build tag then fails here, instead of silently skipping half of the tests.
func TestWantedEngineIsCompiledIn(t *testing.T) {
	engines := Engines()
	if os.Getenv("SLUICE_WANT_IOURING") == "1" && !slices.Contains(engines, ModeUring.String()) {
		t.Errorf("SLUICE_WANT_IOURING=1 and these tests were built with %v alone; build with "+
			"-tags giouring", engines)
	}
	ring, d, err := Open(ModeUring, RingConfig{Entries: 8, Wake: func() {}})
	if err == nil {
		defer ring.Close()
	}
	if missing := d.Fallback == FallbackNotBuilt; missing == slices.Contains(engines, ModeUring.String()) {
		t.Errorf("Engines() = %v, but the diagnosis of Open(ModeUring) is: %s", engines, d.Text)
	}
}

func TestOpenRejectsInvalidConfigurations(t *testing.T) {
	for _, cfg := range []RingConfig{
		{Entries: 0, Wake: func() {}}, {Entries: 32769, Wake: func() {}}, {Entries: 8},
	} {
		for _, mode := range []Mode{ModeAuto, ModeUring, ModePoll} {
			if ring, d, err := Open(mode, cfg); err == nil || ring != nil || d == nil {
				t.Errorf("Open(%v, %d entries) = %v, %v, %v; want an error", mode, cfg.Entries, ring, d, err)
			}
		}
	}
}

// TestDiagnosis checks fallback and advice for every way in which io_uring can be unavailable.
func TestDiagnosis(t *testing.T) {
	open := environment{disabled: "0", release: "6.1.0", memlock: 8 << 20}
	cases := []struct {
		name     string
		err      error
		env      environment
		fallback Fallback
		falls    bool
		says     string
	}{
		{"a seccomp filter returns EPERM", syscall.EPERM, open, FallbackSandbox, true, "seccomp"},
		{"an old kernel without the sysctl returns EPERM", syscall.EPERM, environment{},
			FallbackSandbox, true, "seccomp"},
		{"the sysctl forbids it for all", syscall.EPERM, environment{disabled: "2"}, FallbackSysctl,
			true, "io_uring_disabled is 2"},
		{"the sysctl forbids it for this group", syscall.EPERM, environment{disabled: "1"},
			FallbackSysctl, true, "io_uring_group"},
		{"a security module returns EACCES", syscall.EACCES, open, FallbackSandbox, true, "sandbox"},
		{"a managed platform returns EOPNOTSUPP", syscall.EOPNOTSUPP, open, FallbackSandbox, true, "sandbox"},
		{"the kernel has no io_uring", syscall.ENOSYS, open, FallbackKernel, true, "kernel 6.1.0"},
		{"the kernel is too old", syscall.EINVAL, open, FallbackKernel, true, "too old"},
		{"the locked-memory limit is too small", syscall.ENOMEM, open, FallbackMemlock, false,
			"is allowed 8192 KiB"},
		{"the process is out of descriptors", syscall.EMFILE, open, FallbackFiles, false, "LimitNOFILE"},
		{"the system is out of descriptors", syscall.ENFILE, open, FallbackFiles, false, "fs.file-max"},
		{"something else", syscall.EIO, open, FallbackOther, false, "input/output error"},
		{"not an errno", errors.New("odd"), open, FallbackOther, false, "odd"},
		{"not compiled in", errNotBuilt, open, FallbackNotBuilt, true, "-checklinkname=0"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			fallback, text := diagnose(fmt.Errorf("io_uring_setup: %w", c.err), 4096, c.env)
			if fallback != c.fallback || fallback.fallsBack() != c.falls || !strings.Contains(text, c.says) {
				t.Errorf("fallback %v (falls back: %t): %q; want %v, %t, and %q in the text",
					fallback, fallback.fallsBack(), text, c.fallback, c.falls, c.says)
			}
		})
	}
}

func TestRingMemory(t *testing.T) {
	// 4096 entries: 256 KiB of submissions, 128 KiB of completions, 16 KiB of index, and a header's
	// page.
	if got := ringMemory(4096); got != 404<<10 {
		t.Errorf("ringMemory(4096) = %d KiB; want 404", got>>10)
	}
}
