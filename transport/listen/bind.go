//go:build linux

package listen

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// bound is a socket that is bound to its address.
type bound struct {
	fd   int         // -1 for a unix-domain socket before Listen
	addr string      // as bound, with the port in use
	path string      // socket file; empty unless a unix-domain socket in the file system
	made os.FileInfo // of path, so that only a file made by this process is removed
}

// bind binds a TCP endpoint. The path of a unix-domain socket is only checked: a socket file on which
// no process listens looks stale to another server, which would remove it.
func (c *Config) bind(e *Endpoint) (bound, error) {
	if e.Socket != nil {
		return c.duplicate(e)
	}
	if e.Network == "unix" {
		return bound{fd: -1, addr: e.Address}, checkPath(e)
	}
	address, err := net.ResolveTCPAddr("tcp", e.Address)
	if err != nil {
		return bound{}, fmt.Errorf("listen: address %q: %w", e.Address, err)
	}
	b, err := c.openTCP(address)
	if errors.Is(err, unix.EAFNOSUPPORT) && len(address.IP) == 0 {
		// Without an address, the endpoint is for all interfaces, and this kernel has only IPv4.
		b, err = c.openTCP(&net.TCPAddr{IP: net.IPv4zero, Port: address.Port})
	}
	if err != nil {
		return bound{}, fmt.Errorf("listen: %s: %w%s", e.Name, err, bindAdvice(err))
	}
	return b, nil
}

// open listens on a bound endpoint.
func (c *Config) open(e *Endpoint, b *bound) error {
	if e.Socket != nil {
		return nil // it listens already
	}
	if e.Network == "unix" {
		opened, err := c.openUnix(e)
		if err == nil {
			*b = opened // else b has no descriptor, and must not seem to have number 0
		}
		return err
	}
	// Fails if another process has bound the address since and was faster.
	if err := os.NewSyscallError("listen", unix.Listen(b.fd, c.Backlog)); err != nil {
		return fmt.Errorf("listen: %s: %w%s", e.Name, err, bindAdvice(err))
	}
	return nil
}

// checkPath reports why a unix-domain socket cannot be made at its path. It removes nothing.
func checkPath(e *Endpoint) error {
	if e.Address[0] == '@' {
		return nil
	}
	if _, err := socketAt(e.Address); err != nil {
		return err
	}
	if err := unix.Access(filepath.Dir(e.Address), unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("listen: %s: %w%s", e.Name, &os.PathError{Op: "access",
			Path: filepath.Dir(e.Address), Err: err}, bindAdvice(err))
	}
	return nil
}

// errInUse means that a process listens on a unix-domain socket.
var errInUse = errors.New("a process answers")

// Unavailable reports whether an error of Bind or Listen is about the state of the machine, which may
// change: an address that is in use, that no interface has, or whose name or directory does not exist
// yet. Other errors are mistakes in the configuration.
func Unavailable(err error) bool {
	var name *net.DNSError
	return errors.Is(err, unix.EADDRINUSE) || errors.Is(err, unix.EADDRNOTAVAIL) ||
		errors.Is(err, os.ErrNotExist) || errors.Is(err, errInUse) || errors.As(err, &name)
}

func bindAdvice(err error) string {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return ": another process listens there; stop it or choose another address"
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return ": no interface of this machine has that address"
	case errors.Is(err, unix.ENOENT):
		return ": its directory does not exist; create that or choose another path"
	case errors.Is(err, unix.EACCES):
		return ": this user may not bind it; ports below 1024 need CAP_NET_BIND_SERVICE"
	}
	return ""
}

func (c *Config) openTCP(address *net.TCPAddr) (b bound, err error) {
	family, name := unix.AF_INET6, unix.Sockaddr(nil)
	if ip := address.IP.To4(); ip != nil {
		family, name = unix.AF_INET, &unix.SockaddrInet4{Port: address.Port, Addr: [4]byte(ip)}
	} else {
		sa := &unix.SockaddrInet6{Port: address.Port}
		copy(sa.Addr[:], address.IP)
		if address.Zone != "" {
			nic, err := net.InterfaceByName(address.Zone)
			if err != nil {
				return bound{}, err
			}
			sa.ZoneId = uint32(nic.Index)
		}
		name = sa
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return bound{}, os.NewSyscallError("socket", err)
	}
	defer closeOnError(fd, &err)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return bound{}, os.NewSyscallError("SO_REUSEADDR", err)
	}
	if family == unix.AF_INET6 && len(address.IP) == 0 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0); err != nil {
			return bound{}, os.NewSyscallError("IPV6_V6ONLY", err)
		}
	}
	if err := c.setTCP(fd); err != nil {
		return bound{}, err
	}
	if err := unix.Bind(fd, name); err != nil {
		return bound{}, os.NewSyscallError("bind", err)
	}
	local, err := unix.Getsockname(fd)
	if err != nil {
		return bound{}, os.NewSyscallError("getsockname", err)
	}
	addr, port := addressOf(local)
	return bound{fd: fd, addr: net.JoinHostPort(addr.Unmap().String(), fmt.Sprint(port))}, nil
}

