package peer

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

// FuzzFrames checks that the frames of any stream are its bytes, and that a stream that ends is
// reported as such.
func FuzzFrames(f *testing.F) {
	f.Add(append(sealed(kindData, []byte("abc")), sealed(kindData, nil)...), false)
	f.Add(sealed(kindHello, (&hello{low: 1, high: 1, version: "v"}).encode()), true)
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), false)
	f.Add([]byte{5, 0, 0, 0, 3, 0, 0, 0, 0, 1, 2, 3, 4, 5}, true)
	f.Add(sealed(kindData, []byte("cut"))[:10], false)
	f.Fuzz(func(t *testing.T, stream []byte, slowly bool) {
		var src io.Reader = bytes.NewReader(stream)
		if slowly {
			src = iotest.OneByteReader(src)
		}
		const most = 100
		in, rest := frames{src: src, max: most}, stream
		for {
			k, payload, err := in.next()
			if err != nil {
				if (err == io.EOF) != (len(rest) == 0) {
					t.Fatalf("%v with %d bytes left", err, len(rest))
				}
				if len(rest) > 0 && len(rest) < headerSize && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatalf("%v for a part of a header", err)
				}
				return
			}
			frame := sealed(k, payload)
			if len(payload) > most || cap(payload) != len(payload) || !bytes.HasPrefix(rest, frame) {
				t.Fatalf("frame % x was read from % x", frame, rest)
			}
			rest = rest[len(frame):]
		}
	})
}

// FuzzHello checks that what was decoded is encoded to the same bytes, as far as they are known.
func FuzzHello(f *testing.F) {
	h := hello{low: 1, high: 3, cluster: [16]byte{1, 2}, from: 31, to: 2, lane: Bulk,
		identity: identity{incarnation: 1 << 40, start: 9}, version: "v1.2", generation: 2,
		table: []byte("table"), starts: []uint32{7, 0, 1 << 31}}
	f.Add(h.encode())
	f.Add(append(h.encode(), "later fields"...))
	f.Add(h.encode()[:helloFixed])
	f.Add([]byte(magic))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := decodeHello(b)
		if err != nil {
			return
		}
		again := h.encode()
		if h.low > protocol || h.high < protocol || !bytes.Equal(again[:helloFixed-1], b[:helloFixed-1]) {
			t.Fatalf("% x is encoded as % x", b, again)
		}
		if v := b[helloFixed : helloFixed+int(b[helloFixed-1])]; h.version != string(v) && h.version != printable(v) {
			t.Fatalf("version %q of %q", h.version, v)
		}
		if rest := b[helloFixed+int(b[helloFixed-1]):]; h.starts != nil &&
			!bytes.HasPrefix(rest, again[helloFixed+len(h.version):]) {
			t.Fatalf("%d starts of % x", len(h.starts), rest)
		}
	})
}

func TestFramesRejectDamage(t *testing.T) {
	whole := sealed(kindData, []byte("payload"))
	for i := range whole {
		damaged := bytes.Clone(whole)
		damaged[i] ^= 1
		f := frames{src: bytes.NewReader(damaged), max: 100}
		if _, _, err := f.next(); err == nil {
			t.Errorf("a frame with byte %d changed is accepted", i)
		}
	}
	f := frames{src: bytes.NewReader(whole), max: 6}
	if _, _, err := f.next(); err == nil || !strings.Contains(err.Error(), "announces 7 bytes; at most 6") {
		t.Errorf("a frame that is too long: %v", err)
	}
}

