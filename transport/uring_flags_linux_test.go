//go:build linux && giouring

package transport

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/pawelgaczynski/giouring"
	"golang.org/x/sys/unix"
)

// The kernel really refuses the first sets of flags, at setup or in the self-test of a ring. The
// first set that works is used, and the diagnosis names the refused ones.
func TestUringUsesTheFirstFlagsThatWork(t *testing.T) {
	uringRig(t, 8) // skips if io_uring is not available
	const (
		none     = 0
		all      = giouring.SetupSubmitAll
		unknown  = 1 << 31 // EINVAL at setup
		unknown2 = 1 << 30
		polled   = giouring.SetupIOPoll    // such a ring cannot send: EINVAL in the self-test
		disabled = giouring.SetupRDisabled // such a ring cannot submit: EBADFD in the self-test
	)
	cases := []struct {
		name     string
		flagSets []uint32
		flags    uint32 // of the ring
		err      error  // nil: the ring opens
		fallback Fallback
		says     []string
	}{
		{"the first is taken", []uint32{all, none}, all, nil, FallbackNone, nil},
		{"the first is refused at setup", []uint32{unknown | all, none}, none, nil, FallbackNone,
			[]string{"flags 0x80000080"}},
		{"the first fails its self-test", []uint32{polled, all, none}, all, nil, FallbackNone,
			[]string{"flags 0x1:"}},
		{"two are refused", []uint32{unknown | all, polled, all, none}, all, nil, FallbackNone,
			[]string{"flags 0x80000080", "flags 0x1:"}},
		{"three are refused", []uint32{unknown, unknown2, polled, none}, none, nil, FallbackNone,
			[]string{"flags 0x80000000", "flags 0x40000000", "flags 0x1:"}},
		{"all are refused", []uint32{unknown, polled}, none, unix.EINVAL, FallbackKernel,
			[]string{"flags 0x80000000", "flags 0x1:"}},
		{"fewer flags do not help", []uint32{unknown, disabled, none}, none, unix.EBADFD,
			FallbackOther, []string{"flags 0x80000000", "flags 0x40:"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			files, goroutines := openFiles(t), runtime.NumGoroutine()
			uring := func(cfg RingConfig) (Ring, error, error) { return openFirst(cfg, c.flagSets) }
			ring, d, err := open(ModeUring, RingConfig{Entries: 8, Wake: func() {}}, uring)
			text := d.Text
			if err == nil {
				if got := ring.Info(); got.Engine != "uring" || got.Flags != c.flags || d.Err != nil {
					t.Errorf("ring %+v, diagnosis %+v; want flags %#x", got, d, c.flags)
				}
				if err := ring.Close(); err != nil {
					t.Error(err)
				}
			} else {
				text = err.Error()
			}
			if !errors.Is(err, c.err) || d.Fallback != c.fallback {
				t.Errorf("error %v, fallback %v; want %v, %v", err, d.Fallback, c.err, c.fallback)
			}
			for _, says := range append(c.says, "io_uring") {
				if !strings.Contains(text, says) {
					t.Errorf("%q does not name %q", text, says)
				}
			}
			if len(c.says) == 0 && strings.Contains(text, "refused") {
				t.Errorf("%q names flags that were not refused", text)
			}
			settles(t, "open descriptors", files, func() int { return openFiles(t) })
			settles(t, "goroutines", goroutines, runtime.NumGoroutine)
		})
	}
}
