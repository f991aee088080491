package actors

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/telemetry"
	"sluice/transport"
)

func TestShardHeartbeatsKeepIntervalAndLimits(t *testing.T) {
	b := newTable(t, func(c *Config) { c.Heartbeat = 10 * time.Second })
	for id := uint64(1); id <= 3; id++ {
		b.join(id)
	}
	b.refuse(3, unix.EAGAIN)
	for range 1200 { // a minute in which connection 2 has traffic
		b.saySize(2, 13)
		b.persist()
		b.pass(50*time.Millisecond, 50*time.Millisecond)
	}
	if n := b.ring.sends[1]; n < 4 || n > 6 {
		t.Errorf("%d heartbeats in a minute of silence, want one for every 10 to 12.5 s", n)
	}
	if got, want := b.ring.bytes[2], 1200*26; got != want {
		t.Errorf("%d bytes to a connection with traffic, want %d and no heartbeat", got, want)
	}
	if why := b.closed[3]; why != transport.ReasonStalled {
		t.Errorf("a quiet client that refuses its heartbeats was closed as %v, want stalled", why)
	}
	if n := b.sum(telemetry.EgressHeartbeats); n > 7 {
		t.Errorf("%d heartbeats in all: the blocked client got more than one", n)
	}
}

// The heartbeats of clients that became quiet at one moment are spread over a quarter of the
// interval. A tick checks the same number of connections, regardless of how many are busy.
func TestShardHeartbeatsAreSpread(t *testing.T) {
	const n, interval, piece = 1000, 10 * time.Second, 50 * time.Millisecond
	b := newTable(t, func(c *Config) { c.Heartbeat, c.Egress.Tick = interval, piece })
	for id := uint64(1); id <= n; id++ {
		b.join(id)
	}
	b.pass(piece, piece)
	most := uint64(0)
	const parts = int(interval / 4 / piece) // of the quarter
	for i := range int(interval/piece) + parts + 1 {
		before := b.sum(telemetry.EgressHeartbeats)
		b.pass(piece, piece)
		beats := b.sum(telemetry.EgressHeartbeats) - before
		if passed := time.Duration(i+2) * piece; passed < interval && beats > 0 {
			t.Fatalf("%d heartbeats %v after the clients were last sent something", beats, passed)
		}
		most = max(most, beats)
	}
	if want := uint64(n/parts + 2); most > want {
		t.Errorf("%d heartbeats in one tick, want at most %d of %d", most, want, n)
	}
	if got := b.sum(telemetry.EgressHeartbeats); got != n {
		t.Errorf("%d heartbeats in an interval and a quarter, want one for each of %d clients", got,
			n)
	}
}
