package sequencer_test

import (
	"encoding/binary"
	"fmt"
	"io"

	"sluice/actors"
	"sluice/actors/internal/run"
	"sluice/actors/sequencer"
	"sluice/mailbox"
)

// total adds up the bytes it is sent and reports the sum.
type total struct{ sum uint64 }

func (*total) Requests() []sequencer.RequestType {
	return []sequencer.RequestType{{Tag: 0x10, Name: "add", Size: -1, Role: sequencer.RoleTrader}}
}
func (t *total) Apply(ev *sequencer.Event, out sequencer.Emitter[uint64, struct{}]) {
	for _, b := range ev.Body {
		t.sum += uint64(b)
	}
	*out.Report(ev.Conn) = t.sum
}
func (*total) Query(*sequencer.Event, sequencer.Emitter[uint64, struct{}]) {}
func (*total) Snapshot(io.Writer) error                                    { return nil }
func (*total) Restore(io.Reader) error                                     { return nil }

// frames writes a report as a frame.
type frames struct{}

func (frames) AppendReport(dst []byte, r *uint64) ([]byte, error) {
	return binary.LittleEndian.AppendUint64(append(dst, 9, 0, 0, 0, 0x30), *r), nil
}
func (frames) AppendQuery(dst []byte, _ *struct{}) ([]byte, error) { return dst, nil }

// Two requests become two events for the journal and two slots for the pipeline.
func Example() {
	queue, requests := sequencer.NewQueue(1 << 12)
	ring, journal := mailbox.NewBytes(1 << 12)
	slots, gate := mailbox.NewSPSC[actors.Slot[uint64, struct{}]](16)
	s, err := sequencer.New(sequencer.Config[uint64, struct{}]{
		Application: &total{}, Requests: requests, Journal: ring, Slots: slots,
		Signal:  mailbox.NewSignal(run.NewAdaptive()), // of the goroutine that steps it, in a program
		Now:     func() int64 { return 0 },            // of the pipeline
		Wall:    func() int64 { return 0 },
		State:   sequencer.NewState(), // of sequencer.Replay
		Encoder: frames{},
	})
	if err != nil {
		panic(err)
	}
	trader := sequencer.Identity{Role: sequencer.RoleTrader}
	for _, body := range []string{"\x01\x02", "\x03"} {
		req := sequencer.Event{Conn: 5, Identity: trader, Tag: 0x10, Body: []byte(body)}
		if err := queue.Put(&req, nil, 0); err != nil {
			panic(err)
		}
	}
	queue.Close()
	for s.Step(0) > 0 { // which a runner does, in a program
	}
	fmt.Println("done:", s.Done(), s.Close())
	for event, ok := journal.Next(); ok; event, ok = journal.Next() {
		fmt.Printf("journal: %d bytes\n", len(event))
	}
	for _, slot := range gate.Batch(16) {
		fmt.Printf("slot: connection %d, event %d, last %t, report %d\n", slot.Conn, slot.Seq,
			slot.Last, slot.Report)
	}
	// Output:
	// done: true <nil>
	// journal: 34 bytes
	// journal: 33 bytes
	// slot: connection 5, event 1, last true, report 3
	// slot: connection 5, event 2, last true, report 6
}
