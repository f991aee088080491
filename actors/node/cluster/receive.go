package cluster

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"sluice/durability/raftlog"
	"sluice/transport/peer"
)

// incomingExtension ends the names of files that are being received.
const incomingExtension = ".tmp"

// receiver is the receiving part of a bulk.
type receiver struct {
	o      *bulkOptions
	create func(path string) (*os.File, error)

	underWay atomic.Int64 // transfers that have begun and were neither completed nor given up

	mu     sync.Mutex // guards the rest, and is held while a piece is written
	from   map[uint8]*arriving
	closed bool
}

// arriving is the last transfer of another node.
type arriving struct {
	from     peer.Sender
	transfer uint64
	file     *os.File // nil: it is whole, or was given up
	bytes    uint64   // that have arrived
	sum      uint32   // CRC-32C of these
	at       time.Time
}

// order compares a transfer with the last one: it is later with a result above 0. The numbers of transfers
// begin anew with each start of a node, and its starts with each directory.
func (a *arriving) order(from peer.Sender, transfer uint64) int {
	return cmp.Or(cmp.Compare(from.Generation, a.from.Generation),
		cmp.Compare(from.Incarnation, a.from.Incarnation), cmp.Compare(transfer, a.transfer))
}

// clean makes the directory and removes what an earlier process left in it.
func (r *receiver) clean() error {
	if err := os.MkdirAll(r.o.dir, 0o700); err != nil {
		return fmt.Errorf("cluster: creating the directory of incoming snapshots: %w", err)
	}
	old, err := filepath.Glob(filepath.Join(r.o.dir, "*"+incomingExtension))
	for _, path := range old {
		err = errors.Join(err, os.Remove(path))
	}
	if err != nil {
		return fmt.Errorf("cluster: removing old incoming snapshots: %w", err)
	}
	return nil
}

func createIncoming(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
}

// count renews underWay. The caller holds mu.
func (r *receiver) count() {
	n := int64(0)
	for _, a := range r.from {
		if a.file != nil {
			n++
		}
	}
	r.underWay.Store(n)
}

// frame takes a frame. The error says why a transfer was given up; what follows of it is ignored.
func (r *receiver) frame(from peer.Sender, frame []byte) error {
	p, err := parseBulk(frame)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.count()
	a := r.from[from.Node]
	switch {
	case r.closed:
		return nil
	case a == nil || a.order(from, p.transfer) > 0:
		if a, err = r.begin(from, p.transfer); err != nil {
			return err
		}
	case a.order(from, p.transfer) < 0:
		return nil // of an earlier one
	}
	if a.file == nil {
		return nil
	}
	if p.kind == bulkPiece {
		err = a.piece(p)
	} else {
		err = r.whole(a, p)
	}
	if err != nil {
		a.drop()
	}
	return err
}

// begin makes the file of a transfer, which replaces the one before. A transfer of another node that has
// been quiet for long is not going on: its file is removed.
func (r *receiver) begin(from peer.Sender, transfer uint64) (*arriving, error) {
	now := time.Now()
	for node, other := range r.from {
		if node == from.Node || now.Sub(other.at) > r.o.times.patience {
			other.drop()
		}
	}
	a := &arriving{from: from, transfer: transfer, at: now}
	r.from[from.Node] = a
	var err error
	a.file, err = r.create(filepath.Join(r.o.dir,
		fmt.Sprintf("%d-%d-%d-%d%s", from.Node, from.Generation, from.Incarnation, transfer, incomingExtension)))
	if err != nil {
		a.file = nil
		return nil, err
	}
	return a, nil
}

// piece appends bytes.
func (a *arriving) piece(p bulkParts) error {
	a.at = time.Now()
	if p.offset != a.bytes {
		return fmt.Errorf("bytes from %d on arrived after the first %d: a part was lost, or came twice", p.offset, a.bytes)
	}
	if _, err := a.file.Write(p.body); err != nil {
		return err
	}
	a.bytes += uint64(len(p.body))
	a.sum = crc32.Update(a.sum, castagnoli(), p.body)
	return nil
}

// whole verifies a snapshot at its end and hands it over. The file loses its name here: it is gone when
// the node has read it, or does not want it.
func (r *receiver) whole(a *arriving, p bulkParts) error {
	if sum := binary.LittleEndian.Uint32(p.body); p.offset != a.bytes || sum != a.sum {
		return fmt.Errorf("%d bytes with checksum %08x arrived of %d with %08x", a.bytes, a.sum, p.offset, sum)
	}
	if _, err := a.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	meta, err := raftlog.ReadMeta(a.file)
	if err != nil {
		return err
	}
	state, err := a.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	content := raftlog.Received{Meta: *meta, Content: received(a.file, a.sum, state, int64(a.bytes))}
	if err := r.o.receive(a.from, p.body[4:], content); err != nil {
		return err
	}
	r.o.log.Info("snapshot received", "node", a.from.Node, "event", uint64(meta.Seq), "bytes", a.bytes)
	err = os.Remove(a.file.Name())
	a.file = nil // it is closed when it was read; if the node does not want it, by its finalizer
	return err
}

// received returns a function that writes the state, which begins at an offset of the file. It verifies
// what it reads: the disk had the file in between.
func received(file *os.File, sum uint32, state, size int64) func(io.Writer) error {
	return func(w io.Writer) error {
		defer file.Close()
		read := crc32.New(castagnoli())
		if _, err := io.Copy(read, io.NewSectionReader(file, 0, state)); err != nil {
			return err
		}
		if _, err := io.Copy(io.MultiWriter(w, read), io.NewSectionReader(file, state, size-state)); err != nil {
			return err
		}
		if got := read.Sum32(); got != sum {
			return fmt.Errorf("cluster: the received snapshot %s had checksum %08x and is read with %08x: "+
				"the disk changed it", filepath.Base(file.Name()), sum, got)
		}
		return nil
	}
}

// drop gives a transfer up.
func (a *arriving) drop() {
	if a.file == nil {
		return
	}
	a.file.Close()
	_ = os.Remove(a.file.Name()) // what is left is removed at the next start
	a.file = nil
}

func (r *receiver) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, a := range r.from {
		a.drop()
	}
}
