package sequencer

import (
	"math/rand/v2"
	"testing"
)

func TestClock(t *testing.T) {
	const s = int64(1e9)
	type reading struct {
		now, wall, want int64
		jumps           uint64
	}
	for _, c := range []struct {
		name     string
		last     int64
		readings []reading
	}{
		{"a wall clock ahead of the journal is normal", 5 * s, []reading{{0, 100 * s, 100 * s, 0},
			{1, 100*s + 7, 100*s + 7, 0}}},
		{"a wall clock behind the journal has jumped", 100 * s, []reading{{0, 5 * s, 100 * s, 1},
			{10, 5*s + 10, 100*s + 10, 1}}},
		{"a little behind the journal, it has not", 100 * s, []reading{{0, 99 * s, 100 * s, 0},
			{s / 2, 99*s + s/2, 100 * s, 0}, {s + 5, 100*s + 5, 100*s + 5, 0}}},
		{"a clock that is slewed back stands still", 0, []reading{{0, 50 * s, 50 * s, 0},
			{10, 50*s - s/2, 50 * s, 0}, {s/2 + 20, 50*s + 10, 50*s + 10, 0}}},
		{"a jump ahead: the monotonic clock counts until both agree", 0, []reading{
			{0, 50 * s, 50 * s, 0}, {10, 60 * s, 50*s + 10, 1}, {2 * s, 62 * s, 52 * s, 1},
			{3 * s, 53*s + 3, 53*s + 3, 1}, {4 * s, 99 * s, 54*s + 3, 2}}},
		{"a jump back: the same", 0, []reading{{0, 50 * s, 50 * s, 0}, {10, 20 * s, 50*s + 10, 1},
			{2 * s, 22 * s, 52 * s, 1}, {3 * s, 53*s - 3, 53*s - 3, 1}}},
		{"an hour without a step is no jump", 0, []reading{{0, 50 * s, 50 * s, 0},
			{3600 * s, 3650 * s, 3650 * s, 0}}},
	} {
		var wall int64
		var reported uint64
		clock := clock{last: c.last, wall: func() int64 { return wall },
			jump: func(at, expected int64) {
				if reported++; at != wall || expected < c.last {
					t.Errorf("%s: a jump to %d reported at %d", c.name, at, expected)
				}
			}}
		for i, r := range c.readings {
			wall = r.wall
			if got := clock.read(r.now); got != r.want || clock.jumps != r.jumps || reported != r.jumps {
				t.Errorf("%s: reading %d is %d with %d jumps (%d reported), want %d with %d", c.name,
					i, got, clock.jumps, reported, r.want, r.jumps)
			}
		}
	}
}

// However the wall clock moves, the time of events never falls and does not run ahead of both clocks.
func TestTimeNeverFalls(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 2))
	var now, wall, last int64
	st, _ := newLife(t, func(c *Config[report, report]) { c.CheckpointEvents = 7 })
	var ev Event
	for range 3000 {
		step := rng.Int64N(1e8)
		now += step
		wall += step
		switch rng.IntN(20) {
		case 0:
			wall -= rng.Int64N(1e10)
		case 1:
			wall += rng.Int64N(1e10)
		case 2:
			wall -= rng.Int64N(1e9)
		case 3:
			wall = st.seq.clock.last + step // they agree again
		}
		st.now, st.wall = now, max(wall, 0)
		st.put(1, tagEvent, 1)
		st.settle()
		st.pass()
	}
	for i, raw := range st.events {
		if err := DecodeEvent(raw, &ev); err != nil || ev.Time < last {
			t.Fatalf("event %d has time %d after %d, %v", i+1, ev.Time, last, err)
		}
		last = ev.Time
	}
	if jumps := st.seq.Counts().ClockJumps; jumps < 20 {
		t.Errorf("%d jumps counted: too few to mean anything", jumps)
	}
	app, state, err := st.replay()
	if err != nil {
		t.Fatal(err)
	}
	st.equal(app, state)
}
