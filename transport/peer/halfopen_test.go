package peer

import (
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// The half of the accepting node stays open when the dialling node loses its own. The new connection
// takes the place of the old one, which is closed.
func TestHalfOpenConnectionIsReplaced(t *testing.T) {
	r := newRig(t, 1, 2)
	p := newProxy(t, r.addresses[2])
	c := r.config(1)
	c.Peers[2] = Peer{Address: p.socket.Addr().String()}
	a, b := r.start(c, quick()), r.start(r.config(2), quick())
	a.connected(2)
	a.reaches(b, Append, "before")
	old := p.forget()
	if len(old) != lanes {
		t.Fatalf("%d connections, want %d; log:\n%s\n%s", len(old), lanes, a.log, b.log)
	}
	a.reaches(b, Append, "after")
	for _, pair := range old {
		select {
		case <-pair.ended:
		case <-time.After(patience):
			t.Fatal("the old connection stays open")
		}
	}
	for lane := Control; lane <= Bulk; lane++ {
		eventually(t, "one new connection", func() bool { return b.status(1, lane).In.Connections == 2 })
		if s := b.status(1, lane); !s.In.Connected {
			t.Errorf("status %+v", s)
		}
	}
}

// Receive is still busy with a frame of the connection that was replaced.
func TestReceiveDoesNotOverlapAcrossReconnect(t *testing.T) {
	r := newRig(t, 1, 2)
	p := newProxy(t, r.addresses[2])
	var running atomic.Int32
	release, arrived := make(chan struct{}), make(chan string, 100)
	c := r.config(2)
	c.Receive = func(_ Sender, lane Lane, frame []byte) {
		if lane == Append {
			if running.Add(1) > 1 {
				t.Error("Receive is called twice at a time for one lane")
			}
			arrived <- string(frame)
			<-release
			running.Add(-1)
			return
		}
		arrived <- string(frame)
	}
	b := r.start(c, quick())
	c = r.config(1)
	c.Peers[2] = Peer{Address: p.socket.Addr().String()}
	a := r.start(c, quick())
	goOn := sync.OnceFunc(func() { close(release) })
	t.Cleanup(goOn) // before Close, which waits for Receive
	a.connected(2)
	a.sends(2, Append, "first")
	if got := <-arrived; got != "first" {
		t.Fatal(got)
	}
	p.forget()
	for lane := Control; lane <= Bulk; lane++ {
		eventually(t, "a new connection", func() bool { return b.status(1, lane).In.Connections == 2 })
	}
	a.connected(2)
	a.sends(2, Append, "second")
	for i := range 200 { // the reader would have time for the second frame
		a.sends(2, Control, fmt.Sprint(i))
		if got := <-arrived; got != fmt.Sprint(i) {
			t.Fatalf("%q arrived", got)
		}
	}
	goOn()
	if got := <-arrived; got != "second" {
		t.Error(got)
	}
}

// proxy forwards connections to a node.
type proxy struct {
	socket net.Listener
	pairs  chan *pair
}

type pair struct {
	dialler, acceptor net.Conn
	ended             chan struct{} // closed when the acceptor has closed its end
}

func newProxy(t *testing.T, to string) *proxy {
	p := &proxy{socket: listen(t), pairs: make(chan *pair, 1000)}
	go func() {
		for {
			dialler, err := p.socket.Accept()
			if err != nil {
				return
			}
			end, err := net.Dial("tcp", to)
			if err != nil {
				dialler.Close()
				continue
			}
			t.Cleanup(func() { dialler.Close(); end.Close() })
			c := &pair{dialler, end, make(chan struct{})}
			p.pairs <- c
			go func() { _, _ = copyStream(end, dialler) }()
			go func() {
				defer close(c.ended)
				_, _ = copyStream(dialler, end)
			}()
		}
	}()
	return p
}

// forget closes the dialler's ends of all connections, and keeps the acceptor's.
func (p *proxy) forget() (all []*pair) {
	for len(p.pairs) > 0 {
		all = append(all, <-p.pairs)
	}
	for _, c := range all {
		c.dialler.Close()
	}
	return all
}

// copyStream copies until src ends, whether dst still takes anything or not.
func copyStream(dst, src net.Conn) (n int, err error) {
	b := make([]byte, 4<<10)
	for err == nil {
		n, err = src.Read(b)
		_, _ = dst.Write(b[:n])
	}
	return 0, err
}

// TestCauseOfTheEnd has both ends of a link's work fail, in each order.
func TestCauseOfTheEnd(t *testing.T) {
	refused := &RefusedError{Text: "another cluster"}
	for _, c := range []struct{ writing, reading, want error }{
		{syscall.ETIMEDOUT, net.ErrClosed, syscall.ETIMEDOUT},
		{syscall.EPIPE, syscall.ETIMEDOUT, syscall.ETIMEDOUT}, // the kernel told the reader
		{net.ErrClosed, syscall.ETIMEDOUT, syscall.ETIMEDOUT},
		{net.ErrClosed, net.ErrClosed, net.ErrClosed}, // closed for another connection
		{syscall.EPIPE, net.ErrClosed, syscall.EPIPE},
		{syscall.EPIPE, io.EOF, io.EOF},
		{syscall.ECONNRESET, refused, refused},
		{nil, io.EOF, io.EOF},
	} {
		if got := cause(c.writing, c.reading); got != c.want {
			t.Errorf("writing fails with %v and reading with %v: %v, want %v", c.writing, c.reading, got, c.want)
		}
	}
}
