package config

import (
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
)

// place is an address and the setting that names it.
type place struct{ setting, address string }

// checkTwice rejects two listeners at one address, which would find it in use by the other.
func (c *Server) checkTwice() error {
	var tcp, unix []place
	for _, a := range c.TCP {
		tcp = append(tcp, place{"--listen-tcp", a})
	}
	for _, a := range c.TLSListen {
		tcp = append(tcp, place{"--listen-tls", a})
	}
	for _, a := range c.Unix {
		unix = append(unix, place{"--listen-unix", a})
	}
	if c.Admin != "" {
		tcp = append(tcp, place{"--admin-address", c.Admin})
	}
	if c.AdminTLS != "" {
		tcp = append(tcp, place{"--admin-tls", c.AdminTLS})
	}
	if c.Metrics != "" {
		tcp = append(tcp, place{"--metrics-address", c.Metrics})
	}
	if c.PeerListen != "" {
		tcp = append(tcp, place{"--peer-listen", c.PeerListen})
	}
	if c.AdminSocket != "" {
		unix = append(unix, place{"--admin-socket", c.AdminSocket})
	}
	for _, list := range []struct {
		all  []place
		same func(a, b string) bool
	}{{tcp, sameTCP}, {unix, sameFile}} {
		for i, one := range list.all {
			if j := slices.IndexFunc(list.all[:i],
				func(other place) bool { return list.same(other.address, one.address) }); j >= 0 {
				return Usagef("%s %s and %s %s are one address; give each listener its own",
					list.all[j].setting, list.all[j].address, one.setting, one.address)
			}
		}
	}
	return nil
}

// sameTCP reports whether two addresses cannot be bound by two listeners. Port 0 is any free port.
func sameTCP(a, b string) bool {
	hostA, portA, _ := net.SplitHostPort(a)
	hostB, portB, _ := net.SplitHostPort(b)
	if portA = strings.TrimLeft(portA, "0"); portA == "" || portA != strings.TrimLeft(portB, "0") {
		return false
	}
	ipA, ipB := hostIP(hostA), hostIP(hostB)
	if !ipA.IsValid() || !ipB.IsValid() { // names are not looked up
		return strings.EqualFold(hostA, hostB)
	}
	if ipA.IsUnspecified() || ipB.IsUnspecified() {
		return ipA.Is4() == ipB.Is4() || ipA == netip.IPv6Unspecified() || ipB == netip.IPv6Unspecified()
	}
	return ipA == ipB
}

// hostIP returns the IP address of a host that is one, is empty for all addresses, or is localhost.
func hostIP(host string) netip.Addr {
	switch {
	case host == "":
		return netip.IPv6Unspecified()
	case strings.EqualFold(host, "localhost"):
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	ip, _ := netip.ParseAddr(host) // invalid if it is a name
	return ip.Unmap()
}

// sameFile reports whether two paths of sockets are one. A name of an abstract socket is not a path.
func sameFile(a, b string) bool {
	if strings.HasPrefix(a, "@") || strings.HasPrefix(b, "@") {
		return a == b
	}
	fullA, errA := filepath.Abs(a)
	fullB, errB := filepath.Abs(b)
	return errA == nil && errB == nil && fullA == fullB
}