// openUnix creates the socket file. No client can connect between bind(2) and listen(2), so the
// permissions are set before they matter.
func (c *Config) openUnix(e *Endpoint) (b bound, err error) {
	abstract := e.Address[0] == '@'
	if !abstract {
		if err := RemoveStaleSocket(e.Address); err != nil {
			return bound{}, err
		}
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return bound{}, os.NewSyscallError("socket", err)
	}
	defer closeOnError(fd, &err)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: e.Address}); err != nil {
		return bound{}, fmt.Errorf("listen: %s: bind: %w%s", e.Name, err, bindAdvice(err))
	}
	b = bound{fd: fd, addr: e.Address}
	if !abstract {
		b.path = e.Address
		if err := os.Chmod(e.Address, e.Mode); err != nil {
			return bound{}, fmt.Errorf("listen: %s: %w", e.Name, err)
		}
		if b.made, err = os.Lstat(e.Address); err != nil {
			return bound{}, fmt.Errorf("listen: %s: %w", e.Name, err)
		}
	}
	err = c.sendBuffer(fd)
	if err == nil {
		err = os.NewSyscallError("listen", unix.Listen(fd, c.Backlog))
	}
	if err != nil {
		return bound{}, fmt.Errorf("listen: %s: %w", e.Name, err)
	}
	return b, nil
}

// duplicate returns a duplicate of an endpoint's own socket.
func (c *Config) duplicate(e *Endpoint) (b bound, err error) {
	fd, err := -1, error(nil)
	socket, ok := e.Socket.(syscall.Conn)
	if !ok {
		return bound{}, fmt.Errorf("listen: %s: Socket is a %T, which has no descriptor; want what "+
			"net.Listen returns", e.Name, e.Socket)
	}
	raw, err := socket.SyscallConn()
	if err == nil {
		failed := raw.Control(func(owned uintptr) {
			fd, err = unix.FcntlInt(owned, unix.F_DUPFD_CLOEXEC, 0)
		})
		err = errors.Join(failed, os.NewSyscallError("F_DUPFD_CLOEXEC", err))
	}
	if err == nil && e.Network == "tcp" {
		err = c.setTCP(fd)
		defer closeOnError(fd, &err)
	}
	if err != nil {
		return bound{}, fmt.Errorf("listen: %s: its Socket cannot be used: %w", e.Name, err)
	}
	return bound{fd: fd, addr: e.Address}, nil
}

// setTCP sets the options of a TCP socket that accepted sockets inherit.
func (c *Config) setTCP(fd int) error {
	if c.Congestion != "" {
		if err := unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION,
			c.Congestion); err != nil {
			return fmt.Errorf("congestion control %q: %w", c.Congestion, err)
		}
	}
	return c.sendBuffer(fd)
}

// sendBuffer sets the send buffer size if one is configured. Unix-domain sockets do not inherit it.
func (c *Config) sendBuffer(fd int) error {
	if c.SendBuffer == 0 {
		return nil
	}
	return os.NewSyscallError("SO_SNDBUF",
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, c.SendBuffer))
}

// RemoveStaleSocket frees a path for a new socket: it deletes a socket that no process listens on.
// If the path is in use, or is not a socket, it returns an error.
func RemoveStaleSocket(path string) error {
	stale, err := socketAt(path)
	if err != nil || !stale {
		return err
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("listen: removing the stale socket: %w", err)
	}
	return nil
}

// socketAt reports whether there is a socket at a path that no process listens on. If the path is in
// use, or is not a socket, it returns an error.
func socketAt(path string) (stale bool, err error) {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("listen: unix socket: %w", err)
	}
	if info.Mode().Type() != os.ModeSocket {
		return false, fmt.Errorf("listen: %q exists and is not a socket (%v): it is left alone; "+
			"choose another path", path, info.Mode())
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	switch err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err {
	case unix.ECONNREFUSED: // unix(7): no process listens
		return true, nil
	case nil, unix.EAGAIN: // EAGAIN: a process listens and its backlog is full
		return false, fmt.Errorf("listen: %w on unix socket %q: stop it or choose another path",
			errInUse, path)
	default:
		return false, fmt.Errorf("listen: unix socket %q exists, and whether it is in use is "+
			"unknown: %w", path, err)
	}
}

// close closes a socket that has no acceptor.
func (b *bound) close() {
	b.release()
	if b.fd >= 0 {
		unix.Close(b.fd)
	}
}

// release removes the socket file that open created, unless another server has replaced it since.
func (b *bound) release() {
	if b.path == "" {
		return
	}
	if now, err := os.Lstat(b.path); err == nil && os.SameFile(now, b.made) {
		_ = os.Remove(b.path) // harmless if it fails: RemoveStaleSocket handles it
	}
}

func closeOnError(fd int, err *error) {
	if *err != nil {
		unix.Close(fd)
	}
}
