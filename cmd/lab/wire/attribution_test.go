package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"sluice/transport"
	"sluice/transport/client"
	"sluice/transport/listen"
	"sluice/transport/wire"
)

// pipeliner is a client that sends random requests without waiting, and attributes every response
// to its request by the numbers in the frames.
type pipeliner struct {
	*client.Conn
	load []asked
	open map[uint64]int // places in load of the requests without a complete response

	ended  chan struct{} // one for each complete response
	last   int           // of the requests with BatchEnd: place of the last one
	frames [][]byte      // of the application, since the last BatchEnd
	reason wire.Refusal  // of the EngineError since the last BatchEnd
	shed   uint64
}

// asked is a request.
type asked struct {
	request uint64
	tag     uint8
	body    []byte
}

// refusals are the requests of the random load that are rejected.
func refusals() map[uint8]wire.Refusal {
	return map[uint8]wire.Refusal{0x2F: wire.RefusalUnknownTag, tagFourBytes: wire.RefusalSize,
		tagOperators: wire.RefusalRole, tagChecked: wire.RefusalMalformed,
		wire.TagAdminCommand: wire.RefusalRole}
}

// newPipeliner makes a load of n requests. Their numbers have no order, and none appears twice.
func newPipeliner(conn *client.Conn, random *rand.Rand, n int) *pipeliner {
	p := &pipeliner{Conn: conn, open: map[uint64]int{}, last: -1,
		ended: make(chan struct{}, n)}
	rejected := slices.Sorted(maps.Keys(refusals()))
	for i := range n {
		a := asked{uint64(i) * 0x9E3779B97F4A7C15, tagEcho, fmt.Appendf(nil, "\x00echo %d", i)}
		a.body[0] = byte(1 + random.IntN(4))
		if random.IntN(4) == 0 {
			a.tag = rejected[random.IntN(len(rejected))]
		}
		p.load = append(p.load, a)
		p.open[a.request] = i
	}
	return p
}

// await waits for the ends of n responses.
func (p *pipeliner) await(n int) error {
	for range n {
		select {
		case <-p.ended:
		case <-time.After(patience):
			return errors.New("no response")
		}
	}
	return nil
}

// send sends the load in random portions. Between some it sends a heartbeat and waits for responses.
func (p *pipeliner) send(random *rand.Rand) error {
	awaited := 0
	for i, a := range p.load {
		err := p.Send(a.request, a.tag, a.body)
		switch random.IntN(20) {
		case 0:
			err = errors.Join(err, p.Heartbeat())
			err = errors.Join(err, p.await(random.IntN(1+i-awaited)))
			awaited = i
		case 1, 2:
			err = errors.Join(err, p.Flush())
		}
		if err != nil {
			return err
		}
	}
	return p.CloseWrite()
}

// receive attributes frames until the server has answered everything and closes.
func (p *pipeliner) receive() error {
	for {
		tag, body, err := p.Next()
		switch {
		case err == io.EOF && len(p.open) == 0:
			return nil
		case err == nil:
			err = p.take(tag, body)
		}
		if err != nil {
			return fmt.Errorf("%w; %d requests have no response", err, len(p.open))
		}
	}
}

func (p *pipeliner) take(tag uint8, body []byte) error {
	if tag == tagEchoed {
		p.frames = append(p.frames, bytes.Clone(body))
		return nil
	}
	request, reason, ok := uint64(0), wire.Refusal(0), false
	if tag == wire.TagEngineError {
		request, reason, ok = wire.DecodeEngineError(body)
	} else {
		request, ok = wire.DecodeBatchEnd(body) // ServerBusy has the same body
	}
	place, waits := p.open[request]
	a := &p.load[place]
	if !ok || !waits {
		return fmt.Errorf("tag %#02x of request %#x, which waits for no response", tag, request)
	}
	switch tag {
	case wire.TagEngineError:
		if p.reason = reason; reason != refusals()[a.tag] {
			return fmt.Errorf("request with tag %#02x is rejected: %v", a.tag, reason)
		}
		return nil
	case wire.TagServerBusy:
		p.shed++
	case wire.TagBatchEnd:
		if err := p.complete(place); err != nil {
			return err
		}
	default:
		return fmt.Errorf("unexpected tag %#02x", tag)
	}
	delete(p.open, request)
	p.ended <- struct{}{}
	return nil
}

// complete checks the response that ends.
func (p *pipeliner) complete(place int) error {
	a := &p.load[place]
	if place <= p.last {
		return fmt.Errorf("the response to request %d comes behind that to %d", place, p.last)
	}
	want := int(a.body[0])
	if refusals()[a.tag] != 0 {
		want = 0
	}
	if len(p.frames) != want || (p.reason != 0) != (want == 0) {
		return fmt.Errorf("request %d with tag %#02x: %d frames, want %d; EngineError for %v", place, a.tag,
			len(p.frames), want, p.reason)
	}
	for _, frame := range p.frames {
		if !bytes.Equal(frame, a.body[1:]) {
			return fmt.Errorf("the response to request %d is %q", place, frame)
		}
	}
	p.last, p.frames, p.reason = place, nil, 0
	return nil
}

// No response is without the number of its request, and no request has two responses or none,
// whatever the load and the rate.
func TestRandomLoadsAboveTheRateAreAttributed(t *testing.T) {
	rounds := uint64(4)
	if os.Getenv("SLUICE_SOAK") != "" {
		rounds = 40
	}
	each(t, func(t *testing.T, mode transport.Mode) {
		total := uint64(0)
		for seed := range rounds {
			random := rand.New(rand.NewPCG(seed, 0))
			rate := listen.Rate{PerSecond: float64(100 + random.IntN(5000)), Burst: 1 + random.IntN(300)}
			s := serve(t, mode, func(c *echoConfig) { c.Listen.RequestRate = rate })
			var shed uint64
			clients := make([]*pipeliner, 3)
			failed := make(chan error, 2*len(clients))
			for i := range clients {
				clients[i] = newPipeliner(s.dial(t, i), random, 200+random.IntN(1500))
				own := rand.New(rand.NewPCG(seed, uint64(i+1)))
				go func() { failed <- clients[i].send(own) }()
				go func() { failed <- clients[i].receive() }()
			}
			for range cap(failed) {
				if err := <-failed; err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
			for _, c := range clients {
				shed += c.shed
				c.Close()
			}
			total += shed
			if n := s.Listener().Counters().Shed; n != shed {
				t.Errorf("seed %d: %d requests were shed, clients were told of %d", seed, n, shed)
			}
		}
		if total == 0 {
			t.Error("no request was shed")
		}
	})
}
