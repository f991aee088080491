package fleet

import (
	"slices"
	"testing"
	"time"
)

// A break belongs to the last moment before it, and only the first one does.
func TestGapsBelongToMoments(t *testing.T) {
	at := func(ms int) time.Time { return time.UnixMilli(int64(ms)) }
	one := &Trader{Breaks: []Break{{Noticed: at(50), Over: at(60)}, {Noticed: at(101), Over: at(130)},
		{Noticed: at(150), Over: at(190)}, {Noticed: at(205), Over: at(210)}}}
	other := &Trader{Breaks: []Break{{Noticed: at(202)}}} // without a response since
	got := Gaps([]time.Time{at(100), at(200)}, one, other)
	if want := []time.Duration{30 * time.Millisecond, 10 * time.Millisecond}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
