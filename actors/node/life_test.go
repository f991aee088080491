package node

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/actors/sequencer"
	"sluice/durability"
	"sluice/durability/journal"
	"sluice/transport/client"
	"sluice/transport/listen"
	"sluice/transport/wire"
)

// After kill -9 at any moment, the next run goes on from what is on disk, and no connection of the
// run before is left once the first client is admitted, and no mark of one.
func TestKilledConnectionsEndBeforeTheFirstClient(t *testing.T) {
	dir := t.TempDir()
	cfg := presenceConfig(dir, io.Discard)
	first, connected := uint64(1), 0
	for run := range 8 {
		kill, ended := startChild(t, dir, "presence")
		asks := join(t, dir, client.Options{})
		if got := asks.do(tagCount); got.conns != 1 || got.marks != 0 {
			t.Errorf("run %d: %d connections and %d marks; want the one that asks, and none",
				run+1, got.conns, got.marks)
		}
		var all sync.WaitGroup
		for range 10 {
			m := join(t, dir, client.Options{})
			m.do(tagMark)
			all.Go(func() {
				// Few enough that the log of this run is still there when the next one has ended.
				for i := uint64(2); i < 40; i++ {
					if m.conn.Send(i, tagMark, nil) != nil || m.conn.Flush() != nil {
						return
					}
					if _, _, err := m.conn.Next(); err != nil {
						return
					}
				}
			})
		}
		for range run { // some are gone before
			m := join(t, dir, client.Options{})
			m.do(tagMark)
			m.conn.Close()
		}
		kill()
		all.Wait()
		ended()
		kinds, last := kindsIn(t, cfg, first)
		var want []string // what the journal of the run before leaves open
		for i := range connected {
			want = append(want, fmt.Sprintf("disconnected %d.%d", run, i+1))
		}
		if got := kinds[:min(len(kinds), len(want))]; !slices.Equal(got, want) {
			t.Errorf("run %d begins with %s, want %s", run+1, got, want)
		}
		// Those that left may have ended in this run or not; all others end in the next one.
		connected = 11
		first = last + 1
	}
}

