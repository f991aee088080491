package raftlog

import (
	"testing"

	"sluice/durability"
)

func TestTimelineSaysWhenANodeHadAnEvent(t *testing.T) {
	l := new(Leadership)
	l.timeline.note(1, 5, 50)
	if got := l.Passed(5); got != nil {
		t.Errorf("it is off, and has %v", got)
	}
	l.Trace(true)
	for _, seq := range []durability.Seq{10, 20, 20, 30} {
		l.timeline.note(1, seq, int64(seq)*10)
	}
	l.timeline.note(2, 20, 1000)
	for seq, want := range map[durability.Seq][]Passing{10: {{1, 100}, {2, 1000}}, 11: {{1, 200}, {2, 1000}},
		20: {{1, 200}, {2, 1000}}, 21: {{1, 300}}, 30: {{1, 300}}, 31: nil} {
		got := l.Passed(seq)
		if len(got) != len(want) {
			t.Errorf("event %d: %v, want %v", seq, got, want)
			continue
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("event %d: %v, want %v", seq, got, want)
			}
		}
	}
	for seq := durability.Seq(31); seq <= 31+stepsKept; seq++ {
		l.timeline.note(1, seq, int64(seq))
	}
	if got := l.Passed(32 + 1); len(got) != 1 || got[0] != (Passing{1, 33}) {
		t.Errorf("event 33: %v", got)
	}
	if got := l.Passed(31); got != nil {
		t.Errorf("event 31 is forgotten: %v", got)
	}
}
