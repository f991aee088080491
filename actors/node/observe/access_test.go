package observe

import (
	"crypto/tls"
	"crypto/x509"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sluice/actors/node"
	"sluice/transport/listen"
	"sluice/transport/secure"
)

// keyed is a node with authorized keys.
type keyed struct {
	node.Running
	ring *listen.Keyring
}

func (k *keyed) Keys() (all []node.KeyUse) {
	for _, id := range k.ring.All() {
		all = append(all, node.KeyUse{Identity: id})
	}
	return all
}

// A browser shows its certificate with every request that any page makes it send, so such a request may read only.
func TestCertificateBehindAnotherPage(t *testing.T) {
	pair, err := secure.SelfSigned(time.Now().Add(-time.Hour), time.Now().Add(time.Hour), "boss")
	if err != nil {
		t.Fatal(err)
	}
	ring, err := listen.ParseKeys("f",
		strings.NewReader("operator cert:"+secure.FingerprintOf(pair.Leaf).String()+" name=boss\n"))
	if err != nil {
		t.Fatal(err)
	}
	for site, want := range map[string]bool{"": true, "same-origin": true, "cross-site": false} {
		r := httptest.NewRequest("POST", "https://sluice/kick", nil)
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{pair.Leaf}}
		if site != "" {
			r.Header.Set("Sec-Fetch-Site", site)
		}
		if who, operator := new(access).judge(r, &keyed{ring: ring}); who != "boss" || operator != want {
			t.Errorf("from %q: %q, operator %v", site, who, operator)
		}
	}
}
