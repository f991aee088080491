package bench

import (
	"errors"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// refusing is a host that rejects the guest. It closes the descriptor and reuses its number before
// Host returns.
type refusing struct{ reused int }

var errRefused = errors.New("refused")

func (r *refusing) Host(_ uint64, fd int) error {
	other, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	r.reused = fd
	return errors.Join(errRefused, unix.Dup3(other, fd, unix.O_CLOEXEC), unix.Close(other))
}

func (*refusing) Leave(uint64) {}

// The host owns the socket even after an error, so the caller must not close the descriptor.
func TestRefusedGuestIsClosedOnce(t *testing.T) {
	spec := &Spec{Net: "unix", Socket: filepath.Join(t.TempDir(), "s"), Connections: 1, Churn: 1}
	listener, address, err := listen(spec)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(listener)
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(epfd)
	client, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(client)
	if err := unix.Connect(client, &unix.SockaddrUnix{Name: address}); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Write(client, hello{index: 1}.bytes()); err != nil {
		t.Fatal(err)
	}
	h := &refusing{reused: -1}
	g := &guests{spec: spec, host: h, listener: listener, epfd: epfd, open: map[uint64]bool{}}
	if !g.take() || !errors.Is(g.err, errRefused) {
		t.Fatalf("the guest was accepted, error %v", g.err)
	}
	if _, err := unix.FcntlInt(uintptr(h.reused), unix.F_GETFD, 0); err != nil {
		t.Fatalf("descriptor %d was closed after its number was reused: %v", h.reused, err)
	}
	unix.Close(h.reused)
	if len(g.open) != 0 {
		t.Errorf("%d guests are open after a refusal", len(g.open))
	}
}
