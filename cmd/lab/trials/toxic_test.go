package trials

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"sluice/transport"
)

// toxics returns the faults of the network between clients and server: kind, direction and
// attributes of a toxiproxy toxic.
func toxics() []struct {
	name, kind, stream, attributes string
	cuts                           bool
} {
	return []struct {
		name, kind, stream, attributes string
		cuts                           bool
	}{
		{name: "latency", kind: "latency", stream: "downstream", attributes: `"latency":20,"jitter":15`},
		{name: "latency of requests", kind: "latency", stream: "upstream", attributes: `"latency":20,"jitter":15`},
		{name: "bandwidth", kind: "bandwidth", stream: "downstream", attributes: `"rate":400`},
		{name: "one byte at a time", kind: "slicer", stream: "downstream", attributes: `"average_size":1,"size_variation":0,"delay":0`},
		{name: "requests one byte at a time", kind: "slicer", stream: "upstream", attributes: `"average_size":1,"size_variation":0,"delay":0`},
		{name: "slow close", kind: "slow_close", stream: "downstream", attributes: `"delay":200`},
		{name: "reset", kind: "reset_peer", stream: "downstream", attributes: `"timeout":1`, cuts: true},
		{name: "cut after some bytes", kind: "limit_data", stream: "downstream", attributes: `"bytes":5000`, cuts: true},
		{name: "half-open peer", kind: "timeout", stream: "downstream", attributes: `"timeout":300`, cuts: true},
	}
}

// A proxy delays, slices, throttles, cuts and resets the streams. What arrives is a prefix of what
// was sent, in order, and contains nothing of another client. Clients beside the proxy are not
// affected, and the ledger is exact.
func TestToxicNetworks(t *testing.T) {
	engines(t, func(t *testing.T, engine transport.Mode) {
		for _, toxic := range toxics() {
			t.Run(toxic.name, func(t *testing.T) {
				const size = 120
				// Few notes: toxiproxy leaks goroutines when it cuts a stream with more data than
				// it buffers.
				clients, notes, rounds := 8, 60, scale(1, 1, 100)
				limits := lenient()
				limits.NoProgress = 20 * time.Second
				r := newRig(t, options{engine: engine, limits: limits, sendBuffer: 8 << 10})
				stop, checked := make(chan struct{}), watch(r.followers(8, 200))
				streamed := r.stream(1000, endless, stop)
				through, end := proxied(t, r.tcp)
				for round := range rounds {
					list := make([]*reader, 0, clients)
					for range clients {
						list = append(list, r.dial(through.how, size))
					}
					if round == 0 || toxic.cuts { // a toxic that cuts is removed after each round, or it would cut the next handshakes
						through.add(t, fmt.Sprintf(`{"name":"it","type":%q,"stream":%q,"toxicity":1,"attributes":{%s}}`, toxic.kind, toxic.stream, toxic.attributes))
					}
					err := all(list, func(c *reader) error {
						if err := errors.Join(c.ask(1, notes), c.Flush()); err != nil {
							return err
						}
						if toxic.cuts {
							return c.prefix()
						}
						return errors.Join(c.notes(notes), c.end())
					})
					if err != nil && !(toxic.cuts && gone(err)) {
						t.Error(err)
					}
					for _, c := range list {
						c.Close()
					}
					if toxic.cuts {
						r.need(through.Toxics.RemoveToxic(t.Context(), "it"))
					}
				}
				end()
				close(stop)
				<-streamed
				r.need(<-checked)
				until(t, "the connections behind the proxy to end", func() bool { return r.pipeline.Connections() == 8 })
				r.drain()
			})
		}
	})
}

// proxy is a toxiproxy in this process.
type proxy struct {
	*toxiproxy.Proxy
	how how
}

// proxied starts a proxy in front of an address. The function ends it.
func proxied(t testing.TB, to how) (*proxy, func()) {
	t.Helper()
	api := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	p := toxiproxy.NewProxy(api, "between", "127.0.0.1:0", to.address)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return &proxy{Proxy: p, how: how{network: "tcp", address: p.Listen}}, p.Stop
}

func (p *proxy) add(t testing.TB, toxic string) {
	t.Helper()
	if _, err := p.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
		t.Fatal(err)
	}
}
