package peer

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// with returns the encoded Hello of node 2 after a change.
func with(change func(*hello)) []byte {
	h := helloOf()
	change(&h)
	return sealed(kindHello, h.encode())
}

func TestAcceptorRefuses(t *testing.T) {
	damaged := with(func(*hello) {})
	damaged[headerSize+12]++
	for name, tt := range map[string]struct {
		says  []byte
		words []string
	}{
		"wrong cluster": {with(func(h *hello) { h.cluster[0] = 0xee }),
			[]string{"node 2 belongs to cluster ee00", "node 1 to cluster c100"}},
		"another node's address": {with(func(h *hello) { h.to = 3 }), []string{"the address of node 3 leads to node 1"}},
		"unknown node":           {with(func(h *hello) { h.from = 9 }), []string{"node 9 is unknown to node 1, which has the peers 2"}},
		"node number 200":        {with(func(h *hello) { h.from = 200 }), []string{"node 200 is unknown to node 1"}},
		"its own number":         {with(func(h *hello) { h.from = 1 }), []string{"two nodes are number 1"}},
		"unknown lane":           {with(func(h *hello) { h.lane = 9 }), []string{"lane 9 is unknown"}},
		"lane 0":                 {with(func(h *hello) { h.lane = 0 }), []string{"lane 0 is unknown"}},
		"no incarnation":         {with(func(h *hello) { h.incarnation = 0 }), []string{"node 2 has incarnation 0"}},
		"later protocol": {with(func(h *hello) { h.low, h.high = 2, 3 }),
			[]string{"speaks peer protocols 2 to 3, the other 1: upgrade"}},
		"earlier protocol": {with(func(h *hello) { h.low, h.high = 0, 0 }), []string{"speaks peer protocols 0 to 0"}},
		"short hello":      {sealed(kindHello, append([]byte(magic), 1, 1, 0)), []string{"has only 11 bytes"}},
		"other magic":      {sealed(kindHello, []byte("raft/1.0 hello")), []string{`begins with "raft/1.0 hello"`}},
		"empty hello":      {sealed(kindHello, nil), []string{`begins with ""`}},
		"data at once":     {sealed(kindData, []byte("x")), []string{"first frame is of kind 3"}},
		"damaged hello":    {damaged, []string{"has checksum", "damaged on the way"}},
		"HTTP":             {[]byte("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), []string{`begins with "GET /metr"`}},
		"much nonsense":    {[]byte(strings.Repeat("nonsense", 16000)), []string{"at most 98304 are allowed here"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newRig(t, 1).config(1)
			c.Peers[2] = Peer{Address: "127.0.0.1:1"}
			n := startNode(t, c, quick())
			s := dialNode(t, n)
			s.says(tt.says)
			s.refused(tt.words...)
			for _, w := range tt.words {
				n.logs("peer refused", strings.ReplaceAll(w, `"`, `\"`), "remote="+s.LocalAddr().String())
			}
			if s := n.status(2, Append); s.In.Connections != 0 || len(n.got) != 0 {
				t.Errorf("it was admitted: %+v", s)
			}
		})
	}
}

// A hello that says which peer it is from is recorded in that peer's status.
func TestRefusalIsInStatus(t *testing.T) {
	r := newRig(t, 1, 2)
	n := r.start(r.config(1), quick())
	dialNode(t, n).says(with(func(h *hello) { h.to = 3 }))
	eventually(t, "the status has the refusal", func() bool {
		return strings.Contains(n.status(2, Append).In.Error, "the address of node 3 leads to node 1")
	})
}

func TestSilentDiallerIsRefused(t *testing.T) {
	r := newRig(t, 1, 2)
	limits := quick()
	limits.hello = 20 * time.Millisecond
	n := r.start(r.config(1), limits)
	for _, part := range []string{"", "\x00", string(with(func(*hello) {})[:30])} {
		s := dialNode(t, n)
		s.says([]byte(part))
		s.refused("no hello within 20ms")
	}
	n.logs("peer refused", "no hello within 20ms")
}

// acceptor accepts one connection of node 1 as node 2, and reads its hello.
func acceptor(t *testing.T, socket net.Listener) *stranger {
	t.Helper()
	conn, err := socket.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	s := &stranger{newStream(conn, conn), t}
	if h, err := readHello(&s.frames); err != nil || h.from != 1 || h.to != 2 {
		t.Fatalf("hello %+v, %v", h, err)
	}
	return s
}

// answer is what node 2 responds to node 1.
func answer(change func(*hello)) []byte {
	return with(func(h *hello) {
		h.from, h.to = 2, 1
		change(h)
	})
}

func TestDiallerRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		says  []byte
		words string
		told  bool // the acceptor is told
	}{
		"wrong cluster":  {answer(func(h *hello) { h.cluster[0] = 0xee }), "node 2 belongs to cluster ee00", true},
		"another node":   {answer(func(h *hello) { h.from = 3 }), "the address of node 2 leads to node 3", true},
		"later protocol": {answer(func(h *hello) { h.low, h.high = 2, 3 }), "speaks peer protocols 2 to 3", false},
		"nonsense":       {[]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), `begins with \"HTTP/1.1 \"`, false},
		"data":           {sealed(kindData, []byte("x")), "first frame is of kind 3", false},
		"refusal":        {sealed(kindRefusal, []byte("because\x1b[2J")), "refused by the peer: because?[2J", false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1, 2)
			n := r.start(r.config(1), quick())
			s := acceptor(t, r.sockets[2])
			s.says(tt.says)
			if tt.told {
				s.refused(tt.words)
			}
			n.logs("peer not connected", "node=2", tt.words)
			for lane := Control; lane <= Bulk; lane++ {
				if s := n.status(2, lane); s.Out.Connected || s.Out.Connections > 0 {
					t.Errorf("status %+v", s)
				}
			}
		})
	}
}

