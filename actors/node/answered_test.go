package node

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"sluice/cmd/orderbook"
	"sluice/transport"
	"sluice/transport/client"
)

// A drain under load leaves no outcome unknown: what was answered is in the journal, and nothing else.
func TestDrainLeavesNoOutcomeUnknown(t *testing.T) {
	engines(t, func(t *testing.T, mode transport.Mode) {
		leaks(t)
		cfg := config(t.TempDir(), mode, t.Output())
		n, addresses := serve(t, cfg)
		var answered, not atomic.Uint64
		loaded := make(chan struct{}, 1)
		var traders sync.WaitGroup
		for account := range uint64(4) {
			s, _ := session(t, client.SessionOptions{Window: 256}, addresses[0])
			traders.Go(func() {
				var calls []*client.Call
				ctx, cancel := context.WithCancel(bounded(t))
				defer cancel()
				for id := uint64(1); ; id++ {
					command := order(account+1, id, orderbook.Buy, 100, 1)
					c, err := s.Send(ctx, command.Tag, body(command))
					if err != nil {
						break
					}
					calls = append(calls, c)
					if id == 1 { // what waits for a connection at the end is not sent
						go func() { <-n.Ended(); cancel() }()
					}
					if id == 2000 {
						select {
						case loaded <- struct{}{}:
						default:
						}
					}
				}
				for _, c := range calls {
					_, err := c.Wait(bounded(t))
					switch {
					case err == nil:
						answered.Add(1)
					case errors.Is(err, client.ErrNotSent):
						not.Add(1)
					default:
						t.Errorf("account %d: %v", account+1, err)
					}
				}
			})
		}
		<-loaded
		drain(t, n)
		traders.Wait()
		t.Logf("%d answered, %d not carried out", answered.Load(), not.Load())
		if got := uint64(n.Sequenced()); got != answered.Load() {
			t.Errorf("%d events, and %d orders were answered", got, answered.Load())
		}
		again, _ := serve(t, cfg)
		if got := uint64(again.Sequenced()); got != answered.Load() {
			t.Errorf("the journal has %d events, and %d orders were answered", got, answered.Load())
		}
		drain(t, again)
	})
}
