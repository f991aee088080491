package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/cmd/orderbook"
	"sluice/cmd/orderbook/marketdata"
	"sluice/transport"
	"sluice/transport/client"
	"sluice/transport/listen"
	"sluice/transport/wire"
)

// keyed is a node with a keys file whose lines a test edits.
type keyed struct {
	t       *testing.T
	node    *bookNode
	cfg     bookConfig
	address string
	file    string
	keys    map[string]ed25519.PrivateKey // by name
}

// serveKeyed opens a node with the order book, which knows only the operator "boss" yet.
func serveKeyed(t *testing.T, mode transport.Mode, log io.Writer, lines ...string) *keyed {
	t.Helper()
	dir := t.TempDir()
	k := &keyed{t: t, file: filepath.Join(dir, "keys"), keys: map[string]ed25519.PrivateKey{}}
	cfg := config(dir, mode, log)
	cfg.KeysFile, cfg.Listen.Endpoints[0].Open = k.file, false
	k.write(lines...)
	k.cfg = cfg
	k.open()
	return k
}

func (k *keyed) open() {
	k.t.Helper()
	var addresses []string
	k.node, addresses = serve(k.t, k.cfg)
	k.address = addresses[0]
}

// restart drains the node and opens it again.
func (k *keyed) restart() {
	k.t.Helper()
	drain(k.t, k.node)
	k.open()
}

// write replaces the keys file. A line is a role, a name and options; the key of a name stays the same.
func (k *keyed) write(lines ...string) {
	k.t.Helper()
	var text []byte
	for _, line := range append(lines, "operator boss") {
		words := strings.Fields(line)
		if k.keys[words[1]] == nil {
			_, private, err := ed25519.GenerateKey(nil)
			if err != nil {
				k.t.Fatal(err)
			}
			k.keys[words[1]] = private
		}
		role, err := listen.ParseRole(words[0])
		if err != nil {
			k.t.Fatal(err)
		}
		public := k.keys[words[1]].Public().(ed25519.PublicKey)
		line := listen.AppendKeyLine(nil, role, public, "")
		text = append(text, strings.TrimSuffix(string(line), "\n")+" name="+strings.Join(words[1:], " ")+"\n"...)
	}
	if err := os.WriteFile(k.file, text, 0o600); err != nil {
		k.t.Fatal(err)
	}
}

// reload writes the keys file and has it put in force.
func (k *keyed) reload(lines ...string) KeyChanges {
	k.t.Helper()
	k.write(lines...)
	changes, err := k.node.ReloadKeys()
	if err != nil {
		k.t.Fatal(err)
	}
	return changes
}

// connect dials with the key of a name.
func (k *keyed) connect(name string) (*trader, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := client.Dial(ctx, "tcp", k.address, client.Options{Key: k.keys[name]})
	if err != nil {
		return nil, err
	}
	k.t.Cleanup(func() { c.Close() })
	return &trader{t: k.t, conn: c}, nil
}

func (k *keyed) trader(name string) *trader {
	k.t.Helper()
	c, err := k.connect(name)
	if err != nil {
		k.t.Fatal(err)
	}
	return c
}

// refused reads an EngineError with a reason, and its BatchEnd.
func (c *trader) refused(want wire.Refusal) {
	c.t.Helper()
	tag, b, err := c.conn.Next()
	_, got, ok := wire.DecodeEngineError(b)
	if err != nil || tag != wire.TagEngineError || !ok || got != want {
		c.t.Fatalf("tag 0x%02x, reason %v, error %v; want reason %v", tag, got, err, want)
	}
	c.expect("end")
}

