package listen

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sluice/transport"
	"sluice/transport/client"
	"sluice/transport/wire"
)

// rated is a keyring in which the first key has a rate.
func rated(t *testing.T, rate string) *Keyring {
	t.Helper()
	var text []byte
	for seed, role := range []Role{Trader, Operator} {
		public, _ := keyPair(byte(seed))
		id := Identity{Role: role}
		if seed == 0 {
			if err := id.set("rate", rate); err != nil {
				t.Fatal(err)
			}
		}
		text = id.AppendLine(text, public, "")
	}
	keys, err := ParseKeys("test", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// The rate of a key holds for all its connections together, and a reload changes it for those that are
// open. Other keys are not affected.
func TestRateOfKeyIsSharedByItsConnections(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		h := newShard(t)
		s, address := start(t, Config{Endpoints: []Endpoint{endpoint(t, network, false)},
			Keys: rated(t, "0.001/5"), Readers: 2}, h)
		_, trader := keyPair(0)
		_, operator := keyPair(1)
		send := func(c *client.Conn, n int) (busy int) {
			t.Helper()
			for i := range n {
				c.Send(uint64(i+1), 0x10, nil)
			}
			c.Flush()
			for range n {
				tag, _, err := c.Next()
				if err != nil {
					t.Fatal(err)
				}
				if tag == wire.TagServerBusy {
					busy++
				}
			}
			return busy
		}
		one, two := dial(t, network, address, client.Options{Key: trader}), dial(t, network, address,
			client.Options{Key: trader})
		other := dial(t, network, address, client.Options{Key: operator})
		if busy := send(one, 4) + send(two, 4); busy != 3 {
			t.Errorf("%d of 8 requests of two connections were shed; want 3", busy)
		}
		if busy := send(other, 20); busy != 0 {
			t.Errorf("%d requests of another key were shed", busy)
		}
		s.SetKeys(rated(t, "1000000000/1000"))
		send(one, 1) // begins with an empty bucket, which is full soon
		if busy := send(one, 50) + send(two, 40); busy != 0 {
			t.Errorf("%d requests were shed under the new rate", busy)
		}
	})
}

// ServerReady tells the slower rate and the smaller burst of the two that hold for a client.
func TestServerReadyTellsTheRateOfTheKey(t *testing.T) {
	for _, c := range []struct {
		every, ofKey string
		trader       Rate // that the key with a rate is told
	}{
		{"100/50", "10/20", Rate{10, 20}},
		{"5/7", "10/20", Rate{5, 7}},
		{"5/70", "10/20", Rate{5, 20}},
		{"", "0.5/20", Rate{1, 20}}, // rounded up
		{"", "1000/2000", Rate{1000, 2000}},
	} {
		every := Rate{}
		if c.every != "" {
			every, _ = parseRate(c.every)
		}
		_, address := start(t, Config{Endpoints: []Endpoint{endpoint(t, "tcp", false)},
			Keys: rated(t, c.ofKey), RequestRate: every}, newShard(t))
		for seed, want := range []Rate{c.trader, every} {
			_, key := keyPair(byte(seed))
			ready := dial(t, "tcp", address, client.Options{Key: key}).Server()
			if got := (Rate{float64(ready.Rate), int(ready.Burst)}); got != want {
				t.Errorf("rate %q of each connection, %q of key 0: key %d is told %v; want %v", c.every, c.ofKey,
					seed, got, want)
			}
		}
	}
}

// Heartbeats take tokens, too, but none of them is shed.
func TestHeartbeatsCountAsRequests(t *testing.T) {
	h := newShard(t)
	_, address := start(t, Config{Endpoints: []Endpoint{endpoint(t, "unix", false)}, Keys: rated(t, "0.001/5")}, h)
	_, trader := keyPair(0)
	c := raw(t, "unix", address)
	write(t, c, answer(t, c, trader))
	admitted(t, c)
	beats := bytes.Repeat(wire.AppendRequest(nil, 0, wire.TagHeartbeat, nil), 10)
	write(t, c, append(beats, wire.AppendRequest(nil, 7, 0x10, nil)...))
	if tag, body := receive(t, c); tag != wire.TagServerBusy || body[0] != 7 {
		t.Errorf("tag %#02x % x behind ten heartbeats; want ServerBusy", tag, body)
	}
}

