package cluster

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
	"time"

	"sluice/durability/raftlog"
	"sluice/transport/peer"
)

// sender is the sending part of a bulk: a goroutine for each transfer.
type sender struct {
	o  *bulkOptions
	wg sync.WaitGroup

	mu     sync.Mutex // guards the rest
	last   uint64     // number of the last transfer
	to     map[uint8]*destination
	closed bool
}

// destination is another node.
type destination struct {
	up   chan struct{} // closed while the lane to it is up
	isUp bool
	now  *transfer // nil if there is none
}

// transfer is one snapshot on its way.
type transfer struct {
	id    uint64
	to    uint8
	meta  raftlog.Meta
	frame []byte
	after <-chan struct{} // closed when the transfer that this one replaces has ended
	ended chan struct{}

	life context.Context // ends when it is replaced, and with the bulk
	end  context.CancelFunc
	line context.Context // a part of life that ends with the link; set when it is up
	cut  context.CancelCauseFunc

	bytes    uint64
	progress time.Time // when the last frame was accepted
}

// Why a transfer failed.
var (
	errLinkDown = errors.New("the link broke")
	errNoRoom   = errors.New("no frame was accepted for too long: the other node is down, or does not read")
)

// node returns the entry of another node. The caller holds mu.
func (s *sender) node(to uint8) *destination {
	d := s.to[to]
	if d == nil {
		d = &destination{up: make(chan struct{})}
		s.to[to] = d
	}
	return d
}

// underWay is the number of transfers.
func (s *sender) underWay() (n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.to {
		if d.now != nil {
			n++
		}
	}
	return n
}

func (s *sender) start(to uint8, meta raftlog.Meta, frame []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.last++
	t := &transfer{id: s.last, to: to, meta: meta, frame: frame, ended: make(chan struct{})}
	t.life, t.end = context.WithCancel(context.Background())
	d := s.node(to)
	if d.now != nil {
		d.now.end()
		t.after = d.now.ended
	}
	d.now = t
	s.wg.Go(func() { s.run(t) })
}

func (s *sender) link(to uint8, up bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.node(to)
	switch {
	case up && !d.isUp:
		close(d.up)
	case !up && d.isUp:
		d.up = make(chan struct{})
	}
	d.isUp = up
	if !up && d.now != nil && d.now.cut != nil {
		d.now.cut(errLinkDown)
	}
}

func (s *sender) close() {
	s.mu.Lock()
	s.closed = true
	for _, d := range s.to {
		if d.now != nil {
			d.now.end()
		}
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// run is the goroutine of a transfer.
func (s *sender) run(t *transfer) {
	defer func() {
		s.mu.Lock()
		if d := s.node(t.to); d.now == t {
			d.now = nil
		}
		s.mu.Unlock()
		t.end()
		close(t.ended)
	}()
	if t.after != nil {
		<-t.after
	}
	err := s.transfer(t)
	if t.life.Err() != nil {
		return // replaced, or closed
	}
	if err != nil {
		s.o.log.Warn("snapshot not sent", "node", t.to, "event", uint64(t.meta.Seq), "bytes", t.bytes, "error", err)
		if !sleep(t.life, s.o.times.pause) { // the library asks again at once
			return
		}
	}
	s.o.report(uint64(t.to), err == nil)
}

// transfer sends the snapshot, and leaves the other node the time to install it. If it does so, it
// acknowledges the log up to there, and the report that follows has no effect.
func (s *sender) transfer(t *transfer) error {
	if err := s.await(t); err != nil {
		return err
	}
	began := time.Now()
	t.progress = began
	read := false
	err := s.o.newest(func(m *raftlog.Meta, state io.Reader) error {
		read = true
		if m.Index != t.meta.Index || m.Term != t.meta.Term {
			return fmt.Errorf("the newest snapshot is of event %d by now", m.Seq)
		}
		return s.stream(t, m, state)
	})
	if err == nil && !read {
		err = errors.New("there is no snapshot")
	}
	if err != nil {
		return err
	}
	took := time.Since(began)
	s.o.log.Info("snapshot sent", "node", t.to, "event", uint64(t.meta.Seq), "bytes", t.bytes, "took", took)
	sleep(t.line, max(s.o.times.landing, took))
	return context.Cause(t.line)
}

// await waits until the link is up. A transfer before that would only read the disk.
func (s *sender) await(t *transfer) error {
	patience := time.NewTimer(s.o.times.patience)
	defer patience.Stop()
	for {
		s.mu.Lock()
		d := s.node(t.to)
		up := d.up
		if d.isUp {
			t.line, t.cut = context.WithCancelCause(t.life)
			s.mu.Unlock()
			return nil
		}
		s.mu.Unlock()
		select {
		case <-up:
		case <-patience.C:
			return errNoRoom
		case <-t.life.Done():
			return context.Cause(t.life)
		}
	}
}

// stream sends what the snapshot's file has, and the end.
func (s *sender) stream(t *transfer, m *raftlog.Meta, state io.Reader) error {
	var head bytes.Buffer
	if err := m.Write(&head); err != nil {
		return err
	}
	content := io.MultiReader(&head, state)
	frame := make([]byte, peer.MaxBulk)
	sum := uint32(0)
	for {
		n, err := io.ReadFull(content, frame[bulkHead:])
		if n > 0 {
			sum = crc32.Update(sum, castagnoli(), frame[bulkHead:bulkHead+n])
			putBulkHead(frame, bulkPiece, t.id, t.bytes)
			if err := s.put(t, frame[:bulkHead+n]); err != nil {
				return err
			}
			t.bytes += uint64(n)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	putBulkHead(frame, bulkEnd, t.id, t.bytes)
	binary.LittleEndian.PutUint32(frame[bulkHead:], sum)
	return s.put(t, append(frame[:bulkHead+4], t.frame...))
}

// put offers a frame until it is accepted.
func (s *sender) put(t *transfer, frame []byte) error {
	for t.line.Err() == nil {
		now := time.Now()
		switch {
		case s.o.send(t.to, frame):
			t.progress = now
			return nil
		case now.Sub(t.progress) > s.o.times.patience:
			return errNoRoom
		}
		sleep(t.line, s.o.times.poll)
	}
	return context.Cause(t.line)
}

// sleep waits, and reports whether ctx goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
