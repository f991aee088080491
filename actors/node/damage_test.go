package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/actors/node/inspect"
	"sluice/cmd/orderbook"
	"sluice/durability/journal"
	"sluice/transport"
)

// specimen is an intact data directory with several segments behind two snapshots, and a list of skips with
// an event that a start has left out.
type specimen struct {
	dir  string // data directory
	last uint64 // event
}

// makeSpecimen makes one as a killed node leaves it.
func makeSpecimen(t *testing.T) *specimen {
	cfg := config(t.TempDir(), transport.ModePoll, &lines{})
	cfg.Journal.SegmentBytes, cfg.SnapshotEvents = 8<<10, 8
	n, at := serve(t, cfg)
	c := dial(t, "tcp", at[0])
	id := uint64(0)
	trade := func() {
		id++
		c.command(order(1, id, orderbook.Buy, 100, 1))
		if got := c.next(); !strings.HasPrefix(got, "accepted") {
			t.Fatal(got)
		}
		c.expect("end")
	}
	until(t, "two snapshots", func() bool {
		trade()
		found, err := filepath.Glob(filepath.Join(cfg.DataDir, "journal/snap/*.snap"))
		return err == nil && len(found) == 2
	})
	drain(t, n)
	cfg.SnapshotEvents = 1 << 30
	n, at = serve(t, cfg)
	c = dial(t, "tcp", at[0])
	for range 300 {
		trade()
	}
	killed := copied(t, cfg.DataDir)
	s := &specimen{last: n.store.persisted.Load()}
	drain(t, n)
	if err := Skip(killed, s.last-5); err != nil {
		t.Fatal(err)
	}
	cfg.DataDir = killed
	n, _ = serve(t, cfg)
	until(t, "the journaled skip", func() bool { return n.store.persisted.Load() == s.last+1 })
	s.dir, s.last = copied(t, killed), s.last+1
	drain(t, n)
	return s
}

