package trials

import (
	"errors"
	"fmt"
	"testing"

	"sluice/telemetry"
	"sluice/transport"
	"sluice/transport/wire"
)

// mostHeld is how many slots a stream lets wait behind a shut gate. The slot ring takes more, so that there is room for answers.
const mostHeld = 20_000

// gates runs a trial on both engines, with an open gate and with one that is shut for a part of the time.
func gates(t *testing.T, trial func(t *testing.T, engine transport.Mode, shut bool)) {
	t.Helper()
	engines(t, func(t *testing.T, engine transport.Mode) {
		t.Run("gate open", func(t *testing.T) { trial(t, engine, false) })
		t.Run("gate shut", func(t *testing.T) { trial(t, engine, true) })
	})
}

// shutGate holds back whatever is published from now on.
func (r *rig) shutGate() { r.call(func(f *feed) { f.shut = true }) }

// openGate lets go what the gate holds, once it has seen some of it. Nothing of it may have left before.
func (r *rig) openGate() {
	r.t.Helper()
	var durable uint64 // the seqs are those of the slots, from 1 on
	r.call(func(f *feed) { durable = f.durable })
	until(r.t, "the gate holds something", func() bool {
		w, waits := r.pipeline.Waiting()
		return waits && uint64(w.Seq) > durable
	})
	if sent := r.count(telemetry.EgressFramesSent); sent > durable {
		r.t.Errorf("%d slots were delivered, %d were durable", sent, durable)
	}
	r.call(func(f *feed) { f.shut = false })
}

// held asks for n notes that the gate holds back: a heartbeat is all that comes.
func (r *reader) held(n int) error {
	return errors.Join(r.ask(r.next, n), r.Flush(), r.beat())
}

// beat receives a heartbeat, of a client that is shown them.
func (r *reader) beat() error {
	tag, _, err := r.Next()
	if err == nil && tag != wire.TagHeartbeat {
		err = fmt.Errorf("tag %#x, want a heartbeat", tag)
	}
	return err
}

// freed receives the notes that held asked for.
func (r *reader) freed(n int) error { return errors.Join(r.notes(n), r.end()) }
