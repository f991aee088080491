package inspect_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/actors/node/inspect"
	"sluice/actors/sequencer"
	"sluice/durability/journal"
)

// silent is counter without words.
type silent struct{}

func (silent) Requests() []sequencer.RequestType { return counter{}.Requests() }

var le = binary.LittleEndian

func identity(number uint32, key byte) sequencer.Event {
	body := append(le.AppendUint32(nil, number), key, 0, 0, 0, 0, 0, 0, 0)
	return sequencer.Event{Kind: sequencer.KindIdentity, Body: body}
}

func request(number uint32, tag uint8, body ...byte) sequencer.Event {
	return sequencer.Event{Kind: sequencer.KindRequest, Conn: 3<<40 + 9, Request: 5, Tag: tag,
		Identity: sequencer.Identity{Number: number, Role: sequencer.RoleOperator}, Body: body}
}

func version(rules uint32) sequencer.Event {
	return sequencer.Event{Kind: sequencer.KindVersion, Body: le.AppendUint32(nil, rules)}
}

func checkpoint(digest, outputs uint64) sequencer.Event {
	return sequencer.Event{Kind: sequencer.KindCheckpoint,
		Body: le.AppendUint64(le.AppendUint64(nil, digest), outputs)}
}

func skip(seq uint64) sequencer.Event {
	return sequencer.Event{Kind: sequencer.KindSkip, Body: le.AppendUint64(nil, seq)}
}

func at(time int64, ev sequencer.Event) sequencer.Event { ev.Time = time; return ev }

// made makes a data directory with these events.
func made(t *testing.T, events ...sequencer.Event) string {
	t.Helper()
	dir := t.TempDir()
	if err := write(dir, events...); err != nil {
		t.Fatal(err)
	}
	return dir
}

func opened(t *testing.T, dir string, app inspect.Application) *inspect.Journal {
	t.Helper()
	j, err := inspect.Open(dir, app)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestEveryKindIsListed(t *testing.T) {
	dir := made(t, version(3), identity(17, 0xab), request(17, 0x10, 1), request(17, 0x11, 2, 0xff),
		sequencer.Event{Kind: sequencer.KindTick, Time: 5}, at(5, checkpoint(0xfe, 12)),
		at(5, skip(3)), at(6, sequencer.Event{Kind: sequencer.KindDisconnected, Conn: 1 << 40,
			Identity: sequencer.Identity{Role: sequencer.RoleReadonly}}),
		at(6, sequencer.Event{Kind: sequencer.KindPolicy, Body: []byte("persisted>=2")}))
	for _, c := range []struct {
		app  inspect.Application
		want []string
	}{
		{counter{}, []string{"version 3 of the application's rules",
			"identity #17 is key ab00000000000000",
			"3.9      #17 operator ab00000000000000 request 5 add: [1]",
			"request 5 unknown 0x11: [2 255]", "tick", "checkpoint digest 00000000000000fe of 12 outputs",
			"skip event 3 was left out by an operator", "1.0      readonly                 disconnected",
			"-                        policy persisted>=2 from here on"}},
		{silent{}, []string{"", "", "request 5 add: 01", "request 5 unknown 0x11: 02ff", "", "", "", "", ""}},
	} {
		var b strings.Builder
		if err := opened(t, dir, c.app).List(&b, inspect.Options{}); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
		if len(lines) != len(c.want) {
			t.Fatalf("%d lines, want %d:\n%s", len(lines), len(c.want), &b)
		}
		for i, line := range lines {
			if !strings.HasSuffix(line, c.want[i]) || !strings.Contains(line, "Z  ") {
				t.Errorf("line %d is %q, want %q at its end", i+1, line, c.want[i])
			}
		}
	}
	var b strings.Builder
	if err := opened(t, dir, silent{}).List(&b, inspect.Options{From: 3, To: 9, JSON: true}); err != nil {
		t.Fatal(err)
	}
	var got []inspect.Record
	for dec := json.NewDecoder(strings.NewReader(b.String())); dec.More(); {
		var r inspect.Record
		if err := dec.Decode(&r); err != nil {
			t.Fatal(err)
		}
		got = append(got, r)
	}
	if len(got) != 7 || got[0].Key != "ab00000000000000" || got[0].Identity != 17 ||
		got[0].Connection != 3<<40+9 || got[0].Request != 5 || got[1].Body != "02ff" ||
		got[1].Tag != 0x11 || got[3].Digest != "00000000000000fe" || got[3].Outputs != 12 ||
		got[4].Skipped != 3 || got[6].Policy != "persisted>=2" {
		t.Errorf("%+v", got)
	}
}

func TestVerifySummarisesJournal(t *testing.T) {
	dir := made(t, version(3), identity(17, 0xab), request(17, 0x10, 1), request(17, 0x10),
		request(0, 0x2f), checkpoint(1, 2), checkpoint(0xfe, 12), skip(4), version(4))
	if _, err := opened(t, dir, counter{}).Verify(); err == nil || !strings.Contains(err.Error(),
		"event 8 says that an operator had event 4 left out, but the list of skipped events") {
		t.Errorf("without the list of skipped events: %v", err)
	}
	log, err := journal.Inspect(filepath.Join(dir, "journal"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "skips"),
			journal.AppendOwned(nil, log.Directory, []byte("4\n")), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := opened(t, dir, counter{}).Verify()
	if err != nil {
		t.Fatal(err)
	}
	if s.First != 1 || s.Last != 9 || s.Events != 9 || s.Identities != 1 ||
		s.Kinds["request"] != 3 || s.Requests["add"] != 2 || s.Requests["unknown 0x2f"] != 1 {
		t.Errorf("%+v", s)
	}
	for _, want := range []string{dir + " is intact\n", "directory   " + s.Directory + "\n",
		"1 to 9: 9 events, ", "3 request, 2 checkpoint, 2 version, 1 identity, 1 skip",
		"requests    2 add, 1 unknown 0x2f\n", "version     3 of the application's rules since event 1\n",
		"since event 9\n", "skip        event 4 was left out by an operator, says event 8\n",
		"checkpoint  2 in all, the last is event 7: digest 00000000000000fe of 12 outputs\n"} {
		if !strings.Contains(s.String(), want) {
			t.Errorf("%q is missing in\n%s", want, s)
		}
	}
	empty, err := opened(t, made(t), counter{}).Verify()
	if err != nil || !strings.Contains(empty.String(), "events      none\n") {
		t.Errorf("%v, %v", empty, err)
	}
}

// An event that contradicts one before it is named, by List too, which lists those before it.
func TestWrongEventIsNamed(t *testing.T) {
	for _, c := range []struct {
		name   string
		events []sequencer.Event
		want   string
	}{
		{"time falls", []sequencer.Event{at(8, version(1)), at(7, version(2))},
			"event 2 (version): its time is 1970-01-01T00:00:00.000000007Z, the event before it has " +
				"1970-01-01T00:00:00.000000008Z"},
		{"an identity that was not introduced", []sequencer.Event{identity(1, 1), request(2, 0x10, 1)},
			"event 2 (request): identity 2 is not introduced"},
		{"an identity with two keys", []sequencer.Event{identity(1, 1), identity(1, 2)},
			"event 2 (identity): identity 1 had key 01"},
		{"a checkpoint with fewer outputs", []sequencer.Event{checkpoint(1, 5), checkpoint(1, 4)},
			"event 2 (checkpoint): it counts 4 outputs, the checkpoint before it 5"},
		{"a skip of a later event", []sequencer.Event{version(1), skip(2)},
			"event 2 (skip): it names event 2"},
		{"a tick with a body", []sequencer.Event{version(1),
			{Kind: sequencer.KindTick, Body: []byte{1}}}, "event 2: sequencer: tick event has a body"},
		{"an unknown kind", []sequencer.Event{version(1), {Kind: 99}}, "event 2: sequencer: event has kind 99"},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := opened(t, made(t, c.events...), counter{})
			if _, err := j.Verify(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Verify: %v, want %q", err, c.want)
			}
			var b strings.Builder
			if err := j.List(&b, inspect.Options{}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("List: %v, want %q", err, c.want)
			}
			if strings.Count(b.String(), "\n") != 1 {
				t.Errorf("listed before the error:\n%s", &b)
			}
		})
	}
}

func TestOpenNamesWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(dir string) error
		is    error
		want  string
	}{
		{"a genesis of another directory", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "genesis"),
				journal.AppendOwned(nil, journal.Identity{1}, nil), 0o600)
		}, journal.ErrForeign, "genesis belongs to directory 0100"},
		{"no genesis", func(dir string) error { return os.Remove(filepath.Join(dir, "genesis")) }, nil,
			"genesis is missing"},
		{"a cut segment", func(dir string) error {
			names, err := filepath.Glob(filepath.Join(dir, "journal/wal/*.wal"))
			return errors.Join(err, os.Truncate(names[0], 4096))
		}, journal.ErrCorrupt, "was cut"},
		{"no journal", func(dir string) error { return os.RemoveAll(filepath.Join(dir, "journal")) },
			os.ErrNotExist, "journal"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := made(t, version(1))
			if err := c.spoil(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := inspect.Open(dir, counter{}); err == nil ||
				!strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	if _, err := inspect.Open(made(t), none{}); err == nil {
		t.Error("an application without requests was accepted")
	}
}

type none struct{}

func (none) Requests() []sequencer.RequestType { return nil }

// Once a snapshot let the oldest segments go, the identities that they introduced are unknown.
func TestRemovedEventsMayHaveIntroducedIdentities(t *testing.T) {
	dir := t.TempDir()
	j, r, err := journal.Open(journal.Options{Dir: filepath.Join(dir, "journal"),
		SegmentBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	w, ev := j.Writer(), identity(5, 5)
	for n := 1; n <= 400; n++ {
		_, err := w.Append(sequencer.AppendEvent(nil, &ev))
		last, err2 := w.Commit()
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		ev = request(5, 0x10, make([]byte, 1000)...)
		if n%100 != 0 {
			continue
		}
		s, err := j.PrepareSnapshot(last, section(last))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Install(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(j.Close(), os.WriteFile(filepath.Join(dir, "genesis"),
		journal.AppendOwned(nil, r.Directory, nil), 0o600)); err != nil {
		t.Fatal(err)
	}
	s, err := opened(t, dir, counter{}).Verify()
	if err != nil || s.First == 1 || len(s.Snapshots) != 2 || s.Snapshots[0].Bytes == 0 {
		t.Errorf("%+v, %v; want a journal that does not begin at event 1", s, err)
	}
}
