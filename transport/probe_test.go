package transport

import "testing"

func TestSmoke(t *testing.T) {
	for _, m := range []Mode{ModeAuto, ModePoll} {
		r, d, err := Open(m, RingConfig{Entries: 256, Wake: func() {}})
		if err != nil {
			t.Fatal(d, err)
		}
		t.Log(r.Info(), d.Text)
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
