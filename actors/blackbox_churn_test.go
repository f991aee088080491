package actors

import (
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"sluice/transport"
)

// TestReusedIDsAndDescriptorsUnderLoad opens and ends connections as fast as it can, over few ids,
// with responses in flight for each of them. Every response names the incarnation it is for, so
// that one byte that crosses over is seen (I4).
func TestReusedIDsAndDescriptorsUnderLoad(t *testing.T) {
	cycles := 1250 // 5,000 over the four ways
	if testing.Short() {
		cycles = 200
	}
	if os.Getenv("SLUICE_SOAK") != "" {
		cycles = 250_000
	}
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, nil)
		const live = 16
		clients := map[uint64]*client{}
		// some have closed their sending side only: they are closed when many others left
		var left []*client
		dice := rand.New(rand.NewPCG(1, 2))
		for cycle := range uint64(cycles) {
			id := 1 + cycle%live
			if old := clients[id]; old != nil {
				r.leave(old, dice)
				if left = append(left, old); len(left) > 256 {
					left[0].close()
					left = left[1:]
				}
			}
			c := r.redial(id)
			clients[id] = c
			n := dice.IntN(6)
			r.report(id, cycle<<20, n, 13+dice.IntN(400))
			if dice.IntN(3) > 0 {
				// otherwise they wait at the gate, and come when the id has another owner
				r.persist()
			}
			if dice.IntN(2) == 0 {
				r.persist()
				c.wants(cycle<<20, dice.IntN(n+1))
			}
		}
		r.persist()
		for _, c := range clients {
			c.close()
		}
		r.drain()
	})
}

// leave ends a connection in one of the ways there are.
func (r *rig) leave(c *client, dice *rand.Rand) {
	switch dice.IntN(5) {
	case 0:
		c.reset()
	case 1:
		c.halfClose()
	case 2:
		r.must(r.Kick(c.id, transport.ReasonKicked))
		c.rest()
		c.close()
	case 3:
		r.must(r.Kick(c.id, transport.ReasonKicked))
		c.close()
	default:
		c.close()
	}
}

// redial connects an id again as soon as its last connection was released.
func (r *rig) redial(id uint64) *client {
	r.t.Helper()
	c, fd := r.pair(socket{})
	c.id = id
	r.watch.add(fd, id)
	deadline := time.Now().Add(patience)
	for {
		err := r.Connect(Conn{ID: id, FD: fd})
		if err == nil {
			return c
		}
		if !strings.Contains(err.Error(), "live already") || time.Now().After(deadline) {
			r.t.Fatal(err)
		}
	}
}
