//go:build linux

package listen

import (
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
)

// Hold binds the endpoints of a configuration, listens on them, and returns them with their Socket
// set: for servers that follow one another at the same addresses. Clients wait in the backlogs
// meanwhile. release closes the sockets and removes their files; it is called once, after the last of
// those servers was made. After an error nothing is left open.
func Hold(cfg Config) (endpoints []Endpoint, release func(), err error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, nil, err
	}
	var held []*heldSocket
	release = func() {
		for _, h := range held {
			h.bound.release()
			h.file.Close()
		}
	}
	for i := range cfg.Endpoints {
		e := &cfg.Endpoints[i]
		b, err := cfg.bind(e)
		if err == nil {
			if err = cfg.open(e, &b); err != nil {
				b.close()
			}
		}
		if err != nil {
			release()
			return nil, nil, err
		}
		h := &heldSocket{bound: b, network: e.Network, file: os.NewFile(uintptr(b.fd), e.Name)}
		held, e.Socket = append(held, h), h
	}
	return cfg.Endpoints, release, nil
}

// heldSocket is a socket of Hold. Only its descriptor and its address are used.
type heldSocket struct {
	bound   bound
	network string
	file    *os.File
}

// Accept implements net.Listener. It is not called.
func (h *heldSocket) Accept() (net.Conn, error) {
	return nil, fmt.Errorf("listen: %s is accepted from by a Server", h.bound.addr)
}

// Close implements net.Listener. It is not called.
func (h *heldSocket) Close() error { return h.file.Close() }

// Addr implements net.Listener.
func (h *heldSocket) Addr() net.Addr {
	if strings.HasPrefix(h.network, "unix") {
		return &net.UnixAddr{Name: h.bound.addr, Net: h.network}
	}
	address, err := net.ResolveTCPAddr(h.network, h.bound.addr)
	if err != nil {
		panic(fmt.Sprintf("listen: the kernel bound %q: %v", h.bound.addr, err))
	}
	return address
}

// SyscallConn implements syscall.Conn.
func (h *heldSocket) SyscallConn() (syscall.RawConn, error) { return h.file.SyscallConn() }
