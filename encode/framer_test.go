package encode_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"sluice/encode"
)

// encoderFunc is an encoder that calls the test's function, for both payloads.
type encoderFunc func(dst []byte) ([]byte, error)

func (f encoderFunc) AppendReport(dst []byte, report *int) ([]byte, error) {
	_ = *report // panics if it is nil
	return f(dst)
}

func (f encoderFunc) AppendQuery(dst []byte, _ *struct{}) ([]byte, error) { return f(dst) }

// frame returns a well-formed frame of the given whole size.
func frame(size int) []byte {
	b := bytes.Repeat([]byte{'x'}, size)
	binary.LittleEndian.PutUint32(b, uint32(size-4))
	b[4] = 0x30
	return b
}

// asked is the request number of the responses in these tests, and batchEnd their last frame.
const (
	asked    = 0x0102030405060708
	batchEnd = "\x09\x00\x00\x00\x02\x08\x07\x06\x05\x04\x03\x02\x01"
)

func newFramer(t testing.TB, f encoderFunc, maxFrame int) *encode.Framer[int, struct{}] {
	t.Helper()
	framer, err := encode.NewFramer(encode.Encoder[int, struct{}](f), encode.Framing{}, maxFrame)
	if err != nil {
		t.Fatal(err)
	}
	return framer
}

// both runs a test for each of the two payloads.
func both(t *testing.T, f encoderFunc, maxFrame int,
	test func(t *testing.T, payload string, room int, call func(dst []byte, last bool) ([]byte, error))) {
	t.Helper()
	framer := newFramer(t, f, maxFrame)
	t.Run("report", func(t *testing.T) {
		test(t, "report", framer.Room(),
			func(dst []byte, last bool) ([]byte, error) { return report(framer, dst, new(int), last) })
	})
	t.Run("query", func(t *testing.T) {
		test(t, "query", framer.Room(), func(dst []byte, last bool) (out []byte, err error) {
			defer catch(framer, dst, &out, &err)
			return framer.Query(dst, new(struct{}), last, asked)
		})
	})
}

// report encodes a report and recovers the encoder's panic, as the caller of a framer must.
func report[R, Q any](framer *encode.Framer[R, Q], dst []byte, report *R,
	last bool) (out []byte, err error) {
	defer catch(framer, dst, &out, &err)
	return framer.Report(dst, report, last, asked)
}

func catch[R, Q any](framer *encode.Framer[R, Q], dst []byte, out *[]byte, err *error) {
	if caught := framer.Caught(recover()); caught != nil {
		*out, *err = dst, caught
	}
}

func TestPanicOutsideEncoderIsNotCaught(t *testing.T) {
	framer := newFramer(t,
		func(dst []byte) ([]byte, error) { return append(dst, frame(9)...), nil }, 64)
	for name, before := range map[string]func(){
		"before the first report": func() {},
		"after a report": func() {
			framer.Report(make([]byte, 0, framer.Room()), new(int), false, asked)
		},
		"after a panic of the encoder": func() {
			_, err := report(framer, make([]byte, 0, framer.Room()), nil, false)
			if !errors.As(err, new(*encode.PanicError)) {
				t.Errorf("a nil report: %v, want the encoder's panic", err)
			}
		},
	} {
		before()
		func() {
			defer func() {
				if value := recover(); value != io.ErrClosedPipe {
					t.Errorf("%s: recovered %v, want the value that the test panicked with", name,
						value)
				}
			}()
			defer func() {
				if err := framer.Caught(recover()); err != nil {
					t.Errorf("%s: attributed to the encoder: %v", name, err)
				}
			}()
			panic(io.ErrClosedPipe)
		}()
	}
}

func TestWellFormedFramesAreReturnedUnchanged(t *testing.T) {
	for _, test := range []struct {
		name     string
		size     int
		maxFrame int
		last     bool
	}{
		{"a frame in the middle of a response has no BatchEnd", 64, 512, false},
		{"the last frame of a response is followed by BatchEnd", 64, 512, true},
		{"the smallest frame is a prefix and a tag", 5, 5, true},
		{"a frame may have exactly the limit", 512, 512, true},
		{"the limit may be 1 MiB", 1 << 20, 1 << 20, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			good := frame(test.size)
			encoder := func(dst []byte) ([]byte, error) { return append(dst, good...), nil }
			both(t, encoder, test.maxFrame,
				func(t *testing.T, _ string, room int, call func([]byte, bool) ([]byte, error)) {
					dst := append(make([]byte, 0, 8+room), "address:"...)
					out, err := call(dst, test.last)
					if err != nil {
						t.Fatal(err)
					}
					want := "address:" + string(good)
					if test.last {
						want += batchEnd
					}
					if string(out) != want {
						t.Errorf("got %d bytes, want %d, or they differ", len(out), len(want))
					}
					if &out[0] != &dst[0] {
						t.Error("the result is in other memory than dst")
					}
				})
		})
	}
}

