package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"sluice/actors/sequencer"
	"sluice/durability/journal"
	"sluice/transport"
	"sluice/transport/client"
	"sluice/transport/listen"
	"sluice/transport/wire"
)

// Tags of the presence application.
const (
	tagMark  = 0x10 // marks the connection
	tagCount = 0x11 // query
	tagAlarm = 0x12 // asks for a tick the body's number of ns later, which reports to the connection
	tagFail  = 0x13 // panics, if the application is poisonous

	tagState = 0x30 // response: connections, marks, identity number, key
	tagRang  = 0x31 // report of the tick: its time, u64
)

// present is the output of the presence application.
type present struct {
	tag          uint8
	conns, marks uint64
	identity     sequencer.Identity
	time         int64
}

// presence is an application that knows who is connected, and which connections are marked.
type presence struct {
	conns, marks map[uint64]bool
	alarm        int64
	alarmTo      uint64
	poisonous    bool
	onEnd        func() // called in Disconnected
}

func newPresence() *presence {
	return &presence{conns: map[uint64]bool{}, marks: map[uint64]bool{}}
}

// presenceWith is a Config.Application whose instances are changed by edit.
func presenceWith(edit func(*presence)) func() sequencer.Application[present, present] {
	return func() sequencer.Application[present, present] {
		p := newPresence()
		edit(p)
		return p
	}
}

func (*presence) Requests() []sequencer.RequestType {
	return []sequencer.RequestType{
		{Tag: tagMark, Name: "mark", Role: sequencer.RoleTrader},
		{Tag: tagCount, Name: "count", Role: sequencer.RoleReadonly, Query: true},
		{Tag: tagAlarm, Name: "alarm", Size: 8, Role: sequencer.RoleTrader},
		{Tag: tagFail, Name: "fail", Role: sequencer.RoleTrader},
	}
}

func (p *presence) state(ev *sequencer.Event) present {
	return present{tag: tagState, conns: uint64(len(p.conns)), marks: uint64(len(p.marks)),
		identity: ev.Identity}
}

func (p *presence) Apply(ev *sequencer.Event, out sequencer.Emitter[present, present]) {
	if !p.conns[ev.Conn] {
		panic(fmt.Sprintf("a request of connection %d, which is not connected", ev.Conn))
	}
	switch ev.Tag {
	case tagMark:
		p.marks[ev.Conn] = true
	case tagAlarm:
		p.alarm, p.alarmTo = ev.Time+int64(binary.LittleEndian.Uint64(ev.Body)), ev.Conn
	case tagFail:
		if p.poisonous {
			panic("poison")
		}
		clear(p.marks)
	}
	*out.Report(ev.Conn) = p.state(ev)
}

func (p *presence) Query(ev *sequencer.Event, out sequencer.Emitter[present, present]) {
	*out.Query(ev.Conn) = p.state(ev)
}

func (p *presence) Connected(ev *sequencer.Event, _ sequencer.Emitter[present, present]) {
	if p.conns[ev.Conn] {
		panic(fmt.Sprintf("connection %d is connected twice", ev.Conn))
	}
	p.conns[ev.Conn] = true
}

func (p *presence) Disconnected(ev *sequencer.Event, _ sequencer.Emitter[present, present]) {
	if !p.conns[ev.Conn] {
		panic(fmt.Sprintf("connection %d ends and was not connected", ev.Conn))
	}
	delete(p.conns, ev.Conn)
	delete(p.marks, ev.Conn)
	if p.onEnd != nil {
		p.onEnd()
	}
}

func (p *presence) NextTick() int64 { return p.alarm }

func (p *presence) Tick(ev *sequencer.Event, out sequencer.Emitter[present, present]) {
	p.alarm = 0
	*out.Report(p.alarmTo) = present{tag: tagRang, time: ev.Time}
}

func (p *presence) Snapshot(w io.Writer) error {
	b := binary.LittleEndian.AppendUint64(nil, uint64(p.alarm))
	b = binary.LittleEndian.AppendUint64(b, p.alarmTo)
	for _, set := range []map[uint64]bool{p.conns, p.marks} {
		b = binary.LittleEndian.AppendUint64(b, uint64(len(set)))
		for _, conn := range slices.Sorted(maps.Keys(set)) {
			b = binary.LittleEndian.AppendUint64(b, conn)
		}
	}
	_, err := w.Write(b)
	return err
}

