package raftlog

import (
	"encoding/binary"
	"fmt"
	"sync"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// Lane is the way by which a frame travels to another node.
type Lane uint8

// Lanes. The urgent frames never wait behind the long ones.
const (
	LaneControl Lane = iota + 1 // votes, heartbeats, acknowledgements, receipts
	LaneAppend                  // entries
	LaneBulk                    // snapshots
)

// Kinds of frames between nodes, the first byte of each.
const (
	frameMessage = 0 // a message of the library
	frameReceipt = 1 // term u64, index u64: entries up to index are in the sender's memory
	frameChunk   = 2 // a piece of a snapshot
)

// message is one of the library's, with the sender's incarnation.
type message struct {
	*pb.Message
	incarnation uint64
}

// receipt is an acknowledgement that a follower sends ahead of its sync.
type receipt struct {
	from, incarnation uint64
	term, index       uint64
}

// inbox takes what arrives from other goroutines. Any goroutine puts; the node takes.
type inbox struct {
	mu       sync.Mutex
	messages []message
	bytes    int
	receipts []receipt
	stored   []error // results of writes, in their order
	applied  uint64  // last index that the state machine applied
	commands []func()
	dropped  uint64 // messages for which there was no room
	wake     func()
	bounds   Bounds
}

// taken is the content of an inbox.
type taken struct {
	messages []message
	receipts []receipt
	stored   []error
	commands []func()
	applied  uint64
}

func (in *inbox) take(t *taken) (some bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	clear(t.messages)
	clear(t.commands)
	t.messages, in.messages = in.messages, t.messages[:0]
	t.receipts, in.receipts = in.receipts, t.receipts[:0]
	t.stored, in.stored = in.stored, t.stored[:0]
	t.commands, in.commands = in.commands, t.commands[:0]
	in.bytes = 0
	some = len(t.messages)+len(t.receipts)+len(t.stored)+len(t.commands) > 0 || t.applied != in.applied
	t.applied = in.applied
	return some
}

// put locks the inbox for f, then wakes the node.
func (in *inbox) put(f func()) {
	in.mu.Lock()
	f()
	in.mu.Unlock()
	in.wake()
}

// receive decodes a frame and queues it. The frame may be used again. An error names a frame that no
// node sends; a frame for which there is no room is dropped and counted, and sent again in time.
func (in *inbox) receive(from, incarnation uint64, frame []byte) error {
	switch {
	case len(frame) > 1 && frame[0] == frameMessage:
		m := new(pb.Message)
		if err := proto.Unmarshal(frame[1:], m); err != nil {
			return fmt.Errorf("raftlog: message of node %d: %w", uint8(from), err)
		}
		if m.GetFrom() != from {
			return fmt.Errorf("raftlog: message of node %d says that it is of node %d of generation %d", uint8(from),
				uint8(m.GetFrom()), Generation(m.GetFrom()))
		}
		in.put(func() {
			if len(in.messages) >= in.bounds.InboxMessages || in.bytes+len(frame) > in.bounds.InboxBytes {
				in.dropped++
				return
			}
			in.messages = append(in.messages, message{m, incarnation})
			in.bytes += len(frame)
		})
	case len(frame) == 17 && frame[0] == frameReceipt:
		r := receipt{from: from, incarnation: incarnation, term: binary.LittleEndian.Uint64(frame[1:]),
			index: binary.LittleEndian.Uint64(frame[9:])}
		in.put(func() {
			if len(in.receipts) >= in.bounds.InboxMessages {
				in.dropped++ // the next one says more
				return
			}
			in.receipts = append(in.receipts, r)
		})
	default:
		return fmt.Errorf("raftlog: frame of node %d has %d bytes and begins with % x", uint8(from), len(frame),
			frame[:min(len(frame), 4)])
	}
	return nil
}

// messageFrame is a message as a frame.
func messageFrame(m *pb.Message) ([]byte, error) {
	return proto.MarshalOptions{}.MarshalAppend([]byte{frameMessage}, m)
}

func receiptFrame(term, index uint64) []byte {
	b := append(make([]byte, 0, 17), frameReceipt)
	b = binary.LittleEndian.AppendUint64(b, term)
	return binary.LittleEndian.AppendUint64(b, index)
}

// laneOf is the lane of a message.
func laneOf(m *pb.Message) Lane {
	if m.GetType() == pb.MsgApp && len(m.Entries) > 0 {
		return LaneAppend
	}
	return LaneControl
}