func TestEncoderMistakesReturnNothing(t *testing.T) {
	for _, test := range []struct {
		name    string
		encoder encoderFunc
		reason  string // part of the error's text
		kind    any    // pointer to the expected error type, or nil
	}{
		{"an error although a whole frame was written",
			func(dst []byte) ([]byte, error) { return append(dst, frame(64)...), io.ErrShortBuffer }, "short buffer", nil},
		{"one byte more than the limit",
			func(dst []byte) ([]byte, error) { return append(dst, frame(513)...), nil },
			"513 bytes", new(*encode.TooLargeError)},
		{"two frames instead of one",
			func(dst []byte) ([]byte, error) { return append(append(dst, frame(64)...), frame(64)...), nil },
			"says 60 but 124", new(*encode.BadFrameError)},
		{"a length prefix that is too small",
			func(dst []byte) ([]byte, error) { return append(dst, frame(64)[:63]...), nil },
			"says 60 but 59", new(*encode.BadFrameError)},
		{"a length prefix that counts itself",
			func(dst []byte) ([]byte, error) { return append(dst, 6, 0, 0, 0, 0x30, 1), nil },
			"says 6 but 2", new(*encode.BadFrameError)},
		{"a length prefix that is negative",
			func(dst []byte) ([]byte, error) { return append(dst, 0xff, 0xff, 0xff, 0xff, 0x30), nil },
			"says 4294967295 but 1", new(*encode.BadFrameError)},
		{"a length prefix in big-endian",
			func(dst []byte) ([]byte, error) { return append(dst, 0, 0, 0, 1, 0x30), nil },
			"says 16777216", new(*encode.BadFrameError)},
		{"a tag of the transport",
			func(dst []byte) ([]byte, error) { return append(dst, batchEnd...), nil },
			"tag 0x02", new(*encode.BadFrameError)},
		{"a tag of a request",
			func(dst []byte) ([]byte, error) { return append(dst, 1, 0, 0, 0, 0x2f), nil },
			"tag 0x2f", new(*encode.BadFrameError)},
		{"nothing", func(dst []byte) ([]byte, error) { return dst, nil }, "at least 5",
			new(*encode.BadFrameError)},
		{"nil", func([]byte) ([]byte, error) { return nil, nil }, "at least 5",
			new(*encode.BadFrameError)},
		{"a prefix without a tag",
			func(dst []byte) ([]byte, error) { return append(dst, 0, 0, 0, 0), nil }, "at least 5",
			new(*encode.BadFrameError)},
		{"a good frame in a buffer of its own",
			func([]byte) ([]byte, error) { return frame(64), nil }, "not in the buffer",
			new(*encode.BadFrameError)},
		{"a good frame a byte further on",
			func(dst []byte) ([]byte, error) { return append(dst, frame(65)...)[1:], nil },
			"not in the buffer", new(*encode.BadFrameError)},
		{"a panic with a text", func([]byte) ([]byte, error) { panic("book is empty") },
			"book is empty", new(*encode.PanicError)},
		{"a panic with nil", func([]byte) ([]byte, error) { panic(nil) }, "panic called with nil",
			new(*encode.PanicError)},
		{"a panic of the runtime",
			func(dst []byte) ([]byte, error) { dst[len(dst)] = 1; return dst, nil },
			"index out of range [0]", new(*encode.PanicError)},
		{"access before the buffer", func(dst []byte) ([]byte, error) { return dst[len(dst)-1:], nil },
			"out of range [-1", new(*encode.PanicError)},
		{"access to the space of BatchEnd", func(dst []byte) ([]byte, error) { return dst[:513], nil },
			"out of range [:513]", new(*encode.PanicError)},
		{"an error whose text panics",
			func(dst []byte) ([]byte, error) { return dst, (*encode.PanicError)(nil) }, "refused", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			both(t, test.encoder, 512,
				func(t *testing.T, payload string, room int, call func([]byte, bool) ([]byte, error)) {
					dst := append(make([]byte, 0, 8+room), "address:"...)
					out, err := call(dst, true)
					if err == nil {
						t.Fatal("no error")
					}
					if string(out) != "address:" || &out[0] != &dst[0] {
						t.Errorf("got back %q, want dst as it was", out)
					}
					for _, want := range []string{test.reason, payload, "encode:"} {
						if !strings.Contains(err.Error(), want) {
							t.Errorf("error %q does not contain %q", err, want)
						}
					}
					if test.kind != nil && !errors.As(err, test.kind) {
						t.Errorf("error is a %T, want %T", err, test.kind)
					}
				})
		})
	}
}

