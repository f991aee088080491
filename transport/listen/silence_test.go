package listen

import (
	"io"
	"testing"
	"time"

	"sluice/transport"
	"sluice/transport/client"
	"sluice/transport/wire"
)

// There is one client and no other event, so nothing but the deadline itself wakes the reader.
func TestSilentClientIsEndedInTimeOnAnIdleServer(t *testing.T) {
	const limit = 100 * time.Millisecond
	_, key := keyPair(0)
	for _, v := range []struct {
		name string
		open bool
	}{{"open", true}, {"key", false}} {
		server := func(t *testing.T, network string, handshake time.Duration) (*shard, string) {
			h := newShard(t)
			_, address := start(t, Config{Endpoints: []Endpoint{endpoint(t, network, v.open)},
				Keys: keyring(t), IdleTimeout: limit, HandshakeTimeout: handshake}, h)
			return h, address
		}
		t.Run(v.name+"/during the handshake", func(t *testing.T) {
			each(t, func(t *testing.T, network string) {
				h, address := server(t, network, limit)
				began := time.Now()
				c := raw(t, network, address)
				if g := await(t, "refusal", h.refused); g.reason != transport.ReasonHandshakeTimeout {
					t.Errorf("refused with %v", g.reason)
				}
				if age := time.Since(began); age < limit {
					t.Errorf("ended after %v", age)
				}
				challenged(t, c)
				rejected(t, c, wire.Close{Reason: wire.CloseHandshakeTimeout, RetryAfter: time.Second})
			})
		})
		t.Run(v.name+"/after the handshake", func(t *testing.T) {
			each(t, func(t *testing.T, network string) {
				h, address := server(t, network, time.Hour)
				o := client.Options{Key: key}
				if v.open {
					o.Key = nil
				}
				began := time.Now()
				c := dial(t, network, address, o)
				if g := await(t, "end", h.ended); g.reason != transport.ReasonSilent {
					t.Errorf("ended with %v", g.reason)
				}
				if age := time.Since(began); age < limit {
					t.Errorf("ended after %v", age)
				}
				if silence := c.Server().Silence; silence != limit {
					t.Errorf("the server announced %v", silence)
				}
			})
		})
	}
}

func TestMutedListenerSendsNothing(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		h := newShard(t)
		s, address := start(t, Config{Endpoints: []Endpoint{endpoint(t, network, true)}}, h)
		shaking := raw(t, network, address)
		challenged(t, shaking)
		s.Mute()
		late := raw(t, network, address)
		if got, err := io.ReadAll(late); len(got) != 0 || err != nil {
			t.Errorf("received % x, %v", got, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if got, err := io.ReadAll(shaking); len(got) != 0 || err != nil {
			t.Errorf("received % x, %v", got, err)
		}
	})
}