// closed is the specimen after an end in order.
func (s *specimen) closed(t *testing.T) *specimen {
	dir := copied(t, s.dir)
	j, _, err := journal.Open(journal.Options{Dir: filepath.Join(dir, "journal"), SegmentBytes: 8 << 10})
	if err == nil {
		err = j.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return &specimen{dir, s.last}
}

func copied(t *testing.T, dir string) string {
	to := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// parts are the files and folders of a data directory that are damaged.
func parts(t *testing.T, dir string) map[string]string {
	t.Helper()
	glob := func(pattern string) []string {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	segments, snapshots := glob("journal/wal/*.wal"), glob("journal/snap/*.snap")
	if len(segments) < 4 || len(snapshots) != 2 {
		t.Fatalf("segments %q, snapshots %q", segments, snapshots)
	}
	out := map[string]string{"oldest segment": segments[0], "inner segment": segments[2],
		"newest segment": segments[len(segments)-1], "older snapshot": snapshots[0],
		"newest snapshot": snapshots[1]}
	for _, name := range []string{"genesis", "skips", "journal", "journal/wal", "journal/snap",
		"journal/INCARNATION", "journal/FORMAT", "journal/LOCK"} {
		out[filepath.Base(name)] = filepath.Join(dir, name)
	}
	return out
}

// neighbours are the files that are swapped with each other.
var neighbours = map[string]string{"oldest segment": "inner segment", "inner segment": "newest segment",
	"newest segment": "oldest segment", "older snapshot": "newest snapshot",
	"newest snapshot": "older snapshot", "genesis": "skips", "skips": "genesis", "INCARNATION": "FORMAT",
	"FORMAT": "LOCK", "LOCK": "INCARNATION"}

// spoil does one damage: "WHAT way".
func spoil(t *testing.T, damage string, of, other map[string]string) {
	t.Helper()
	at := strings.LastIndexByte(damage, ' ')
	part, way := damage[:at], damage[at+1:]
	path := of[part]
	var err error
	switch way {
	case "removed":
		err = os.RemoveAll(path)
	case "foreign":
		err = os.RemoveAll(path)
		if info, _ := os.Stat(other[part]); err == nil && info.IsDir() {
			err = os.CopyFS(path, os.DirFS(other[part]))
		} else if err == nil {
			write(t, path, contentOf(t, other[part]))
		}
	case "halved":
		err = os.Truncate(path, int64(len(contentOf(t, path))/2))
	case "zeroed":
		write(t, path, string(make([]byte, len(contentOf(t, path)))))
	case "swapped":
		neighbour := of[neighbours[part]]
		content := contentOf(t, path)
		write(t, path, contentOf(t, neighbour))
		write(t, neighbour, content)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func contentOf(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// answers are those of a start and of verify: the last event, or the error.
func answers(t *testing.T, dir string) (start, verify string) {
	j, err := inspect.Open(dir, newFull())
	var s *inspect.Summary
	if err == nil {
		s, err = j.Verify()
	}
	if err != nil {
		verify = err.Error()
	} else {
		verify = fmt.Sprintf("intact up to event %d", s.Last)
	}
	cfg := config(t.TempDir(), transport.ModePoll, &lines{})
	cfg.DataDir, cfg.Journal.SegmentBytes = dir, 8<<10
	n, err := Open(context.Background(), cfg)
	if err != nil {
		return err.Error(), verify
	}
	start = fmt.Sprintf("intact up to event %d", n.store.recovery.Last)
	drain(t, n)
	return start, verify
}

// whole is the answer to a damage that costs no event.
const whole = "intact up to event LAST"

// damages are what can happen to a data directory, and what a start and verify say. The second text is that
// of verify if it has other words.
var damages = map[string][]string{
	"oldest segment halved":  {".wal at byte"}, // of the next one, if the half ends between two records
	"oldest segment removed": {"no intact snapshot reaches event"},
	// 128 or 136, by the size of its first record
	"oldest segment swapped":  {"0000000000000000-0000000000000000.wal at byte 1"},
	"oldest segment foreign":  {"0000000000000000-0000000000000000.wal belongs to directory OTHER, not to OWN"},
	"oldest segment zeroed":   {"0000000000000000-0000000000000000.wal at byte 0: the segment's header is incomplete"},
	"inner segment halved":    {"max entry size limit exceeded"},
	"inner segment removed":   {"segment 2 is missing before it"},
	"inner segment swapped":   {"at byte 0: the segment does not continue the one before it"},
	"inner segment foreign":   {"belongs to directory OTHER, not to OWN"},
	"inner segment zeroed":    {"the segment's header is incomplete"},
	"newest segment halved":   {"the segment was cut: it has 4096 bytes, and had at least 8192"},
	"newest segment removed":  {"existed when the end mark was written"},
	"newest segment swapped":  {".wal at byte"}, // what is found first depends on how many segments are kept
	"newest segment foreign":  {"belongs to directory OTHER, not to OWN"},
	"newest segment zeroed":   {"the segment's header is incomplete"},
	"older snapshot halved":   {whole},
	"older snapshot removed":  {whole},
	"older snapshot swapped":  {whole},
	"older snapshot foreign":  {"belongs to log OTHER, not to OWN"},
	"older snapshot zeroed":   {whole},
	"newest snapshot halved":  {whole},
	"newest snapshot removed": {whole},
	"newest snapshot swapped": {whole},
	"newest snapshot foreign": {"belongs to log OTHER, not to OWN"},
	"newest snapshot zeroed":  {whole},
	"genesis halved":          {"genesis: its checksum is wrong"},
	"genesis removed":         {"genesis is missing"},
	"genesis swapped": {"genesis: open with the configuration of the application that this data " +
		"directory was made with", "is not the number of an event"},
	"genesis foreign": {"genesis belongs to directory OTHER, not to OWN"},
	"genesis zeroed":  {"genesis: it does not begin with the identity of a directory"},
	"skips halved":    {"skips: it does not begin with the identity of a directory"},
	"skips removed":   {"the list of skipped events was lost", "the list of skipped events (DIR/skips) lacks it"},
	"skips swapped": {"genesis: open with the configuration of the application that this data " +
		"directory was made with", "is not the number of an event"},
	"skips foreign":       {"skips belongs to directory OTHER, not to OWN"},
	"skips zeroed":        {"skips: it does not begin with the identity of a directory"},
	"INCARNATION halved":  {"INCARNATION: not an incarnation"},
	"INCARNATION removed": {"INCARNATION: it says 0, but the log was written by incarnation"},
	"INCARNATION swapped": {"FORMAT: not a format line"},
	"INCARNATION foreign": {"INCARNATION belongs to directory OTHER, not to OWN"},
	"INCARNATION zeroed":  {"INCARNATION: not an incarnation"},
	"FORMAT halved":       {"FORMAT: not a format line"},
	"FORMAT removed":      {"there is no journal in DIR/journal", "it has no FORMAT file"},
	"FORMAT swapped":      {"FORMAT: not a format line"},
	"FORMAT foreign":      {"wal belongs to directory OWN, not to OTHER"},
	"FORMAT zeroed":       {"FORMAT: not a format line"},
	"LOCK halved":         {whole},
	"LOCK removed":        {whole},
	"LOCK swapped":        {"INCARNATION: not an incarnation"},
	"LOCK foreign":        {whole},
	"LOCK zeroed":         {whole},
	"journal removed":     {"there is no journal in DIR/journal", "no such file or directory"},
	"journal foreign":     {"genesis belongs to directory OWN, not to OTHER"},
	"wal removed":         {"journal/wal: the log is missing"},
	"wal foreign":         {"belongs to directory OTHER, not to OWN"},
	"snap removed":        {whole},
	"snap foreign":        {"belongs to log OTHER, not to OWN"},
}

// A backup can be verified, and a start refuses it.
func TestVerifyNamesBackup(t *testing.T) {
	cfg := config(t.TempDir(), transport.ModePoll, &lines{})
	used(t, cfg)
	dir := cfg.DataDir + ".backup"
	if _, err := Backup(context.Background(), cfg.DataDir, dir); err != nil {
		t.Fatal(err)
	}
	j, err := inspect.Open(dir, newFull())
	if err != nil {
		t.Fatal(err)
	}
	s, err := j.Verify()
	if err != nil || !s.Backup || !strings.Contains(s.String(), "sluice restore makes a data directory") {
		t.Errorf("%+v, %v", s, err)
	}
	if start, _ := answers(t, dir); !strings.Contains(start, journal.ErrBackup.Error()) {
		t.Errorf("a start says %q", start)
	}
}

// A start and verify agree on every damage, of a directory that was closed in order and of one whose server
// was killed, and neither loses an event without a word.
func TestDamagedDirectories(t *testing.T) {
	killed, other := makeSpecimen(t), makeSpecimen(t)
	id := func(s *specimen) string {
		log, err := journal.Inspect(filepath.Join(s.dir, "journal"))
		if err != nil {
			t.Fatal(err)
		}
		return log.Directory.String()
	}
	for end, s := range map[string]*specimen{"killed": killed, "closed": killed.closed(t)} {
		for damage, want := range damages {
			t.Run(end+"/"+damage, func(t *testing.T) {
				dir := copied(t, s.dir)
				spoil(t, damage, parts(t, dir), parts(t, other.dir))
				start, verify := answers(t, dir)
				words := strings.NewReplacer("DIR", dir, "LAST", fmt.Sprint(s.last), "OWN", id(s), "OTHER", id(other))
				for who, answer := range map[string]string{"start": start, "verify": verify} {
					text := want[0]
					if who == "verify" && len(want) > 1 {
						text = want[1]
					}
					if text = words.Replace(text); !strings.Contains(answer, text) {
						t.Errorf("%s says %q, want %q", who, answer, text)
					}
				}
			})
		}
	}
}
