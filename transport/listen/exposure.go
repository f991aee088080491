package listen

import (
	"net"
	"slices"
	"strings"
)

// Exposure says for each endpoint what strangers can do there: one sentence for those without authentication, and
// one for those without TLS that other machines can reach. It is empty if there is nothing to say. Unix-domain
// sockets have the permissions of their files.
func Exposure(endpoints []Endpoint) (all []string) {
	for i := range endpoints {
		e := &endpoints[i]
		if e.Network != "tcp" {
			continue
		}
		near := loopback(e.Address)
		if e.Open {
			who := "every client that reaches it"
			if near {
				who = "every program on this machine"
			}
			all = append(all, e.Address+": "+who+" is served; there are no authorized keys")
		}
		if !near && !e.TLS {
			all = append(all, e.Address+": not encrypted, and other machines can reach it; a machine on the way "+
				"can read and change everything")
		}
	}
	return slices.Compact(all)
}

// loopback reports whether only this machine reaches an address. Names other than localhost are not looked up.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && (strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback())
}
