package sequencer

import (
	"context"
	"errors"
	"testing"
)

// A replay ends while it restores the snapshot, which may be most of it, when its context ends.
func TestReplayIsCancelledInSnapshot(t *testing.T) {
	var before, after script
	before.seq, before.sum = 3, 5
	ctx, cancel := context.WithCancelCause(context.Background())
	from := recovered{snapshot: append(sectionOf(t, NewState()), snapshotOf(t, &before)...)}
	if _, _, err := Replay(ctx, &after, scriptEncoder{}, from, nil); err != nil || after != before {
		t.Fatalf("restored %+v of %+v: %v", after, before, err)
	}
	cause := errors.New("planted")
	cancel(cause)
	if _, _, err := Replay(ctx, &after, scriptEncoder{}, from, nil); !errors.Is(err, cause) {
		t.Errorf("a cancelled replay gives %v", err)
	}
}
