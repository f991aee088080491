package trials

import (
	"errors"
	"fmt"
	"testing"

	"sluice/telemetry"
	"sluice/transport"
	"sluice/transport/wire"
)

// mostHeld is the number of slots that a stream leaves behind a shut gate. The slot ring holds
// more, so there is room for responses.
const mostHeld = 20_000

// gates runs a trial on both engines, with an open gate and with a gate that is shut for part of
// the time.
func gates(t *testing.T, trial func(t *testing.T, engine transport.Mode, shut bool)) {
	t.Helper()
	engines(t, func(t *testing.T, engine transport.Mode) {
		t.Run("gate open", func(t *testing.T) { trial(t, engine, false) })
		t.Run("gate shut", func(t *testing.T) { trial(t, engine, true) })
	})
}

// shutGate holds back everything that is published from now on.
func (r *rig) shutGate() { r.call(func(f *feed) { f.shut = true }) }

// openGate waits until the gate holds something, checks that nothing of it has left, and opens the
// gate.
func (r *rig) openGate() {
	r.t.Helper()
	var durable uint64 // seqs count slots, from 1
	r.call(func(f *feed) { durable = f.durable })
	until(r.t, "slots behind the gate", func() bool {
		w, waits := r.pipeline.Waiting()
		return waits && uint64(w.Seq) > durable
	})
	if sent := r.count(telemetry.EgressFramesSent); sent > durable {
		r.t.Errorf("%d slots were delivered, but only %d were durable", sent, durable)
	}
	r.call(func(f *feed) { f.shut = false })
}

// held requests n notes that the gate holds back, and receives a heartbeat only.
func (r *reader) held(n int) error {
	return errors.Join(r.ask(r.next, n), r.Flush(), r.beat())
}

// beat receives a heartbeat; the client must be one that sees them.
func (r *reader) beat() error {
	tag, _, err := r.Next()
	if err == nil && tag != wire.TagHeartbeat {
		err = fmt.Errorf("tag %#x, want a heartbeat", tag)
	}
	return err
}

// freed receives the notes that held requested.
func (r *reader) freed(n int) error { return errors.Join(r.notes(n), r.end()) }
