package journal

import (
	"errors"
	"io"
	"os"
	"testing"

	"sluice/durability"
)

// pastOf replays what Past returns and requires its snapshot and every event after it.
func pastOf(t *testing.T, j *Journal, snapshot, last durability.Seq) error {
	t.Helper()
	r, err := j.Past(last)
	if err != nil {
		return err
	}
	checkRecovery(t, r, snapshot, last)
	return nil
}

// While the journal is written to, its past is the newest intact snapshot and the events behind it, up
// to the event that is wanted.
func TestPastBesideWriter(t *testing.T) {
	j, _ := mustOpen(t, t.TempDir())
	defer mustClose(t, j)
	if err := pastOf(t, j, 0, 0); err != nil {
		t.Errorf("an empty journal: %v", err)
	}
	commit(t, j.Writer(), 5)
	if err := pastOf(t, j, 0, 3); err != nil {
		t.Errorf("without a snapshot: %v", err)
	}
	install(t, j, 4)
	_, last := commitSegments(t, j, 4)
	install(t, j, last-2)
	commit(t, j.Writer(), 3)
	for _, c := range []struct{ snapshot, last durability.Seq }{
		{last - 2, last + 3}, {last - 2, last - 2}, {4, last - 3}, {4, 5},
	} {
		if err := pastOf(t, j, c.snapshot, c.last); err != nil {
			t.Errorf("up to event %d: %v", c.last, err)
		}
	}
	install(t, j, last+1)
	if err := pastOf(t, j, 0, 3); !errors.Is(err, ErrRemoved) {
		t.Errorf("before the oldest snapshot: %v", err)
	}
	all := must(listSnapshots(j.dir.snap()))(t)
	if err := os.Truncate(all[0].path, 7); err != nil {
		t.Fatal(err)
	}
	if err := pastOf(t, j, last-2, last+3); err != nil {
		t.Errorf("with a damaged snapshot: %v", err)
	}
}

// A past whose files are removed while it is read is an error.
func TestPastThatIsRemoved(t *testing.T) {
	j, _ := mustOpen(t, t.TempDir())
	defer mustClose(t, j)
	commit(t, j.Writer(), 5)
	install(t, j, 4)
	_, last := commitSegments(t, j, 4)
	r, err := j.Past(last)
	if err != nil {
		t.Fatal(err)
	}
	install(t, j, last-1)
	install(t, j, last)
	if err := r.Restore(func(io.Reader) error { return nil }); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("restored a snapshot that is gone: %v", err)
	}
	for _, err = range r.Events() {
		if err != nil {
			break
		}
	}
	if !errors.Is(err, ErrRemoved) {
		t.Errorf("events that are gone: %v", err)
	}
}