func (p *presence) Restore(r io.Reader) error {
	fresh, bad := newPresence(), error(nil)
	next := func() (n uint64) {
		bad = errors.Join(bad, binary.Read(r, binary.LittleEndian, &n))
		return n
	}
	fresh.alarm, fresh.alarmTo = int64(next()), next()
	for _, set := range []map[uint64]bool{fresh.conns, fresh.marks} {
		for n := next(); n > 0 && bad == nil; n-- {
			set[next()] = true
		}
	}
	if bad == nil {
		p.conns, p.marks, p.alarm, p.alarmTo = fresh.conns, fresh.marks, fresh.alarm, fresh.alarmTo
	}
	return bad
}

type presenceEncoder struct{}

func (presenceEncoder) AppendReport(dst []byte, r *present) ([]byte, error) {
	le := binary.LittleEndian
	if r.tag == tagRang {
		return le.AppendUint64(append(le.AppendUint32(dst, 9), tagRang), uint64(r.time)), nil
	}
	dst = append(le.AppendUint32(dst, 1+8+8+4+8), r.tag)
	dst = le.AppendUint64(le.AppendUint64(dst, r.conns), r.marks)
	return append(le.AppendUint32(dst, r.identity.Number), r.identity.Key[:]...), nil
}

func (e presenceEncoder) AppendQuery(dst []byte, r *present) ([]byte, error) {
	return e.AppendReport(dst, r)
}

type presenceNode = Node[present, present]

func presenceConfig(dir string, log io.Writer) Config[present, present] {
	cfg := Config[present, present]{
		Application: presenceWith(func(*presence) {}), Encoder: presenceEncoder{}, DataDir: filepath.Join(dir, "data"),
		Listen: listen.Config{Endpoints: []listen.Endpoint{
			{Network: "unix", Address: filepath.Join(dir, "s"), Open: true}}},
		Journal: Journal{SegmentBytes: 1 << 20}, Log: slog.New(slog.NewTextHandler(log, nil)),
	}
	cfg.Pipeline.IO = transport.ModePoll
	return cfg
}

// open opens a node of the presence application, which is stopped at the end of the test.
func open(t *testing.T, cfg Config[present, present]) *presenceNode {
	t.Helper()
	n, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, n) })
	return n
}

func stop(t *testing.T, n *presenceNode) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_ = n.Stop(ctx) // tests that care look at it themselves
}

// member is a client of the presence application.
type member struct{ *trader }

func join(t *testing.T, dir string, options client.Options) *member {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := client.Dial(ctx, "unix", filepath.Join(dir, "s"), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &member{&trader{t: t, conn: c}}
}

// frame reads one frame of the application.
func (m *member) frame() present {
	m.t.Helper()
	for {
		if err := m.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			m.t.Fatal(err)
		}
		tag, b, err := m.conn.Next()
		le := binary.LittleEndian
		switch {
		case err != nil:
			m.t.Fatal(err)
		case tag == tagRang:
			return present{tag: tag, time: int64(le.Uint64(b))}
		case tag == tagState:
			return present{tag: tag, conns: le.Uint64(b), marks: le.Uint64(b[8:]),
				identity: sequencer.Identity{Number: le.Uint32(b[16:]), Key: [8]byte(b[20:])}}
		case tag != wire.TagBatchEnd:
			m.t.Fatalf("frame 0x%02x", tag)
		}
	}
}

// do sends a request and returns its response.
func (m *member) do(tag uint8, body ...byte) present {
	m.t.Helper()
	m.send(tag, body)
	return m.frame()
}

// kindsIn lists the kinds of the events from number first on, and the connections that begin or end.
func kindsIn(t *testing.T, cfg Config[present, present], first uint64) (out []string, last uint64) {
	t.Helper()
	log, err := journal.Inspect(filepath.Join(cfg.DataDir, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	var ev sequencer.Event
	for e, err := range log.Events() {
		if err = errors.Join(err, sequencer.DecodeEvent(e.Payload, &ev)); err != nil {
			t.Fatal(err)
		}
		if last = uint64(e.Seq); last >= first {
			text := ev.Kind.String()
			if ev.Kind == sequencer.KindConnected || ev.Kind == sequencer.KindDisconnected {
				text += fmt.Sprintf(" %d.%d", ev.Conn>>connBits, ev.Conn&(1<<connBits-1))
			}
			out = append(out, text)
		}
	}
	return out, last
}
