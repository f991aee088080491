package observe

import (
	"crypto/ed25519"
	"errors"
	"net/http"
	"strings"
	"testing"

	"sluice/transport/listen"
)

func TestKickClosesConnectionsOfKey(t *testing.T) {
	r := newRig(t)
	key := listen.FingerprintOf(r.trader.Public().(ed25519.PublicKey)).String()
	for name, operator := range r.operators() {
		other := r.dial("unix", r.unix, nil)
		var all []*trade
		for range 2 {
			c := r.dial("tcp", r.tcp, r.trader)
			c.served()
			all = append(all, c)
		}
		connections := func() (n int) {
			var page Keys
			if err := operator.Get(soon(t), "/keys", &page); err != nil {
				t.Fatal(err)
			}
			for _, k := range page.Keys {
				if k.Key == key && k.Role == "trader" {
					n = k.Connections
				}
			}
			return n
		}
		if n := connections(); n != 2 {
			t.Errorf("%s: the key has %d connections; want 2", name, n)
		}
		if done, err := operator.KickKey(soon(t), key); err != nil || !strings.HasSuffix(done, "being closed: 2") {
			t.Fatalf("%s: %q, %v", name, done, err)
		}
		for _, c := range all {
			c.expect("close: kicked")
		}
		until(t, "the end of both connections", func() bool { return connections() == 0 })
		other.served()
		other.Close()
		for _, gone := range []string{key, "nobody"} {
			var refused *Error
			if _, err := operator.KickKey(soon(t), gone); !errors.As(err, &refused) ||
				refused.Status != http.StatusNotFound {
				t.Errorf("%s: kick %s: %v", name, gone, err)
			}
		}
	}
}