// A client that floods the server with heartbeats is ended; one that sends many now and then is not.
func TestFloodOfHeartbeatsEndsConnection(t *testing.T) {
	each(t, func(t *testing.T, network string) {
		h := newShard(t)
		_, address := start(t, Config{Endpoints: []Endpoint{endpoint(t, network, true)}}, h)
		beat := wire.AppendRequest(nil, 0, wire.TagHeartbeat, nil)
		c := greeted(t, network, address)
		write(t, c, append(bytes.Repeat(beat, beatsBurst), wire.AppendRequest(nil, 1, 0x10, nil)...))
		if tag, _ := receive(t, c); tag != wire.TagBatchEnd {
			t.Fatalf("tag %#02x behind %d heartbeats", tag, beatsBurst)
		}
		for range 100 {
			if _, err := c.Write(bytes.Repeat(beat, beatsBurst)); err != nil {
				break // it is ended
			}
		}
		if g := await(t, "end", h.ended); g.reason != transport.ReasonTooManyHeartbeats {
			t.Errorf("ended with %v", g.reason)
		}
	})
}

// An address holds at most half of the places for handshakes.
func TestHandshakesOfAnAddressAreBounded(t *testing.T) {
	h := newAddressHandshakes(1000)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for i := range 501 {
		if ok := h.begin(a); ok != (i < 500) {
			t.Fatalf("handshake %d: %v", i+1, ok)
		}
	}
	if !h.begin(b) {
		t.Error("another address has no place")
	}
	h.done(a.As16(), NoUID) // of the one that was refused
	h.done(a.As16(), NoUID)
	h.done(a.As16(), 7) // a user of this machine has no address
	if !h.begin(a) {
		t.Error("no place after a handshake ended")
	}
	for range 500 {
		h.done(a.As16(), NoUID)
	}
	h.done(b.As16(), NoUID)
	if len(h.of) != 0 {
		t.Errorf("%d addresses are left", len(h.of))
	}
}

// Clients beyond the limit are told so at once; places come back when handshakes end.
func TestHandshakesBeyondTheLimitOfAnAddress(t *testing.T) {
	h := newShard(t)
	s, address := start(t, Config{Endpoints: []Endpoint{endpoint(t, "tcp", true)},
		MaxHandshakes: 2 * leastHandshakes, HandshakeTimeout: time.Hour}, h)
	for range leastHandshakes {
		challenged(t, raw(t, "tcp", address))
	}
	late := raw(t, "tcp", address)
	rejected(t, late, wire.Close{Reason: wire.CloseLimit, RetryAfter: time.Second})
	if g := await(t, "refusal", h.refused); g.reason != transport.ReasonAddressHandshakes {
		t.Errorf("refused with %v", g.reason)
	}
	if n := s.Counters().Handshakes; n != leastHandshakes {
		t.Errorf("%d handshakes under way", n)
	}
}

func TestChangesOfKeysAreNamed(t *testing.T) {
	parse := func(lines ...string) *Keyring {
		t.Helper()
		text := ""
		for _, line := range lines {
			public, _ := keyPair(line[0] - '0')
			role, options, _ := strings.Cut(line[1:], " ")
			text += strings.Replace(string(AppendKeyLine(nil, 2, public, "")), "trader", role, 1)
			text = fmt.Sprintf("%s %s\n", strings.TrimSpace(text), options)
		}
		keys, err := ParseKeys("test", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	before := parse("0trader name=anna accounts=1-3,7 rate=10/20", "1trader name=ben", "2readonly name=carl")
	after := parse("0trader name=anne accounts=1-2,3,7 orders=5", "2operator name=carl", "3trader name=dora")
	c := after.Since(before)
	if got := fmt.Sprint(c.Added, c.Removed, c.Changed); got !=
		"[dora] [ben] [anne (name anna -> anne, rate 10/20 -> -, orders - -> 5) carl (role readonly -> operator)]" {
		t.Errorf("the changes are %s", got)
	}
	if c := before.Since(before); len(c.Added)+len(c.Removed)+len(c.Changed) != 0 {
		t.Errorf("no change is %v", c)
	}
	if c := before.Since(nil); len(c.Added) != 3 {
		t.Errorf("the first keys are %v", c)
	}
}