// A drain journals the end of every connection, so the next run has none to end.
func TestDrainEndsConnections(t *testing.T) {
	dir := t.TempDir()
	cfg := presenceConfig(dir, &lines{})
	n := open(t, cfg)
	members := []*member{join(t, dir, client.Options{}), join(t, dir, client.Options{})}
	for i, m := range members {
		if got := m.do(tagMark); got.marks != uint64(i+1) {
			t.Errorf("%d marks", got.marks)
		}
	}
	if err := members[0].conn.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, "the end of the connection", func() bool { return members[1].do(tagCount).conns == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := n.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	want := []string{"connected 1.1", "connected 1.2", "request", "request", "disconnected 1.1", "disconnected 1.2"}
	got, last := kindsIn(t, cfg, 1)
	if !slices.Equal(got, want) {
		t.Errorf("journaled %s, want %s", got, want)
	}
	stop(t, open(t, cfg))
	if more, _ := kindsIn(t, cfg, last+1); len(more) > 0 {
		t.Errorf("the next run journaled %s", more)
	}
}

// A key has the same number on every connection and in every run; the application sees it.
func TestKeysHaveNumbers(t *testing.T) {
	dir := t.TempDir()
	cfg := presenceConfig(dir, &lines{})
	var keys []ed25519.PrivateKey
	var file []byte
	for range 3 {
		public, private, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, private)
		file = listen.AppendKeyLine(file, listen.Trader, public, "member")
	}
	cfg.KeysFile = filepath.Join(dir, "keys")
	if err := os.WriteFile(cfg.KeysFile, file, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Listen.Endpoints[0].Open = false
	numbers := map[[8]byte]uint32{}
	for range 3 {
		n := open(t, cfg)
		var all sync.WaitGroup
		got := make([]present, 4*len(keys))
		for i := range got {
			m := join(t, dir, client.Options{Key: keys[i%len(keys)]})
			all.Go(func() { got[i] = m.do(tagMark) })
		}
		all.Wait()
		for i, g := range got {
			number, known := numbers[g.identity.Key]
			if g.identity.Number == 0 || known && number != g.identity.Number ||
				g.identity.Key != got[i%len(keys)].identity.Key {
				t.Errorf("identity %+v, had number %d", g.identity, number)
			}
			numbers[g.identity.Key] = g.identity.Number
		}
		stop(t, n)
	}
	if len(numbers) != len(keys) {
		t.Errorf("numbers %v for %d keys", numbers, len(keys))
	}
	kinds, _ := kindsIn(t, cfg, 1)
	if got := strings.Count(strings.Join(kinds, " "), "identity"); got != len(keys) {
		t.Errorf("%d identities journaled, want %d", got, len(keys))
	}
	// No number is left for a new key.
	log := &lines{}
	cfg.Log = presenceConfig(dir, log).Log
	n := open(t, cfg)
	n.identities.most = uint32(len(keys))
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cfg.KeysFile, listen.AppendKeyLine(file, listen.Trader, public, "late"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := n.ReloadKeys(); err != nil {
		t.Fatal(err)
	}
	_, err = client.Dial(t.Context(), "unix", filepath.Join(dir, "s"), client.Options{Key: private})
	var closed *client.CloseError
	if !errors.As(err, &closed) || closed.Reason != wire.CloseLimit {
		t.Errorf("a key without a number: error %v", err)
	}
	if !strings.Contains(log.String(), "3 keys have used this data directory") {
		t.Errorf("the log says %s", log)
	}
	join(t, dir, client.Options{Key: keys[0]}).do(tagMark)
}

// A tick comes in time on a node where nothing else happens.
func TestTickOnIdleNode(t *testing.T) {
	dir := t.TempDir()
	open(t, presenceConfig(dir, &lines{}))
	m := join(t, dir, client.Options{})
	began := time.Now()
	const after = 300 * time.Millisecond
	m.do(tagAlarm, binary.LittleEndian.AppendUint64(nil, uint64(after))...)
	rang := m.frame()
	if took := time.Since(began); rang.tag != tagRang || took < after || took > after+5*time.Second {
		t.Errorf("%+v after %v, want a tick after %v", rang, took, after)
	}
	if early := began.Add(after).UnixNano() - rang.time; early > 0 {
		t.Errorf("the tick is %v early", time.Duration(early))
	}
}

// A jump of the wall clock is logged, and the time of events goes on.
func TestClockJumpIsLogged(t *testing.T) {
	dir := t.TempDir()
	log := &lines{}
	cfg := presenceConfig(dir, log)
	var offset atomic.Int64
	cfg.Wall = func() int64 { return time.Now().UnixNano() + offset.Load() }
	n := open(t, cfg)
	m := join(t, dir, client.Options{})
	m.do(tagMark)
	offset.Store(-int64(time.Hour))
	m.do(tagMark)
	until(t, "the log line", func() bool { return strings.Contains(log.String(), "wall clock jumped") })
	if jumps := n.sequencer.Counts().ClockJumps; jumps != 1 {
		t.Errorf("%d jumps", jumps)
	}
	m.do(tagAlarm, binary.LittleEndian.AppendUint64(nil, 1)...)
	if rang := m.frame(); time.Duration(time.Now().UnixNano()-rang.time).Abs() > time.Minute {
		t.Errorf("the time of events followed the wall clock to %v", time.Unix(0, rang.time))
	}
}

// An application that panics on the end of a connection of the run before, or does not return, makes
// Open fail and leaves nothing open.
func TestOpenFailsIfEndsOfConnectionsCannotBeApplied(t *testing.T) {
	leaks(t)
	dir := t.TempDir()
	cfg := presenceConfig(dir, &lines{})
	_, ended := startChild(t, dir, "presence")
	join(t, dir, client.Options{}).do(tagMark)
	ended()
	release := make(chan struct{})
	for name, onEnd := range map[string]func(){
		"panic": func() { panic("planted") }, "hang": func() { <-release },
	} {
		cfg.Application = presenceWith(func(p *presence) { p.onEnd = onEnd })
		cfg.FailTimeout = map[string]time.Duration{"panic": patience, "hang": 500 * time.Millisecond}[name]
		ctx, cancel := context.WithTimeout(t.Context(), cfg.FailTimeout)
		n, err := Open(ctx, cfg)
		cancel()
		want := map[string]string{"panic": "planted", "hang": "deadline exceeded"}[name]
		if n != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: node %v, error %v, want %q", name, n, err, want)
		}
		if name == "hang" {
			close(release)
		}
		unlocked(t, cfg.DataDir)
	}
	cfg.Application = presenceWith(func(*presence) {})
	open(t, cfg)
	if got := join(t, dir, client.Options{}).do(tagCount); got.conns != 1 || got.marks != 0 {
		t.Errorf("%+v", got)
	}
}

// An event on which the application panics at every start is left out by Skip; the next start
// journals that.
func TestSkip(t *testing.T) {
	dir := t.TempDir()
	cfg := presenceConfig(dir, &lines{})
	n := open(t, cfg)
	m := join(t, dir, client.Options{})
	m.do(tagMark) // event 2
	m.do(tagFail) // event 3
	m.do(tagMark)
	if err := Skip(cfg.DataDir, 3); !errors.Is(err, journal.ErrLocked) {
		t.Errorf("a running node: error %v, want ErrLocked", err)
	}
	stop(t, n)
	poisonous := func() Config[present, present] {
		cfg.Application = presenceWith(func(p *presence) { p.poisonous = true })
		return cfg
	}
	_, err := Open(t.Context(), poisonous())
	if err == nil || !strings.Contains(err.Error(), "sluice journal --data-dir "+cfg.DataDir+" skip 3") ||
		!strings.Contains(err.Error(), "event 3 of the journal (request, tag 0x13)") {
		t.Fatalf("error %v, want one that names the event and the command", err)
	}
	for seq, want := range map[uint64]string{0: "is not in the journal", 99: "is not in the journal"} {
		if err := Skip(cfg.DataDir, seq); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("skip of event %d: error %v, want %q", seq, err, want)
		}
	}
	if err := Skip(dir, 3); err == nil || !strings.Contains(err.Error(), "is not a journal") {
		t.Errorf("another directory: error %v", err)
	}
	for range 2 {
		if err := Skip(cfg.DataDir, 3); err != nil {
			t.Fatal(err)
		}
	}
	_, last := kindsIn(t, cfg, 1)
	for range 2 {
		n := open(t, poisonous())
		if got := join(t, dir, client.Options{}).do(tagCount); got.marks != 0 || got.conns != 1 {
			t.Errorf("%+v", got)
		}
		stop(t, n)
	}
	kinds, _ := kindsIn(t, cfg, last+1)
	if got := strings.Count(strings.Join(kinds, " "), "skip"); got != 1 || kinds[0] != "skip" {
		t.Errorf("journaled %s; want one skip, first", kinds)
	}
	if err := Skip(cfg.DataDir, last+1); err == nil || !strings.Contains(err.Error(), "is a skip") {
		t.Errorf("skip of a skip: error %v", err)
	}
	r, err := journal.Inspect(filepath.Join(cfg.DataDir, journalFolder))
	if err != nil {
		t.Fatal(err)
	}
	owned := journal.AppendOwned(nil, r.Directory, []byte("3\nx\n"))
	if err := os.WriteFile(filepath.Join(cfg.DataDir, skipsFile), owned, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), poisonous()); err == nil || !strings.Contains(err.Error(), `line "x\n"`) {
		t.Errorf("a damaged list: error %v", err)
	}
}

