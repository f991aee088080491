package trials

import (
	"fmt"
	"testing"
	"time"

	"sluice/telemetry"
	"sluice/transport"
)

// Of 200 clients in an open loop some never read. Every frame of the others arrives, and blocked
// clients cause almost no refused sends.
func TestClientsThatNeverReadDoNotAffectOthers(t *testing.T) {
	engines(t, func(t *testing.T, engine transport.Mode) {
		for range scale(1, 1, 6) {
			for _, percent := range []int{0, 1, 10} {
				t.Run(fmt.Sprintf("%d percent", percent), func(t *testing.T) { neverReading(t, engine, percent) })
			}
		}
	})
}

func neverReading(t *testing.T, engine transport.Mode, percent int) {
	const clients, size, owed, sendBuffer, receiveBuffer = 200, 200, 4000, 16 << 10, 4 << 10
	rate, total := scale(10_000, 20_000, 50_000), scale(20_000, 40_000, 500_000)
	limits := lenient()
	limits.HardBytes, limits.SoftBytes = 8<<20, 8<<20
	r := newRig(t, options{engine: engine, sendBuffer: sendBuffer, limits: limits})
	stalled := clients * percent / 100
	healthy := r.followers(clients-stalled, size)
	var mutes []*reader
	for i := range stalled {
		h := r.tcp
		if i%2 == 1 {
			h = r.unix
		}
		h.receive = receiveBuffer
		c := r.dial(h, size)
		r.need(c.follow())
		mutes = append(mutes, c)
	}
	// They are blocked before the stream begins: each is sent more than the kernel buffers.
	for _, c := range mutes {
		r.call(func(f *feed) { f.to(c.token, owed) })
	}
	until(t, "all stalled clients to be blocked", func() bool { return r.gauge(telemetry.EgressBlockedConnections) >= float64(stalled) })

	refusals := func() uint64 { return r.count(telemetry.EgressSendAgain) + r.count(telemetry.EgressSendShort) }
	before, polls, sends, began := refusals(), r.count(telemetry.EgressPolls), r.count(telemetry.EgressSendOK), time.Now()
	done := r.stream(rate, total, nil)
	r.need(all(healthy, (*reader).whole))
	<-done
	took := time.Since(began).Seconds()
	refused := refusals() - before
	t.Logf("%d frames to %d clients in %.2f s (%.0f/s), %d never read: %d sends, %d refused or short, %d polls, longest gap of the feed %v",
		total, clients, took, float64(total)/took, stalled, r.count(telemetry.EgressSendOK)-sends, refused, r.count(telemetry.EgressPolls)-polls, r.feed.gap)
	if bound := 2*float64(stalled)*took + float64(clients-stalled); float64(refused) > bound {
		t.Errorf("%d sends were refused; want at most 2 a second for each of %d blocked clients and one for each other: %.0f", refused, stalled, bound)
	}
	// Once they read, they get everything as well.
	r.need(all(mutes, (*reader).whole))
	for i, c := range append(healthy, mutes...) {
		want := uint64(total / clients)
		if i >= len(healthy) {
			want += owed
		}
		if c.next-1 != want {
			t.Errorf("client %d received %d notes, want %d", i, c.next-1, want)
		}
	}
	r.drain()
}