func TestEncoderErrorIsWrapped(t *testing.T) {
	framer := newFramer(t, func(dst []byte) ([]byte, error) { return dst, io.ErrShortBuffer }, 512)
	_, err := framer.Report(make([]byte, 0, framer.Room()), new(int), true, asked)
	if !errors.Is(err, io.ErrShortBuffer) {
		t.Errorf("errors.Is does not find the encoder's error in %v", err)
	}
}

func TestPanicErrorHasValueAndStack(t *testing.T) {
	framer := newFramer(t, explode, 512)
	_, err := report(framer, make([]byte, 0, framer.Room()), new(int), true)
	var panicked *encode.PanicError
	if !errors.As(err, &panicked) {
		t.Fatalf("error is %v", err)
	}
	if panicked.Value != io.ErrUnexpectedEOF || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("value is %v, want the error it panicked with", panicked.Value)
	}
	if !strings.Contains(string(panicked.Stack), "explode") {
		t.Errorf("stack does not name the function that panicked:\n%s", panicked.Stack)
	}
}

func explode([]byte) ([]byte, error) { panic(io.ErrUnexpectedEOF) }

func TestFramerContinuesAfterEveryFailure(t *testing.T) {
	calls := 0
	framer := newFramer(t, func(dst []byte) ([]byte, error) {
		calls++
		switch calls % 4 {
		case 1:
			panic("odd")
		case 2:
			return dst, errors.New("refused")
		case 3:
			return append(dst, make([]byte, 4096)...), nil
		}
		return append(dst, frame(32)...), nil
	}, 512)
	dst := make([]byte, 0, 1<<16)
	for range 400 {
		dst, _ = report(framer, dst, new(int), true)
		if cap(dst)-len(dst) < framer.Room() {
			break
		}
	}
	unit := string(frame(32)) + batchEnd
	if want := strings.Repeat(unit, 100); string(dst) != want {
		t.Errorf("got %d bytes, want the %d bytes of 100 responses", len(dst), len(want))
	}
}

func TestNewFramerRejectsInvalidArguments(t *testing.T) {
	if _, err := encode.NewFramer[int, int](nil, encode.Framing{}, 512); err == nil ||
		!strings.Contains(err.Error(), "no encoder") {
		t.Errorf("nil encoder: error is %v", err)
	}
	for _, size := range []int{-1, 0, 4, 1<<20 + 1} {
		_, err := encode.NewFramer(encode.Encoder[int, struct{}](encoderFunc(explode)), encode.Framing{}, size)
		if err == nil || !strings.Contains(err.Error(), fmt.Sprint(size)) ||
			!strings.Contains(err.Error(), "5 to 1048576") {
			t.Errorf("frames of %d bytes: error is %v", size, err)
		}
	}
}

func TestTooLittleRoomPanics(t *testing.T) {
	framer := newFramer(t,
		func(dst []byte) ([]byte, error) { return append(dst, frame(5)...), nil }, 512)
	defer func() {
		if text := fmt.Sprint(recover()); !strings.Contains(text, "529 bytes free") ||
			!strings.Contains(text, "530") {
			t.Errorf("panic is %q, want the free bytes and the bytes required", text)
		}
	}()
	_, _ = framer.Report(make([]byte, 8, 8+framer.Room()-1), new(int), false, asked)
	t.Error("no panic")
}

func TestEncodingAllocatesNothing(t *testing.T) {
	framer, err := encode.NewFramer[trade, int](tradeEncoder{}, encode.Framing{}, encode.DefaultMaxFrame)
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]byte, 0, framer.Room())
	report, query := &trade{Price: 1}, new(int)
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := framer.Report(dst, report, true, asked); err != nil {
			t.Fatal(err)
		}
		if _, err := framer.Query(dst, query, true, asked); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations for a report and a query, want 0", n)
	}
}
