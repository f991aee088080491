package bench

import (
	"fmt"

	"golang.org/x/sys/unix"

	"sluice/transport/secure"
)

// listen opens the socket of the server, on loopback or in the private directory of the run.
func listen(spec *Spec) (fd int, address string, err error) {
	fd, at, err := socket(spec)
	if err != nil {
		return -1, "", err
	}
	if err = unix.Bind(fd, at); err == nil {
		err = unix.Listen(fd, 4096)
	}
	if err != nil {
		unix.Close(fd)
		return -1, "", fmt.Errorf("bench: listening on %s: %w", spec.Net, err)
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		unix.Close(fd)
		return -1, "", fmt.Errorf("bench: getsockname: %w", err)
	}
	if in, ok := bound.(*unix.SockaddrInet4); ok {
		return fd, fmt.Sprint(in.Port), nil
	}
	return fd, spec.Socket, nil
}

// socket returns a blocking socket and the address of the spec: any port, or the path. Accepted
// sockets inherit the options that are set before listen(2).
func socket(spec *Spec) (fd int, at unix.Sockaddr, err error) {
	family := unix.AF_INET
	at = &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	if spec.Net == "unix" {
		family, at = unix.AF_UNIX, &unix.SockaddrUnix{Name: spec.Socket}
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, nil, fmt.Errorf("bench: socket: %w", err)
	}
	if spec.overTCP() && spec.Congestion != "" {
		if err := unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION,
			spec.Congestion); err != nil {
			unix.Close(fd)
			return -1, nil, fmt.Errorf("bench: congestion control %q: %w; sysctl "+
				"net.ipv4.tcp_available_congestion_control lists the available ones",
				spec.Congestion, err)
		}
	}
	return fd, at, nil
}

// dial connects a client, sends its hello and does its TLS handshake, if the spec has TLS.
func dial(spec *Spec, address string, h hello) (fd int, session *secure.Session, err error) {
	fd, at, err := socket(spec)
	if err != nil {
		return -1, nil, err
	}
	if in, ok := at.(*unix.SockaddrInet4); ok {
		if _, err := fmt.Sscan(address, &in.Port); err != nil {
			unix.Close(fd)
			return -1, nil, fmt.Errorf("bench: port %q of the server: %w", address, err)
		}
	}
	if h.stalled {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4608)
	}
	if err == nil {
		err = unix.Connect(fd, at)
	}
	if err == nil {
		_, err = unix.Write(fd, h.bytes())
	}
	if err == nil {
		session, err = spec.clientTLS(fd)
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		unix.Close(fd)
		return -1, nil, fmt.Errorf("bench: client %d: %w", h.index, err)
	}
	return fd, session, nil
}