// A reader's memory follows what has arrived, not what is announced, and large buffers are released.
func TestFramesBoundMemory(t *testing.T) {
	huge := appendFrame(nil, kindData, nil)
	huge[3] = MaxFrame >> 24 // announces 64 MiB
	f := frames{src: io.MultiReader(bytes.NewReader(huge), bytes.NewReader(make([]byte, 100<<10))), max: MaxFrame}
	if _, _, err := f.next(); !errors.Is(err, io.ErrUnexpectedEOF) || len(f.buf) > 256<<10 {
		t.Errorf("%v with a buffer of %d bytes for 100 KiB", err, len(f.buf))
	}
	large := sealed(kindData, make([]byte, keepSize+1))
	f = frames{src: io.MultiReader(bytes.NewReader(large), bytes.NewReader(whole(3))), max: MaxFrame}
	for range 2 {
		if _, _, err := f.next(); err != nil {
			t.Fatal(err)
		}
	}
	if len(f.buf) > bufferSize {
		t.Errorf("a buffer of %d bytes is kept", len(f.buf))
	}
	if _, _, err := f.next(); err != io.EOF {
		t.Error(err)
	}
}

// repeated is a frame that comes again and again.
type repeated struct {
	frame []byte
	at    int
}

func (r *repeated) Read(b []byte) (int, error) {
	n := copy(b, r.frame[r.at:])
	r.at = (r.at + n) % len(r.frame)
	return n, nil
}

// The largest messages of the log, with their headers, are read without allocating.
func TestFramesOfTheLogReuseTheirBuffer(t *testing.T) {
	f := frames{src: &repeated{frame: whole(1<<20 + 64<<10)}, max: MaxFrame}
	if n := testing.AllocsPerRun(20, func() {
		if _, _, err := f.next(); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations for each frame", n)
	}
}

func whole(n int) []byte { return sealed(kindData, make([]byte, n)) }

// model is a queue as a list of frames.
type model struct {
	frames  []string
	dropped uint64
}

func (m *model) put(q *queue, frame string) bool {
	full := func() bool {
		bytes := headerSize + len(frame)
		for _, f := range m.frames {
			bytes += headerSize + len(f)
		}
		return len(m.frames) > 0 && (q.frames > 0 && len(m.frames) == q.frames || q.bytes > 0 && bytes > q.bytes)
	}
	for q.oldest && len(frame) <= q.most && full() {
		m.frames = m.frames[1:]
		m.dropped++
	}
	if len(frame) > q.most || full() {
		m.dropped++
		return false
	}
	m.frames = append(m.frames, frame)
	return true
}

func TestQueueFollowsModel(t *testing.T) {
	for name, limits := range map[string]*queue{
		"drops the oldest": {frames: 10, oldest: true, most: 100},
		"drops the new":    {bytes: 500, most: 1000},
		"one byte":         {bytes: 1, most: 1000},
	} {
		t.Run(name, func(t *testing.T) {
			q := limits
			q.wake = make(chan struct{}, 1)
			if q.put(nil) {
				t.Fatal("a closed queue accepts a frame")
			}
			q.accept(true)
			random, m := rand.New(rand.NewPCG(1, 2)), model{dropped: 1}
			var buffer, batch []byte
			for i := range 20_000 {
				frame := strings.Repeat(string(rune('a'+i%26)), random.IntN(q.most+10)/(1+random.IntN(20)))
				if got, want := q.put([]byte(frame)), m.put(q, frame); got != want {
					t.Fatalf("put %d: %v, want %v", i, got, want)
				}
				if waiting, dropped := q.state(); dropped != m.dropped || (waiting == 0) != (len(m.frames) == 0) {
					t.Fatalf("put %d: %d bytes wait, %d dropped, want %d", i, waiting, dropped, m.dropped)
				}
				if random.IntN(30) > 0 {
					continue
				}
				if buffer, batch = q.take(buffer); seal(batch) != len(m.frames) {
					t.Fatalf("take %d: want %d frames", i, len(m.frames))
				}
				in := frames{src: bytes.NewReader(batch), max: q.most}
				for _, want := range m.frames {
					if _, got, err := in.next(); err != nil || string(got) != want {
						t.Fatalf("take %d: %q, %v, want %q", i, got, err, want)
					}
				}
				m.frames = nil
			}
			if cap(buffer) > 8<<10 {
				t.Errorf("the buffer has grown to %d bytes", cap(buffer))
			}
			q.put(nil)
			if n := q.accept(false); n == 0 || q.put(nil) {
				t.Errorf("closing dropped %d frames", n)
			}
		})
	}
}
