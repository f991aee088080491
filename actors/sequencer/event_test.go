package sequencer

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"

	"sluice/durability"
)

// Golden vectors of the journal's form: they may never change under version 2, or journals could not
// be read any more.
var goldenEvents = []struct {
	name, hex string
	event     Event
}{
	{"request", "02" + "01" + "00" + "02" + "10" + "030201" + "080706050403020a" + "0100000000010000" +
		"efcdab8967452301" + "aabbcc",
		Event{Kind: KindRequest, Time: 0x0A02030405060708, Conn: 1<<40 + 1, Request: 0x0123456789ABCDEF,
			Identity: Identity{Number: 0x010203, Role: RoleTrader}, Tag: 0x10,
			Body: []byte{0xAA, 0xBB, 0xCC}}},
	{"connected", "02" + "02" + "00" + "01" + "00" + "ffffff" + "0100000000000000" +
		"0200000000010000" + "0000000000000000",
		Event{Kind: KindConnected, Time: 1, Conn: 1<<40 + 2,
			Identity: Identity{Number: MaxIdentity, Role: RoleReadonly}}},
	{"disconnected", "02" + "03" + "00" + "03" + "00" + "000000" + "0200000000000000" +
		"0200000000010000" + "0000000000000000",
		Event{Kind: KindDisconnected, Time: 2, Conn: 1<<40 + 2,
			Identity: Identity{Role: RoleOperator}}},
	{"tick", "02" + "04" + "00" + "00" + "00" + "000000" + "0300000000000000" + "0000000000000000" +
		"0000000000000000", Event{Kind: KindTick, Time: 3}},
	{"checkpoint", "02" + "05" + "00" + "00" + "00" + "000000" + "0400000000000000" +
		"0000000000000000" + "0000000000000000" + "efcdab8967452301" + "0700000000000000",
		Event{Kind: KindCheckpoint, Time: 4, Body: []byte{0xEF, 0xCD, 0xAB, 0x89, 0x67, 0x45, 0x23, 1,
			7, 0, 0, 0, 0, 0, 0, 0}}},
	{"identity", "02" + "06" + "00" + "00" + "00" + "000000" + "0500000000000000" +
		"0000000000000000" + "0000000000000000" + "03020100" + "0102030405060708",
		Event{Kind: KindIdentity, Time: 5, Body: []byte{3, 2, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8}}},
	{"version", "02" + "07" + "00" + "00" + "00" + "000000" + "0600000000000000" +
		"0000000000000000" + "0000000000000000" + "09000000",
		Event{Kind: KindVersion, Time: 6, Body: []byte{9, 0, 0, 0}}},
	{"skip", "02" + "08" + "00" + "00" + "00" + "000000" + "0700000000000000" + "0000000000000000" +
		"0000000000000000" + "0b00000000000000",
		Event{Kind: KindSkip, Time: 7, Body: []byte{11, 0, 0, 0, 0, 0, 0, 0}}},
	{"policy", "02" + "09" + "00" + "00" + "00" + "000000" + "0800000000000000" + "0000000000000000" +
		"0000000000000000" + "7065727369737465643e3d32",
		Event{Kind: KindPolicy, Time: 8, Body: []byte("persisted>=2")}},
}

func TestEventGoldenVectors(t *testing.T) {
	for _, g := range goldenEvents {
		if got := hex.EncodeToString(AppendEvent(nil, &g.event)); got != g.hex {
			t.Errorf("%s is %s, want %s", g.name, got, g.hex)
		}
		raw, _ := hex.DecodeString(g.hex)
		got := Event{Seq: 1, Request: 1, Tag: 1, Body: []byte("left over")}
		if err := DecodeEvent(raw, &got); err != nil {
			t.Fatal(err)
		}
		if len(got.Body) == 0 {
			got.Body = nil
		}
		if !reflect.DeepEqual(got, g.event) || got.Kind.String() != g.name {
			t.Errorf("%s decoded as %+v, want %+v", g.name, got, g.event)
		}
	}
}

func TestBodiesOfEvents(t *testing.T) {
	events := map[Kind]*Event{}
	for i := range goldenEvents {
		events[goldenEvents[i].event.Kind] = &goldenEvents[i].event
	}
	if d, n := events[KindCheckpoint].Checkpoint(); d != 0x0123456789ABCDEF || n != 7 {
		t.Errorf("checkpoint %x of %d outputs", d, n)
	}
	if id := events[KindIdentity].Introduced(); id != (Identity{0x010203, 0, [8]byte{1, 2, 3, 4, 5, 6, 7, 8}}) {
		t.Errorf("identity %+v", id)
	}
	if v := events[KindVersion].Rules(); v != 9 {
		t.Errorf("version %d", v)
	}
	if seq := events[KindSkip].Skipped(); seq != 11 {
		t.Errorf("skipped %d", seq)
	}
	if p := events[KindPolicy].Policy(); p != durability.DurablyReplicated() {
		t.Errorf("policy %q", p)
	}
}

func TestDecodeEventNamesWhatIsWrong(t *testing.T) {
	raw, _ := hex.DecodeString(goldenEvents[0].hex)
	with := func(at int, b byte) []byte {
		changed := bytes.Clone(raw)
		changed[at] = b
		return changed
	}
	first, _ := hex.DecodeString("0102100100000000010000efcdab8967452301aabbcc")
	for _, c := range []struct {
		name, want string
		event      []byte
	}{
		{"an empty event", "is empty", nil},
		{"an event of version 1", "version 1, this program reads version 2", first},
		{"an event of a newer version", "version 3, this program reads version 2", with(0, 3)},
		{"an event of a newer version that is shorter", "version 9", []byte{9}},
		{"an event cut short", "has 31 bytes; an event has at least 32", raw[:31]},
		{"an event without a kind", "kind 0, this program knows 1 to 9", with(1, 0)},
		{"an event of a later kind", "kind 10, this program knows 1 to 9", with(1, 10)},
		{"an event with a generation", "flags 0x01", with(2, 1)},
		{"a tick with a body", "tick event has a body of 3 bytes; it must have 0", with(1, 4)},
		{"a checkpoint cut short", "checkpoint event has a body of 3 bytes; it must have 16", with(1, 5)},
		{"a policy that is none", "policy event: durability: clause 1", with(1, 9)},
		{"a policy in another spelling", `it must be "persisted>=1"`,
			AppendEvent(nil, &Event{Kind: KindPolicy, Body: []byte("local")})},
	} {
		var ev Event
		if err := DecodeEvent(c.event, &ev); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one that says %q", c.name, err, c.want)
		}
	}
}

func FuzzDecodeEvent(f *testing.F) {
	for _, g := range goldenEvents {
		raw, _ := hex.DecodeString(g.hex)
		f.Add(raw)
		f.Add(raw[:EventHeader])
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, event []byte) {
		var ev Event
		if DecodeEvent(event, &ev) != nil {
			return
		}
		switch ev.Kind {
		case KindCheckpoint:
			ev.Checkpoint()
		case KindIdentity:
			ev.Introduced()
		case KindVersion:
			ev.Rules()
		case KindSkip:
			ev.Skipped()
		case KindPolicy:
			if ev.Policy().Len() == 0 {
				t.Fatalf("%x has no policy", event)
			}
		}
		if again := AppendEvent(nil, &ev); !bytes.Equal(again, event) {
			t.Fatalf("%x was read as %+v, which is written as %x", event, ev, again)
		}
	})
}