// A command for an account of somebody else is malformed, uses up nothing, creates nothing, and says
// nothing about the account; so is a query.
func TestForeignAccountsAreRefused(t *testing.T) {
	engines(t, func(t *testing.T, mode transport.Mode) {
		k := serveKeyed(t, mode, io.Discard, "trader anna accounts=1,3", "trader ben accounts=2",
			"readonly eve accounts=none")
		anna, ben, eve := k.trader("anna"), k.trader("ben"), k.trader("eve")
		anna.command(order(1, 1, orderbook.Buy, 100, 5))
		anna.expect("accepted 1 seq=4", "end") // behind three identities
		before := k.node.Sequenced()
		for account := range uint64(4) {
			if account == 2 {
				continue
			}
			for _, c := range []*orderbook.Command{
				order(account, 1<<64-1, orderbook.Sell, 100, 5),
				{Tag: orderbook.TagCancel, Account: account, ClientOrderID: 1<<64 - 1, Target: 1},
				{Tag: orderbook.TagReplace, Account: account, ClientOrderID: 1<<64 - 1, Target: 1, Price: 1,
					Quantity: 1},
				position(account),
				{Tag: orderbook.TagQueryOpenOrders, Account: account, Limit: 1},
				{Tag: orderbook.TagQueryOutcome, Account: account, ClientOrderID: 1},
				{Tag: orderbook.TagQueryFills, Account: account, Limit: 1},
			} {
				ben.command(c)
				ben.refused(wire.RefusalMalformed)
			}
		}
		eve.command(position(1))
		eve.refused(wire.RefusalMalformed)
		if now := k.node.Sequenced(); now != before {
			t.Errorf("refused requests became events %d to %d", before+1, now)
		}
		anna.command(order(1, 2, orderbook.Buy, 100, 5))
		anna.expect("accepted 2 seq=5", "end")
		ben.command(order(2, 1, orderbook.Sell, 100, 5))
		ben.expect("accepted 1 seq=6", "fill 1 seq=6 5@100", "end")
		anna.expect("fill 1 seq=6 5@100")
		anna.command(position(3))
		anna.expect("position seq=6 net=0 last=0 accepted=0", "end")
	})
}

// An order in an instrument that the key does not have is malformed, and creates nothing. Cancels and queries
// are not affected.
func TestForeignInstrumentsAreRefused(t *testing.T) {
	engines(t, func(t *testing.T, mode transport.Mode) {
		k := serveKeyed(t, mode, io.Discard, "trader anna instruments=1,5-9", "trader ben instruments=none")
		anna, ben := k.trader("anna"), k.trader("ben")
		in := func(instrument uint32, id uint64) *orderbook.Command {
			c := order(1, id, orderbook.Buy, 100, 5)
			c.Instrument = instrument
			return c
		}
		anna.command(in(1, 1))
		anna.expect("accepted 1 seq=3", "end") // behind two identities
		for _, instrument := range []uint32{0, 2, 4, 10, 1<<32 - 1} {
			anna.command(in(instrument, 2))
			anna.refused(wire.RefusalMalformed)
		}
		ben.command(in(1, 2))
		ben.refused(wire.RefusalMalformed)
		anna.command(in(9, 2))
		anna.expect("accepted 2 seq=4", "end")
		ben.command(&orderbook.Command{Tag: orderbook.TagCancel, Account: 1, ClientOrderID: 3, Target: 1})
		if frame := ben.next(); !strings.HasPrefix(frame, "0x33 1") {
			t.Errorf("a cancel of an order that is in the book: %s", frame)
		}
		ben.expect("end")
	})
}

func TestForeignTopicsAreRefused(t *testing.T) {
	engines(t, func(t *testing.T, mode transport.Mode) {
		k := serveKeyed(t, mode, io.Discard, "trader anna topics=0x0100000000000001,0x0300000000000001", "trader ben")
		anna, ben := k.trader("anna"), k.trader("ben")
		for topic, permitted := range map[uint64]bool{
			marketdata.KindTop.Topic(1): true, marketdata.KindDepth.Topic(1): true,
			marketdata.KindTrades.Topic(1): false, marketdata.KindTop.Topic(2): false,
		} {
			request := wire.AppendSubscribeBody(nil, wire.Subscribe{Topic: topic})
			ben.send(wire.TagExtended, request)
			anna.send(wire.TagExtended, request)
			ben.snapshot()
			if permitted {
				anna.snapshot()
			} else {
				anna.refused(wire.RefusalTopic)
			}
		}
	})
}

// snapshot reads the response to a Subscribe.
func (c *trader) snapshot() {
	c.t.Helper()
	for first := true; ; first = false {
		tag, b, err := c.conn.Next()
		if err != nil || first && (tag != wire.TagExtended || b[0] != wire.SubSnapshotBegin) {
			c.t.Fatalf("tag 0x%02x %x, error %v; want a snapshot", tag, b, err)
		}
		if tag == wire.TagBatchEnd {
			return
		}
	}
}

