package node

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"sluice/cmd/orderbook"
	"sluice/transport"
	"sluice/transport/listen"
	"sluice/transport/wire"
)

// A shut gate and load fill the queue of requests. That stops the reading of the connections that
// fill it. Operators' commands, handshakes, heartbeats and ends are served, and once the gate opens,
// each request is answered once and in order.
func TestFullQueueStopsOnlyItsConnections(t *testing.T) {
	engines(t, func(t *testing.T, mode transport.Mode) {
		cfg := config(t.TempDir(), mode, os.Stderr)
		cfg.QueueBytes, cfg.Pipeline.Slots, cfg.Journal.RingBytes = 1<<14, 1<<8, 1<<14
		cfg.Listen.Endpoints[1].OpenRole = listen.Operator
		cfg.Policy, cfg.ForcePolicy = "persisted>=2", true // cannot be met by one node
		s, at := serve(t, cfg)
		s.SetCommand(func(ctx context.Context, _ string, body []byte) ([]byte, func()) {
			_, _, err := s.SwapPolicy(ctx, string(body), false)
			return fmt.Appendf(nil, "%v", err), nil
		})
		const clients, n = 3, 5000
		var loads [clients]*trader
		sent := make(chan error, clients)
		for i := range loads {
			c := dial(t, "tcp", at[0])
			loads[i] = c
			go func() {
				for k := uint64(1); k <= n; k++ {
					cmd := order(uint64(i+1), k, orderbook.Buy, 100, 1)
					if err := c.conn.Send(k, cmd.Tag, body(cmd)); err != nil {
						sent <- err
						return
					}
				}
				sent <- c.conn.Flush()
			}()
		}
		until(t, "the connections to be paused", func() bool {
			return s.listener.Counters().Paused == clients && s.Full() > time.Second
		})

		operator := dial(t, "unix", at[1]) // a handshake
		before := s.listener.Counters()
		operator.send(wire.TagHeartbeat, nil)
		until(t, "a heartbeat", func() bool { return s.listener.Counters().Heartbeats > before.Heartbeats })
		ends := dial(t, "tcp", at[0])
		until(t, "a connection", func() bool { return s.pipeline.Connections() == clients+2 })
		ends.conn.Close()
		until(t, "its end", func() bool { return s.pipeline.Connections() == clients+1 })
		if got := s.listener.Counters(); got.Paused != clients || got.Requests != before.Requests {
			t.Errorf("%d paused, %d requests taken, before %d", got.Paused, got.Requests, before.Requests)
		}

		operator.send(wire.TagAdminCommand, []byte("local"))
		if got := operator.answer(); got != "<nil>" {
			t.Fatalf("policy not swapped: %s", got)
		}
		for _, c := range loads {
			for k := uint64(1); k <= n; k++ {
				tag, b, err := c.conn.Next()
				if err != nil || tag != orderbook.TagAccepted {
					t.Fatalf("tag %#x, %v", tag, err)
				}
				var r orderbook.Report
				if err := orderbook.DecodeReport(tag, b, &r); err != nil || r.ClientOrderID != k {
					t.Fatalf("the answer to request %d is for %d, %v", k, r.ClientOrderID, err)
				}
				c.expect("end")
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
		}
		if got := s.listener.Counters(); got.Paused != 0 || s.Full() != 0 || got.Pauses < clients {
			t.Errorf("%d paused of %d pauses, full for %v", got.Paused, got.Pauses, s.Full())
		}
		drain(t, s)
	})
}
