package node

import (
	"io"
	"testing"

	"sluice/cmd/orderbook"
	"sluice/telemetry"
	"sluice/transport"
	"sluice/transport/wire"
)

// A request that comes with a sampled trace context leaves a record of its answer, with every stage
// in order; one without leaves none.
func TestTracedRequestLeavesATrace(t *testing.T) {
	engines(t, func(t *testing.T, mode transport.Mode) {
		cfg, v := config(t.TempDir(), mode, io.Discard), newValve()
		cfg.Journal.BeforeSync = v.beforeSync
		s, addresses := serve(t, cfg)
		defer drain(t, s)
		c := dial(t, "tcp", addresses[0])
		c.command(order(1, 1, orderbook.Buy, 100, 5))
		c.expect("accepted 1 seq=1", "end")

		var context [wire.TraceSize]byte
		for i := range 24 {
			context[i] = byte(i + 1)
		}
		context[24] = 1
		v.close() // the gate is to see the answer before the disk has its event
		cmd := order(1, 2, orderbook.Buy, 101, 5)
		if err := c.conn.SendTraced(9, context, cmd.Tag, body(cmd)); err != nil {
			t.Fatal(err)
		}
		if err := c.conn.Flush(); err != nil {
			t.Fatal(err)
		}
		until(t, "the gate waits", func() bool { _, waiting := s.pipeline.Waiting(); return waiting })
		v.open()
		var rec telemetry.TraceRec
		until(t, "the trace", func() bool {
			for _, box := range s.pipeline.Traces() {
				if box.TryGet(&rec) {
					return true
				}
			}
			return false
		})
		if rec.Seq != 2 || [16]byte(context[:16]) != rec.TraceID ||
			[8]byte(context[16:24]) != rec.Parent || rec.Reason != telemetry.TraceReasonParent {
			t.Fatalf("%+v", rec)
		}
		last := uint32(0)
		for p := range telemetry.Point(telemetry.NumPoints) {
			if _, passed := rec.At(p); !passed {
				if p != telemetry.PointReplica {
					t.Errorf("point %d was not passed: %+v", p, rec)
				}
				continue
			}
			if rec.AfterNanos[p] < last {
				t.Errorf("point %d is before the one in front of it: %+v", p, rec)
			}
			last = rec.AfterNanos[p]
		}
		for _, box := range s.pipeline.Traces() {
			if box.TryGet(&rec) {
				t.Fatalf("a second trace: %+v", rec)
			}
		}
	})
}