// A reload ends the connections of keys that may do less, and no others; what changed is told.
func TestReloadEndsConnectionsThatMayDoLess(t *testing.T) {
	const operator, trader, readonly = "operator anna", "trader anna", "readonly anna"
	for _, v := range []struct {
		name, before, after string
		ends                bool
		change              string
	}{
		{"nothing", trader, trader, false, ""},
		{"the order of ranges", trader + " accounts=1-2,3,9", trader + " accounts=9,1-3", false, ""},
		{"key is gone", trader, "", true, "removed: anna"},
		{"lower role", operator, trader, true, "changed: anna (role operator -> trader)"},
		{"higher role", readonly, trader, false, "changed: anna (role readonly -> trader)"},
		{"fewer accounts", trader + " accounts=1-9", trader + " accounts=1-8", true,
			"changed: anna (accounts 1-9 -> 1-8)"},
		{"more accounts", trader + " accounts=1-9", trader + " accounts=0-9", false, "accounts 1-9 -> 0-9"},
		{"every account", trader + " accounts=1", trader, false, "accounts 1 -> -"},
		{"not every account any more", trader, trader + " accounts=1", true, "accounts - -> 1"},
		{"fewer instruments", trader + " instruments=1-9", trader + " instruments=2-9", true, "instruments 1-9 -> 2-9"},
		{"fewer topics", trader + " topics=1-9", trader + " topics=1-4,6-9", true, "topics 1-9 -> 1-4,6-9"},
		{"expired", trader, trader + " expires=2020-01-01", true, "expires - -> 2020-01-01"},
		{"expires later", trader, trader + " expires=2999-01-01", false, "expires - -> 2999-01-01"},
	} {
		t.Run(v.name, func(t *testing.T) {
			engines(t, func(t *testing.T, mode transport.Mode) {
				before, after := []string{"trader ben", v.before}, []string{"trader ben"}
				if v.after != "" {
					after = append(after, v.after)
				}
				k := serveKeyed(t, mode, io.Discard, before...)
				anna, ben := k.trader("anna"), k.trader("ben")
				changes := k.reload(append(after, "trader carl")...)
				if text := changes.String(); !strings.Contains(text, v.change) ||
					!strings.Contains(text, "added: carl") {
					t.Errorf("the reload says %s, want %q and that carl was added", text, v.change)
				}
				if ends := changes.Closed == 1; ends != v.ends || changes.Closed > 1 {
					t.Errorf("%d connections closed; want %v", changes.Closed, v.ends)
				}
				if v.ends {
					anna.expect("close: revoked")
				}
				ben.command(position(1))
				ben.expect("position seq=0 net=0 last=0 accepted=0", "end")
				_, err := k.connect("anna")
				if lost := v.after == "" || strings.Contains(v.after, "2020"); lost !=
					errors.Is(err, client.ErrAuthFailed) {
					t.Errorf("the next connection: %v", err)
				}
			})
		})
	}
}

// A key expires without a reload.
func TestKeyExpires(t *testing.T) {
	engines(t, func(t *testing.T, mode transport.Mode) {
		log := &lines{}
		expires := time.Now().Add(700 * time.Millisecond).UTC().Format(time.RFC3339Nano)
		k := serveKeyed(t, mode, log, "trader anna expires="+expires, "trader ben")
		ben := k.trader("ben")
		if anna, err := k.connect("anna"); err == nil { // on a starved machine it may be late already
			anna.expect("close: revoked")
		}
		if _, err := k.connect("anna"); !errors.Is(err, client.ErrAuthFailed) {
			t.Errorf("after its time: %v", err)
		}
		if n := k.node.Listener().Counters().Ended[transport.ReasonKeyExpired]; n == 0 {
			t.Error("no refusal of an expired key is counted")
		}
		until(t, "the line about keys=anna", func() bool {
			text := log.String()
			return strings.Contains(text, "keys expired") && strings.Contains(text, "keys=anna")
		})
		ben.command(position(1))
		if frame := ben.next(); !strings.HasPrefix(frame, "position") {
			t.Errorf("another client received %s", frame)
		}
	})
}

// What a revoked client has sent, and what was not executed before the reload, is refused.
func TestRevokedKeyExecutesNothing(t *testing.T) {
	identities := newIdentities([][8]byte{{1}, {2}}, nil)
	if id := identities.client(1); id.Role != 0 || id.MayAct(1) || id.MayFollow(1) || id.MayTrade(1) {
		t.Errorf("a key that no file has: %+v", id)
	}
	if identities.permits(listen.Fingerprint{1}, listen.Readonly) ||
		!identities.permits(listen.Fingerprint{}, listen.Trader) {
		t.Error("permits of a key that no file has, or of no key")
	}
}
