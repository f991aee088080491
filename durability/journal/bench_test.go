package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// These numbers depend on the disk, so each size is measured together with the minimum: appending
// as many bytes to a preallocated file and calling fdatasync. Compare the pairs of one run, not
// runs.
func BenchmarkCommit(b *testing.B) {
	payload := make([]byte, 64)
	for _, events := range []int{1, 64, 1024} {
		b.Run(fmt.Sprintf("journal/events=%d", events), func(b *testing.B) {
			j, _, err := Open(Options{Dir: b.TempDir(), SegmentBytes: testSegmentBytes << 10})
			if err != nil {
				b.Fatal(err)
			}
			w := j.Writer()
			b.ReportAllocs()
			b.SetBytes(int64(events * len(payload)))
			for b.Loop() {
				for range events {
					if _, err := w.Append(payload); err != nil {
						b.Fatal(err)
					}
				}
				if _, err := w.Commit(); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			mustClose(b, j)
		})
		b.Run(fmt.Sprintf("bare/events=%d", events), func(b *testing.B) {
			f, err := os.Create(filepath.Join(b.TempDir(), "bare"))
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			const fileBytes = testSegmentBytes << 10
			allocate := func() { // new space each time, because overwriting is cheaper than appending
				if err := errors.Join(f.Truncate(0), unix.Fallocate(int(f.Fd()), 0, 0, fileBytes),
					f.Sync()); err != nil {
					b.Fatal(err)
				}
			}
			allocate()
			chunk := make([]byte, events*(len(payload)+1)+batchHeaderBytes)
			b.ReportAllocs()
			b.SetBytes(int64(events * len(payload)))
			for at := int64(0); b.Loop(); at += int64(len(chunk)) {
				if at+int64(len(chunk)) > fileBytes {
					b.StopTimer()
					allocate()
					at = 0
					b.StartTimer()
				}
				if _, err := f.WriteAt(chunk, at); err != nil {
					b.Fatal(err)
				}
				if err := unix.Fdatasync(int(f.Fd())); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkAppend is the cost of an event without the disk.
func BenchmarkAppend(b *testing.B) {
	j, _, err := Open(Options{Dir: b.TempDir(), SegmentBytes: testSegmentBytes << 10})
	if err != nil {
		b.Fatal(err)
	}
	w := j.Writer()
	payload := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		if w.Pending() > DefaultBatchBytes {
			w.count = 0 // dropped, so that the disk is not measured
		}
		if _, err := w.Append(payload); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	mustClose(b, j)
}

// BenchmarkScan is the speed of verifying the log, the part of a restart besides applying the
// events.
func BenchmarkScan(b *testing.B) {
	dir := b.TempDir()
	j, _, err := Open(Options{Dir: dir, SegmentBytes: testSegmentBytes << 10})
	if err != nil {
		b.Fatal(err)
	}
	w := j.Writer()
	payload := make([]byte, 64)
	for range 32 {
		for range 4096 {
			if _, err := w.Append(payload); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := w.Commit(); err != nil {
			b.Fatal(err)
		}
	}
	mustClose(b, j)
	segments, err := listSegments(filepath.Join(dir, walFolder))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(32 * 4096 * 64)
	for b.Loop() {
		if found, err := scan(segments, func(Event) bool { return true }); err != nil ||
			found.last != 32*4096 {
			b.Fatal(found.last, err)
		}
	}
}
