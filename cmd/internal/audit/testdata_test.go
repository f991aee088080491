package audit

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"sluice/cmd/internal/history"
)

// kept are the cases below testdata: journals of three nodes and histories of two clients. In three of
// them, a fault is planted. Those with the same log share the journals of intact.
func kept() map[Kind]func(*scene) {
	return map[Kind]func(*scene){
		"intact": func(*scene) {},
		Loss: func(s *scene) { // an order was answered that only the node that died had
			l := s.lineOf(0, 3)
			l.Outcome, l.Event, l.Answered = history.Answered, 8, l.Sent+10
		},
		Contradiction: func(s *scene) { s.lineOf(1, 3).Frames[1]++ }, // a client was told something else
		Double:        func(s *scene) { s.apply(3, s.events[11]) },
	}
}

var update = flag.Bool("update", false, "write testdata")

func in(parts ...string) string { return filepath.Join(append([]string{"testdata"}, parts...)...) }

func writeKept(t *testing.T) {
	t.Helper()
	for name, plant := range kept() {
		dir := in(string(name))
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		s := newScene(t)
		plant(s)
		s.write(t, dir)
		for _, node := range []string{"node1", "node2", "node3"} {
			if name != Loss && name != Contradiction {
				continue
			}
			if err := os.RemoveAll(filepath.Join(dir, node)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestKeptCases(t *testing.T) {
	if *update {
		writeKept(t)
	}
	for name := range kept() {
		nodes := in("intact")
		if name == Double {
			nodes = in("double")
		}
		r, err := Run([]string{filepath.Join(nodes, "node1"), filepath.Join(nodes, "node2"), filepath.Join(nodes, "node3")},
			[]string{in(string(name), "histories")})
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case name == "intact":
			if r.Failed() != 0 || r.Found != 8 {
				t.Errorf("%s", r)
			}
		case r.Failed() != 1 || r.Faults[0].Kind != name:
			t.Errorf("%s:\n%s", name, r)
		}
	}
}
