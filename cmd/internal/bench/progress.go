package bench

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// progress is memory shared by both processes with the number of frames that each receiver has
// received. It bounds the frames in flight at full speed.
type progress struct {
	memory []byte
	cells  []*cell
}

// cell is the count of one receiver, on a cache line of its own.
type cell struct {
	frames atomic.Uint64 // written by one receiver, read by the producer in the other process
	_      [56]byte
}

const progressSize = 4096

// newProgress creates the shared memory. The file is for the child.
func newProgress() (*progress, *os.File, error) {
	fd, err := unix.MemfdCreate("sluice-bench", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, nil, fmt.Errorf("bench: memfd_create: %w", err)
	}
	file := os.NewFile(uintptr(fd), "progress")
	if err := file.Truncate(progressSize); err != nil {
		file.Close()
		return nil, nil, fmt.Errorf("bench: shared memory of %d B: %w", progressSize, err)
	}
	p, err := openProgress(file)
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return p, file, nil
}

// openProgress maps the file of newProgress.
func openProgress(file *os.File) (*progress, error) {
	memory, err := unix.Mmap(int(file.Fd()), 0, progressSize, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("bench: mapping the shared memory: %w", err)
	}
	p := &progress{memory: memory}
	for at := 0; at < progressSize; at += int(unsafe.Sizeof(cell{})) {
		p.cells = append(p.cells, (*cell)(unsafe.Pointer(&memory[at])))
	}
	return p, nil
}

// sum returns the number of frames that all receivers have received.
func (p *progress) sum() (n uint64) {
	for _, c := range p.cells {
		n += c.frames.Load()
	}
	return n
}

// close unmaps the memory, which must not be used after that.
func (p *progress) close() error { return unix.Munmap(p.memory) }
