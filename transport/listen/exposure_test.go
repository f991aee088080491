package listen

import (
	"strings"
	"testing"
)

func TestExposureNamesOpenAndPlainEndpoints(t *testing.T) {
	for _, c := range []struct {
		of   Endpoint
		want []string // one word of each sentence
	}{
		{Endpoint{Network: "tcp", Address: "127.0.0.1:1"}, nil},
		{Endpoint{Network: "tcp", Address: "[::1]:1", TLS: true}, nil},
		{Endpoint{Network: "tcp", Address: "0.0.0.0:1", TLS: true}, nil},
		{Endpoint{Network: "unix", Address: "/run/s", Open: true}, nil},
		{Endpoint{Network: "tcp", Address: "localhost:1", Open: true}, []string{"on this machine"}},
		{Endpoint{Network: "tcp", Address: ":1", TLS: true, Open: true}, []string{"that reaches it"}},
		{Endpoint{Network: "tcp", Address: "10.0.0.1:1"}, []string{"not encrypted"}},
		{Endpoint{Network: "tcp", Address: "example.com:1", Open: true}, []string{"keys", "not encrypted"}},
	} {
		got := Exposure([]Endpoint{c.of})
		if len(got) != len(c.want) {
			t.Errorf("%+v: %q", c.of, got)
			continue
		}
		for i, word := range c.want {
			if !strings.Contains(got[i], word) || !strings.HasPrefix(got[i], c.of.Address) {
				t.Errorf("%+v: %q, want a sentence with %q", c.of, got[i], word)
			}
		}
	}
}