func TestSilentAcceptorIsGivenUp(t *testing.T) {
	r := newRig(t, 1, 2)
	limits := quick()
	limits.hello = 20 * time.Millisecond
	n := r.start(r.config(1), limits)
	n.logs("peer not connected", "node=2", "no hello within 20ms")
}

// What a node sends before nonsense is delivered, and nothing after it.
func TestNonsenseAfterHelloEndsConnection(t *testing.T) {
	damaged := whole(10)
	damaged[headerSize]++
	tooLong := appendFrame(nil, kindData, nil)
	tooLong[2] = 0x80 // 8 MiB
	for name, tt := range map[string]struct {
		says  []byte
		words string
	}{
		"damaged":   {damaged, "damaged on the way"},
		"too long":  {tooLong, "announces 8388608 bytes; at most 262144"},
		"kind":      {sealed(99, nil), "a frame of kind 99"},
		"two hello": {with(func(*hello) {}), "a frame of kind 1"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1, 2)
			n := r.start(r.config(1), quick())
			s, h := dialNode(t, n), helloOf()
			h.lane = Bulk
			s.greets(h)
			s.says(append(append(sealed(kindData, []byte("before")), tt.says...), sealed(kindData, []byte("after"))...))
			if g := n.receives(); g != (got{Sender{2, 0, 1}, Bulk, "before"}) {
				t.Errorf("got %+v", g)
			}
			s.refused(tt.words)
			n.logs("peer cut off", "node=2", "lane=bulk", tt.words)
			if len(n.got) > 0 || n.status(2, Bulk).In.Connected || !strings.Contains(n.status(2, Bulk).In.Error, tt.words) {
				t.Errorf("%d more frames, status %+v", len(n.got), n.status(2, Bulk))
			}
		})
	}
}

