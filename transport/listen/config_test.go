package listen

import (
	"encoding/base64"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/transport/secure"

	"sluice/transport"
	"sluice/transport/client"
	"sluice/transport/wire"
)

func TestInvalidConfigurationIsRejectedWithAReason(t *testing.T) {
	local := []Endpoint{{Network: "unix", Address: "/tmp/s", Open: true}}
	one := func(e Endpoint) Config { return Config{Endpoints: []Endpoint{e}} }
	for _, v := range []struct {
		name string
		cfg  Config
		want string // part of the error; empty: accepted
	}{
		{"a unix socket may be open", Config{Endpoints: local}, ""},
		{"loopback may be open", one(Endpoint{Network: "tcp", Address: "127.0.0.9:0", Open: true}), ""},
		{"IPv6 loopback may be open", one(Endpoint{Network: "tcp", Address: "[::1]:0", Open: true}), ""},
		{"localhost may be open", one(Endpoint{Network: "tcp", Address: "localhost:0", Open: true}), ""},
		{"all interfaces may not be open",
			one(Endpoint{Network: "tcp", Address: ":9000", Open: true}), `":9000" is not a loopback`},
		{"0.0.0.0 may not be open",
			one(Endpoint{Network: "tcp", Address: "0.0.0.0:9000", Open: true}), "ForceOpen"},
		{"a public address may not be open",
			one(Endpoint{Network: "tcp", Address: "192.0.2.1:9000", Open: true}), "192.0.2.1:9000"},
		{"a public address may be open if forced",
			one(Endpoint{Network: "tcp", Address: "0.0.0.0:9000", Open: true, ForceOpen: true}), ""},
		{"authentication needs keys", one(Endpoint{Network: "tcp", Address: "127.0.0.1:0"}),
			"no authorized keys"},
		{"no endpoint", Config{}, "0 endpoints"},
		{"unknown network", one(Endpoint{Network: "udp", Address: "127.0.0.1:0", Open: true}),
			`network "udp"`},
		{"address without a port", one(Endpoint{Network: "tcp", Address: "127.0.0.1", Open: true}),
			`address "127.0.0.1"`},
		{"unix path too long",
			one(Endpoint{Network: "unix", Address: strings.Repeat("x", 108), Open: true}), "108 bytes"},
		{"unknown role", one(Endpoint{Network: "unix", Address: "s", Open: true, OpenRole: 9}),
			"OpenRole is 9"},
		{"too many readers", Config{Endpoints: local, Readers: 65}, "Readers is 65: want 1..64"},
		{"negative timeout", Config{Endpoints: local, IdleTimeout: -1}, "IdleTimeout is -1"},
		{"requests too small for a header", Config{Endpoints: local, MaxRequest: 8}, "MaxRequest is 8"},
		{"a rate without a burst", Config{Endpoints: local, RequestRate: Rate{PerSecond: 1}},
			"RequestRate: burst"},
		{"a rate that is not a number", Config{Endpoints: local, ConnectRate: Rate{math.NaN(), 1}},
			"ConnectRate: NaN"},
		{"Reserve without Release",
			Config{Endpoints: local, Reserve: func(Conn) transport.Reason { return 0 }}, "belong together"},
	} {
		t.Run(v.name, func(t *testing.T) {
			_, err := New(v.cfg, nopHandler{})
			if v.want == "" && err != nil ||
				v.want != "" && (err == nil || !strings.Contains(err.Error(), v.want)) {
				t.Errorf("%v, want %q", err, v.want)
			}
		})
	}
	if _, err := New(Config{Endpoints: local}, nil); err == nil {
		t.Error("a nil handler was accepted")
	}
}

