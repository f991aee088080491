package actors

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/durability"
	"sluice/transport"
)

// readAll reads from a connection of package net until its end.
func readAll(c net.Conn) (n int, err error) {
	b, err := io.ReadAll(c)
	return len(b), err
}

// The reader keeps its net.Conn and closes it, before or after Disconnect; the socket ends when both
// descriptors are closed.
func TestConnectNetSharesASocketWithItsReader(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		for name, release := range map[string]func(r *rig, c net.Conn){
			"closes first": func(r *rig, c net.Conn) {
				c.Close()
				r.Disconnect(1, 2, transport.ReasonPeerClosed)
			},
			"disconnects first": func(r *rig, c net.Conn) {
				r.Disconnect(1, 2, transport.ReasonPeerClosed)
				c.Close()
			},
		} {
			t.Run(name, func(t *testing.T) {
				pair := dialNet(t, w.family)
				r := newRig(t, w, nil)
				r.must(r.ConnectNet(Conn{ID: 1}, pair[0]))
				requests := make(chan error, 1)
				go func() { // the reader, with a deadline, as before
					pair[0].SetReadDeadline(time.Now().Add(patience))
					n, err := readAll(pair[0])
					if err == nil && n != 8 {
						err = fmt.Errorf("%d bytes, want 8", n)
					}
					release(r, pair[0])
					requests <- err
				}()
				r.report(1, 0, 1, 20)
				r.persist()
				client := &client{t: t, in: bufio.NewReader(pair[1]), id: 1}
				client.wants(0, 1)
				_, err := pair[1].Write([]byte("requests"))
				r.must(err)
				pair[1].(interface{ CloseWrite() error }).CloseWrite()
				r.must(<-requests)
				r.report(1, 1, 1, 20) // the answer to the second request, after the half-close
				r.persist()
				client.wants(1, 1)
				client.wantsEnd()
				r.until("the connection is released", func() bool { return r.Connections() == 0 })
				r.must(pair[1].Close())
				r.drain()
			})
		}
	})
}

// An end of the pipeline's own is the end of the stream for the reader of the net.Conn.
func TestReaderOfNetConnSeesKick(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		pair := dialNet(t, w.family)
		r := newRig(t, w, nil)
		r.must(r.ConnectNet(Conn{ID: 1}, pair[0]))
		r.must(r.Kick(1, transport.ReasonKicked))
		if n, err := readAll(pair[0]); n != 0 || err != nil {
			t.Errorf("the reader got %d bytes, %v; want the end of the stream", n, err)
		}
		r.Disconnect(1, 0, transport.ReasonPeerClosed)
		client := &client{t: t, in: bufio.NewReader(pair[1]), id: 1}
		client.wantsEnd()
		r.until("the connection is released", func() bool { return r.Connections() == 0 })
		pair[0].Close()
		pair[1].Close()
		r.drain()
	})
}

// ownedEncoder writes frames of 8 bytes: the connection's id.
type ownedEncoder struct{ askEncoder }

func (ownedEncoder) AppendReport(dst []byte, r *tick) ([]byte, error) {
	dst = append(dst, 9, 0, 0, 0, tickTag)
	return binary.LittleEndian.AppendUint64(dst, r.n), nil
}

// wayIn is a way to make a connection of an accepted one. What it returns reads the requests, and
// is closed before Disconnect.
type wayIn func(p *Pipeline[tick, struct{}], id uint64, accepted *net.TCPConn) (io.ReadCloser, error)

// documentedWays are the ways that the documentation shows.
var documentedWays = map[string]wayIn{
	"ConnectNet": func(p *Pipeline[tick, struct{}], id uint64, c *net.TCPConn) (io.ReadCloser, error) {
		return c, p.ConnectNet(Conn{ID: id}, c)
	},
	"ConnectNet, write only": func(p *Pipeline[tick, struct{}], id uint64, c *net.TCPConn) (io.ReadCloser, error) {
		err := p.ConnectNet(Conn{ID: id, WriteOnly: true}, c)
		c.Close() // its descriptor is free at once
		return nil, err
	},
	"duplicate of File": func(p *Pipeline[tick, struct{}], id uint64, c *net.TCPConn) (io.ReadCloser, error) {
		f, err := c.File()
		if err != nil {
			return nil, err
		}
		fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		runtime.KeepAlive(f)
		f.Close()
		if err == nil {
			err = unix.SetNonblock(fd, true)
		}
		if err == nil {
			err = p.Connect(Conn{ID: id, FD: fd})
		}
		return c, err
	},
}