// The process with the higher incarnation is served. At the same incarnation it is the first one.
func TestTwoNodesWithOneNumber(t *testing.T) {
	r := newRig(t, 1, 2)
	elsewhere := listen(t)
	c := r.config(2)
	c.Incarnation = 5
	a, first := r.start(r.config(1), quick()), r.start(c, quick())
	a.connected(2)
	for _, copied := range []struct {
		incarnation uint64
		words       string
	}{{4, "incarnation 4 came after 5"}, {5, "two nodes are number 2, both at incarnation 5"}} {
		c := r.config(2)
		c.Incarnation, c.Socket = copied.incarnation, listen(t)
		second := r.start(c, quick())
		second.logs("peer not connected", "node=1", copied.words)
		a.logs("peer refused", "node=2", copied.words)
		second.Close()
	}
	if g := first.reaches(a, Append, "still there"); g.from.Incarnation != 5 || a.status(2, Append).In.Connections != 1 {
		t.Fatalf("frame from %+v, status %+v", g.from, a.status(2, Append))
	}

	c = r.config(2)
	c.Incarnation, c.Socket = 6, elsewhere
	third := r.start(c, quick())
	third.reaches(a, Append, "newer")
	first.logs("peer not connected", "node=1", "incarnation 5 came after 6")
	// The address of node 2 still leads to the earlier process, to which nothing is sent any more.
	a.logs("peer not connected", "node=2", "incarnation 5 came after 6")
	for lane := Control; lane <= Bulk; lane++ {
		eventually(t, "the links to the earlier process are closed", func() bool { return !a.status(2, lane).Out.Connected })
		if s := a.status(2, lane); s.Incarnation != 6 {
			t.Errorf("status %+v", s)
		}
	}
}

// All places for hellos are taken by silent connections, which have much time. A node gets in, because
// the oldest ones give way.
func TestSilentConnectionsGiveWay(t *testing.T) {
	r := newRig(t, 1, 2)
	c := r.config(2)
	a := r.start(r.config(1), quick())
	first := dialNode(t, a)
	for range places {
		dialNode(t, a)
	}
	var network net.Error
	if _, _, err := first.next(); err == nil || errors.As(err, &network) && network.Timeout() {
		t.Errorf("the oldest connection is not closed: %v", err)
	}
	a.logs("peer refused", "newer connections")
	b := r.start(c, quick())
	b.reaches(a, Control, "through")
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(a.greeting); n > places {
		t.Errorf("%d hellos at a time, at most %d", n, places)
	}
}

func TestPlainNodeRecognizesTLS(t *testing.T) {
	r := newRig(t, 1, 2)
	n := r.start(r.config(1), quick())
	s := dialNode(t, n)
	if err := tls.Client(s.raw, &tls.Config{ServerName: Name(1)}).Handshake(); err == nil {
		t.Error("the handshake succeeds")
	}
	n.logs("peer refused", "one node speaks TLS, the other does not")
}

func TestLogLinesAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out lines
		to := slog.New(slog.NewTextHandler(&out, nil))
		var l limiter
		for range 100 {
			l.log(to, slog.LevelWarn, "peer refused")
		}
		if n := strings.Count(out.String(), "\n"); n != linesAtOnce {
			t.Fatalf("%d lines at once, want %d", n, linesAtOnce)
		}
		time.Sleep(lineEvery)
		for range 2 {
			l.log(to, slog.LevelWarn, "peer refused", "node", 2)
		}
		if s := out.String(); strings.Count(s, "\n") != linesAtOnce+1 || !strings.HasSuffix(s, "node=2 skipped_lines=95\n") {
			t.Fatalf("log:\n%s", s)
		}
		time.Sleep(time.Hour)
		for range 100 {
			l.log(to, slog.LevelWarn, "peer refused")
		}
		if n := strings.Count(out.String(), "\n"); n != 2*linesAtOnce+1 {
			t.Errorf("%d lines, want %d", n, 2*linesAtOnce+1)
		}
	})
}