func TestErrorsOfAuthorizedKeysNameTheLine(t *testing.T) {
	key := func(n int) string { return base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", n))) }
	good := "trader " + key(32)
	for _, v := range []struct{ name, text, want string }{
		{"comments and blanks are skipped", "# all\n\n  \t\n" + good + " desk 4 # night\r\n", ""},
		{"a byte order mark is skipped", "\uFEFF" + good + "\n", ""},
		{"a byte order mark in another line", "# keys\n\uFEFF" + good, "f:2: unknown role"},
		{"no key at all", "# no keys\n", "f: no key in it"},
		{"unknown role", good + "\nadmin " + key(32), `f:2: unknown role "admin"`},
		{"role in capitals", "Trader " + key(32), `f:1: unknown role "Trader"`},
		{"no key on the line", "\n\noperator", "f:3: role \"operator\" without a key"},
		{"key cut off by a comment", "operator # " + key(32), "f:1: role \"operator\" without a key"},
		{"key that is not base64", "trader !!!", `f:1: key "!!!" is not base64`},
		{"key too short", "trader " + key(31), "f:1: key has 31 bytes, want 32"},
		{"key too long", "trader " + key(33), "f:1: key has 33 bytes, want 32"},
		{"comment without a mark", good + " desk 4", ""},
		{"all options", good + " accounts=7,100-199 name=desk4 connections=8 rate=1000/2000 orders=10000 " +
			"topics=0x10-1000 instruments=1-99 connect-rate=0.5/20 expires=2027-01-31 # x=y", ""},
		{"misspelled option", good + " acounts=7", `f:1: "acounts=7": unknown option: want name, accounts`},
		{"option in a comment without a mark", good + " seat=4", `f:1: "seat=4": unknown option`},
		{"option twice", good + " orders=1 orders=1", `f:1: "orders=1": option orders appears twice`},
		{"no account", good + " accounts=", `f:1: "accounts=": "" is no number`},
		{"account that is no number", "# x\n" + good + " accounts=7,x", `f:2: "accounts=7,x": "x" is no number`},
		{"account too large", good + " accounts=18446744073709551616", "is no number"},
		{"range backwards", good + " accounts=9-7", `"accounts=9-7": range "9-7" ends before it begins`},
		{"topics that are no numbers", good + " topics=depth", `"topics=depth": "depth" is no number`},
		{"no connection", good + " connections=0", `"connections=0": want a number from 1`},
		{"orders below zero", good + " orders=-1", `"orders=-1": want a number from 1`},
		{"rate without a burst", good + " rate=1000", `"rate=1000": want a rate per second and a burst`},
		{"no instrument", good + " instruments=", `"instruments=": "" is no number`},
		{"connect rate without a burst", good + " connect-rate=1",
			`"connect-rate=1": want a rate per second and a burst`},
		{"rate of nothing", good + " rate=0/0", `"rate=0/0": want a rate`},
		{"no day", good + " expires=31.1.2027", `"expires=31.1.2027": want a day, such as 2027-01-31`},
		{"empty name", good + " name=", `"name=": a name has 1 to 64 bytes`},
		{"name with a slash", good + " name=a/b", `"name=a/b": '/' in a name`},
		{"name like a fingerprint", good + " name=0123456789abcdef", "must not look like a fingerprint"},
		{"name that is a number", good + " name=42", `"name=42": a name must not be a number`},
		{"name twice", good + " name=a\ntrader " + base64.StdEncoding.EncodeToString(make([]byte, 32)) + " name=a",
			`f:2: name "a" appears twice`},
		{"key twice", good + "\noperator " + key(32), "f:2: key"},
		{"line too long", good + "\ntrader " + strings.Repeat("A", 5000),
			"f:2: bufio.Scanner: token too long"},
	} {
		t.Run(v.name, func(t *testing.T) {
			keys, err := ParseKeys("f", strings.NewReader(v.text))
			if v.want == "" {
				if err != nil || keys.Len() != 1 {
					t.Fatalf("%v, %v", keys, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), v.want) {
				t.Errorf("%v, want %q", err, v.want)
			}
		})
	}
	if _, err := ReadKeys("/does/not/exist"); err == nil ||
		!strings.Contains(err.Error(), "/does/not/exist") {
		t.Errorf("missing file: %v", err)
	}
}

func TestKeysThatOthersMayWriteAreRejected(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	public, _ := keyPair(0)
	if err := os.WriteFile(path, AppendKeyLine(nil, Operator, public, ""), 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, rejected := range map[os.FileMode]bool{0o400: false, 0o444: false, 0o600: false,
		0o644: false, 0o664: true, 0o666: true, 0o602: true} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := ReadKeys(path)
		if rejected != (err != nil) || rejected && (!strings.Contains(err.Error(), "chmod go-w") ||
			!strings.Contains(err.Error(), path)) {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
}

// FuzzAuthorizedKeys checks that no input panics, and that accepted keys are the same after they
// are written and read again.
func FuzzAuthorizedKeys(f *testing.F) {
	public, _ := keyPair(0)
	f.Add(string(AppendKeyLine(nil, Trader, public, "desk # 1\n2")))
	f.Add("# nothing\n")
	f.Add("readonly AAAA\n")
	f.Add("trader AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= name=desk4 accounts=7,100-199,0x10 connections=8 " +
		"rate=1000.5/2000 connect-rate=0.5/20 instruments=1,7-9 orders=10000 topics=none expires=2027-01-31T18:00:00+01:00 # desk 4\n")
	f.Add("operator cert:95D578" + strings.Repeat(":00", 29) + " name=boss\n")
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := ParseKeys("f", strings.NewReader(text))
		if err != nil {
			if !strings.HasPrefix(err.Error(), "listen: f:") {
				t.Fatalf("error does not name the file: %v", err)
			}
			return
		}
		var again []byte
		for key, a := range keys.keys {
			again = a.AppendLine(again, key[:], text)
		}
		for _, a := range keys.certs {
			again = a.AppendLine(again, nil, text)
		}
		reread, err := ParseKeys("again", strings.NewReader(string(again)))
		if len(again) > maxKeyLine/2 { // a comment of that length may make a line too long
			return
		}
		if err != nil || reread.Len() != keys.Len() {
			t.Fatalf("%q became %q: %v", text, again, err)
		}
		for key, a := range keys.certs {
			if b := reread.certs[key]; b.Key != a.Key || a.differences(b) != "" {
				t.Fatalf("%v became %v: %s", a, b, a.differences(b))
			}
		}
		for key, a := range keys.keys {
			if b := reread.keys[key]; b.Key != a.Key || a.differences(b) != "" {
				t.Fatalf("%v became %v: %s", a, b, a.differences(b))
			}
		}
	})
}

// A certificate is known by its whole fingerprint, while it is valid, and by nothing else.
func TestCertifiedByValidCertificate(t *testing.T) {
	now := time.Now()
	pair, err := secure.SelfSigned(now.Add(-time.Hour), now.Add(time.Hour), "client")
	if err != nil {
		t.Fatal(err)
	}
	print := secure.FingerprintOf(pair.Leaf)
	ring, err := ParseKeys("f", strings.NewReader("trader cert:"+print.String()+" name=desk\n"))
	if err != nil {
		t.Fatal(err)
	}
	id := ring.Certified(pair.Leaf, now)
	if id == nil || id.Name != "desk" || id.Certificate != print || ring.Find(id.Key) != id {
		t.Errorf("the identity is %v", id)
	}
	if early, late := ring.Certified(pair.Leaf, now.Add(-2*time.Hour)), ring.Certified(pair.Leaf,
		now.Add(2*time.Hour)); early != nil || late != nil {
		t.Errorf("outside its time it is %v, %v", early, late)
	}
	if ring.lookup(print[:]) != nil || ring.Certified(nil, now) != nil {
		t.Error("the fingerprint is a key")
	}
	near := print
	near[31]++ // the same first bytes
	if _, err := ParseKeys("f", strings.NewReader("trader cert:"+print.String()+"\ntrader cert:"+near.String()+"\n")); err == nil {
		t.Error("two certificates with the same first bytes are accepted")
	}
}

func TestBucketAllowsItsBurstAndThenItsRate(t *testing.T) {
	b := Rate{PerSecond: 10, Burst: 3}.bucket()
	var full int64
	now := int64(time.Hour)
	take := func(after time.Duration, want ...bool) {
		t.Helper()
		now += int64(after)
		for i, w := range want {
			if got := b.take(&full, now); got != w {
				t.Errorf("at %v, token %d: %v", time.Duration(now), i, got)
			}
		}
	}
	take(0, true, true, true, false)
	take(99*time.Millisecond, false)
	take(time.Millisecond, true, false)
	take(250*time.Millisecond, true, true, false)
	take(time.Hour, true, true, true, false)
}

func TestAddressTableIsBounded(t *testing.T) {
	l := newAddressLimiter(Rate{PerSecond: 1, Burst: 2}, 100)
	for i := range 10000 {
		address := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		if !l.allow(address, int64(i)) {
			t.Fatalf("the first connection from %v was rejected", address)
		}
		if len(l.full) > 100 {
			t.Fatalf("%d addresses are tracked", len(l.full))
		}
	}
	subnet := func(host byte) netip.Addr {
		return netip.AddrFrom16([16]byte{0x20, 1, 7: 1, 15: host})
	}
	if got := fmt.Sprint(l.allow(subnet(1), 0), l.allow(subnet(2), 0),
		l.allow(subnet(3), 0)); got != "true true false" {
		t.Errorf("three hosts of one IPv6 network with a burst of two: %s", got)
	}
}

func TestConnectionsAboveTheRateOfAnAddressAreClosed(t *testing.T) {
	h := newShard(t)
	s, address := openServer(t, "tcp", h,
		func(c *Config) { c.ConnectRate = Rate{PerSecond: 0.001, Burst: 2} })
	dial(t, "tcp", address, client.Options{})
	dial(t, "tcp", address, client.Options{})
	third := raw(t, "tcp", address)
	rejected(t, third, wire.Close{Reason: wire.CloseLimit, RetryAfter: time.Second})
	if g := await(t, "refusal", h.refused); g.reason != transport.ReasonAddressLimit ||
		g.conn.Remote.String() != third.LocalAddr().String() {
		t.Errorf("refused with %+v", g)
	}
	if n := s.Counters().Ended[transport.ReasonAddressLimit]; n != 1 {
		t.Errorf("counted %d", n)
	}
}

func TestTableReusesSlotsUnderANewGeneration(t *testing.T) {
	table := newTable()
	slots := map[int32]bool{}
	for range 3*chunk + 1 {
		slots[table.add()] = true
	}
	if len(slots) != 3*chunk+1 || table.used != len(slots) || len(table.chunks) != 4 {
		t.Fatalf("%d slots, %d used, %d chunks", len(slots), table.used, len(table.chunks))
	}
	rec := table.at(700)
	rec.state = established
	gen := rec.gen
	if table.find(700, gen) != rec {
		t.Error("a live connection was not found")
	}
	table.remove(700)
	if table.find(700, gen) != nil || table.find(-1, 0) != nil || table.find(4*chunk, 0) != nil {
		t.Error("find returned a connection that is gone")
	}
	if slot := table.add(); slot != 700 || table.at(slot).gen == gen {
		t.Errorf("slot %d under generation %d", slot, table.at(slot).gen)
	}
	rec.state = established
	if table.find(700, gen) != nil || table.find(700, rec.gen) != rec {
		t.Error("an event of the previous connection would reach this one")
	}
}
