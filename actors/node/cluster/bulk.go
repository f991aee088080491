package cluster

import (
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"time"

	"sluice/durability/raftlog"
	"sluice/transport/peer"
)

// bulk sends snapshots to nodes that lack more than the log has, and receives them: one transfer at a
// time to each node, in pieces on the bulk lane. Its methods may be called by any goroutine.
//
//	newest snapshot --> sender --> piece, piece, ..., end --> receiver --> incoming/*.tmp
//	on disk               |                                      \--> Node.ReceiveSnapshot
//	                      \--> Node.ReportSnapshot
//
// A piece says which transfer it belongs to and where. One that does not follow gives the transfer up:
// nothing is repeated by this type, because the library asks for the snapshot again. There is no
// acknowledgement either: the receiving node acknowledges the log that it has.
type bulk struct {
	out sender
	in  receiver
}

// bulkOptions are the parts of a node that a bulk uses.
type bulkOptions struct {
	dir string // for what is received; created if missing. What an earlier process left is removed
	// send queues a frame of the bulk lane, and returns false if it was dropped: Links.Send.
	send func(to uint8, frame []byte) bool
	// newest reads the newest snapshot on disk: JournalStore.Newest.
	newest func(read func(*raftlog.Meta, io.Reader) error) error
	// report says how a transfer ended: Node.ReportSnapshot.
	report func(to uint64, sent bool)
	// receive takes a whole snapshot, with the frame that was given to Send: Node.ReceiveSnapshot.
	receive func(from peer.Sender, frame []byte, content raftlog.Received) error
	log     *slog.Logger
	times   bulkTimes // of zero: defaults
}

// bulkTimes are the limits of time.
type bulkTimes struct {
	poll     time.Duration // until a frame for which there was no room is offered again; default 5 ms
	patience time.Duration // a transfer without progress is given up after this; default 10 s
	pause    time.Duration // after a transfer that failed; default 1 s
	// After the last frame, the other node has this time to install the snapshot, or as long as the
	// transfer took, if that is more. Default 30 s.
	landing time.Duration
}

func newBulk(o bulkOptions) (*bulk, error) {
	if o.times == (bulkTimes{}) {
		o.times = bulkTimes{5 * time.Millisecond, 10 * time.Second, time.Second, 30 * time.Second}
	}
	b := &bulk{sender{o: &o, to: make(map[uint8]*destination)},
		receiver{o: &o, from: make(map[uint8]*arriving), create: createIncoming}}
	return b, b.in.clean()
}

// Send sends the newest snapshot on disk, which must still be the one of meta, and frame behind it. It
// does not block; report is called when it has ended, unless it is replaced by a later Send to that node.
func (b *bulk) Send(to uint64, meta raftlog.Meta, frame []byte) { b.out.start(uint8(to), meta, frame) }

// Link takes notice of what Links reports of the bulk lane: with false, frames may be lost.
func (b *bulk) Link(to uint8, up bool) { b.out.link(to, up) }

// Receive takes a frame of the bulk lane, which may be used again. It writes to the disk. Frames of one
// node must not come at the same time.
func (b *bulk) Receive(from peer.Sender, frame []byte) {
	if err := b.in.frame(from, frame); err != nil {
		b.in.o.log.Warn("snapshot not received", "node", from.Node, "error", err)
	}
}

// Close ends all transfers, without reports, and waits for them.
func (b *bulk) Close() {
	b.out.close()
	b.in.close()
}

// Frames between two bulks. All numbers are little-endian.
//
//	offset  size  field
//	0       1     2: a piece of a snapshot, among the frames of package raftlog
//	1       1     1: bytes of the snapshot, 2: its end
//	2       8     number of the transfer, which rises while the sending process lives
//	10      8     offset of the bytes; of the end: number of all bytes
//	18      -     the bytes; of the end: their CRC-32C, and the frame that goes to the node
const (
	bulkFrame = 2
	bulkPiece = 1
	bulkEnd   = 2

	bulkHead = 18
)

func putBulkHead(b []byte, kind byte, transfer, offset uint64) {
	b[0], b[1] = bulkFrame, kind
	binary.LittleEndian.PutUint64(b[2:], transfer)
	binary.LittleEndian.PutUint64(b[10:], offset)
}

// bulkParts are the fields of a frame.
type bulkParts struct {
	kind             byte
	transfer, offset uint64
	body             []byte
}

func parseBulk(b []byte) (p bulkParts, err error) {
	least := bulkHead + 1
	if len(b) > 1 && b[1] == bulkEnd {
		least = bulkHead + 4
	}
	if len(b) < least || b[0] != bulkFrame || b[1] != bulkPiece && b[1] != bulkEnd {
		return p, fmt.Errorf("cluster: a frame of %d bytes on the bulk lane begins with % x", len(b), b[:min(len(b), 2)])
	}
	return bulkParts{b[1], binary.LittleEndian.Uint64(b[2:]), binary.LittleEndian.Uint64(b[10:]), b[bulkHead:]}, nil
}