// collected makes connections with the garbage collector running all the time, until a client gets
// the bytes of another connection. It returns how many such frames arrived, and how many clients got
// all of their own. Connections come and go, so that numbers of descriptors are used again all the
// time.
func collected(t *testing.T, mode transport.Mode, connect wayIn, rounds uint64) (wrong, served int64) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cursors := durability.NewCursors(0)
	p, err := Open(Config{Policy: durability.Local(), IO: mode, Shards: 2,
		Log: new(logBook).logger()}, ownedEncoder{}, cursors)
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var background, clients sync.WaitGroup
	background.Go(func() {
		for !isClosed(stop) {
			runtime.GC()
		}
	})
	var strange, whole atomic.Int64
	places := make(chan struct{}, 16)
	for id := uint64(1); id <= rounds && strange.Load() == 0; id++ {
		places <- struct{}{}
		near, far, err := meet(l)
		if err != nil { // a listener or a client that was closed as if it were another descriptor
			t.Errorf("connection %d: %v", id, err)
			break
		}
		far.SetReadDeadline(time.Now().Add(patience)) // a mistake may shut another socket than this
		requests, err := connect(p, id, far)
		if err != nil { // a mistake that Connect has noticed
			t.Errorf("connection %d: %v", id, err)
			near.Close()
			break
		}
		if requests != nil {
			background.Go(func() {
				_, _ = io.Copy(io.Discard, requests)
				requests.Close()
				p.Disconnect(id, 0, transport.ReasonPeerClosed)
			})
		}
		clients.Go(func() {
			n, whose := receive(near, 8)
			if whose != id && whose != 0 {
				strange.Add(1)
			} else if n == 8 {
				whole.Add(1)
			}
			near.Close()
			<-places
		})
		publishLast(t, p, id)
		cursors.SetPersisted(1)
	}
	for range 8 {
		publishLast(t, p, rounds)
	}
	clients.Wait()
	close(stop)
	p.Slots().Close()
	_ = p.Stop(t.Context()) // it ends the readers, or names those that a mistake left waiting
	l.Close()
	background.Wait()
	return strange.Load(), whole.Load()
}

// meet makes a connection and returns both ends.
func meet(l net.Listener) (near net.Conn, far *net.TCPConn, err error) {
	near, err = net.DialTimeout("tcp", l.Addr().String(), patience)
	if err != nil {
		return nil, nil, err
	}
	if err := l.(*net.TCPListener).SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, nil, err
	}
	accepted, err := l.Accept()
	if err != nil {
		return nil, nil, err
	}
	return near, accepted.(*net.TCPConn), nil
}

// receive reads up to want frames and returns their number, and the connection that all of them are
// of: 0 if there were none. It ends with the first one of another connection.
func receive(c net.Conn, want int) (n int, whose uint64) {
	c.SetDeadline(time.Now().Add(patience))
	for in := bufio.NewReader(c); n < want; n++ {
		var frame [13]byte
		if _, err := io.ReadFull(in, frame[:]); err != nil || frame[4] != tickTag {
			break
		}
		id := binary.LittleEndian.Uint64(frame[5:])
		if whose != 0 && id != whose {
			return n, id
		}
		whose = id
	}
	return n, whose
}

// publishLast publishes a frame with its own id for each of the last 12 connections.
func publishLast(t *testing.T, p *Pipeline[tick, struct{}], last uint64) {
	for id := max(last, 12) - 11; id <= last; id++ {
		room, err := p.Slots().ClaimWait(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		room[0] = Slot[tick, struct{}]{Conn: id, Seq: 1, Received: p.Now(), Matched: p.Now()}
		room[0].Report.n = id
		p.Slots().Commit(1)
	}
	p.Slots().Publish()
}

// A descriptor that is handed over as documented is never closed by anything but the pipeline, so no
// client gets what is meant for another (I4). With the obvious mistake, the Fd of a File that is then
// forgotten, this fails (.ci/mutants.txt).
func TestNoClientGetsAnothersBytesWithTheCollectorRunning(t *testing.T) {
	rounds := uint64(1000)
	if testing.Short() {
		rounds = 300
	}
	for _, mode := range []transport.Mode{transport.ModeUring, transport.ModePoll} {
		for name, connect := range documentedWays {
			t.Run(mode.String()+"/"+name, func(t *testing.T) {
				ring, diagnosis, err := transport.Open(mode,
					transport.RingConfig{Entries: 2, Wake: func() {}})
				if err != nil {
					t.Skip(diagnosis.Text)
				}
				ring.Close()
				wrong, served := collected(t, mode, connect, rounds)
				if wrong != 0 || served != int64(rounds) {
					t.Errorf("%d frames reached another client; %d of %d clients got all of theirs",
						wrong, served, rounds)
				}
			})
		}
	}
}