// Only an event that an application is given can be left out: no other can make it panic.
func TestSkipRefusesEventsThatNoApplicationIsGiven(t *testing.T) {
	cfg := presenceConfig(t.TempDir(), &lines{})
	stop(t, open(t, cfg))
	j, _, err := journal.Open(journal.Options{Dir: filepath.Join(cfg.DataDir, journalFolder)})
	if err != nil {
		t.Fatal(err)
	}
	given := map[durability.Seq]sequencer.Kind{}
	for kind := sequencer.KindRequest; kind <= sequencer.KindPolicy; kind++ {
		body := make([]byte, []int{1, 0, 0, 0, 16, 12, 4, 8, 0}[kind-1])
		if kind == sequencer.KindPolicy {
			body = []byte("persisted>=2")
		}
		seq, err := j.Writer().Append(sequencer.AppendEvent(nil, &sequencer.Event{Kind: kind, Body: body}))
		if err != nil {
			t.Fatal(err)
		}
		given[seq] = kind
	}
	if _, err := j.Writer().Commit(); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for seq, kind := range given {
		err := Skip(cfg.DataDir, uint64(seq))
		if kind <= sequencer.KindTick && err != nil {
			t.Errorf("skip of a %s: error %v", kind, err)
		}
		if want := "is a " + kind.String() + ", which no application is given"; kind > sequencer.KindTick &&
			(err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("skip of a %s: error %v", kind, err)
		}
	}
}

// An event that a snapshot includes cannot be left out any more.
func TestSkipOfEventInSnapshot(t *testing.T) {
	dir := t.TempDir()
	cfg := presenceConfig(dir, &lines{})
	cfg.SnapshotEvents = 2
	n := open(t, cfg)
	m := join(t, dir, client.Options{})
	for range 5 {
		m.do(tagMark)
	}
	until(t, "a snapshot", func() bool {
		found, err := filepath.Glob(filepath.Join(cfg.DataDir, "journal/snap/*.snap"))
		return err == nil && len(found) > 0
	})
	stop(t, n)
	if err := Skip(cfg.DataDir, 2); err == nil || !strings.Contains(err.Error(), "part of the snapshot after event") {
		t.Errorf("error %v", err)
	}
}
