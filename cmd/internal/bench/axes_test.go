package bench

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// small is a short run of a server.
func small(server string, change func(*Spec)) Spec {
	s := Spec{
		Server: server, IO: "poll", Net: "tcp", Connections: 5, Rate: 2000, Frame: 64, Shards: 2,
		Placement: "auto", Idle: "adaptive",
		Policy: "local", Warm: 50 * time.Millisecond, Run: 300 * time.Millisecond, Window: 1 << 14,
	}
	change(&s)
	return s
}

func TestNoResponseBeforeLaggingCursors(t *testing.T) {
	const lag = 20 * time.Millisecond
	for _, tt := range []struct {
		name string
		spec Spec
	}{
		{"journal lags", small("sluice", func(s *Spec) {})},
		{"two replicas lag", small("sluice", func(s *Spec) { s.Policy = "hybrid" })},
		{"replicas lag at full speed, beyond the slot ring",
			small("sluice", func(s *Spec) { s.Policy, s.Rate, s.Window = "hybrid", 0, 1<<18 })},
		{"journal of a peer lags", small("goroutines", func(s *Spec) {})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.spec.Lag = lag
			res := measured(t, tt.spec)
			if res.Faults != (Faults{}) || res.P50 < float64(lag-time.Duration(clockSlack)) {
				t.Errorf("faults %v, p50 %v, durable after %v; %s", res.Faults,
					time.Duration(res.P50), lag, res.First)
			}
		})
	}
	t.Run("a server without a gate is detected", func(t *testing.T) {
		res := measured(t, small("raw", func(s *Spec) { s.Lag = lag }))
		if res.Faults.Early == 0 || !strings.Contains(res.First, "durable after 20ms") {
			t.Errorf("faults %v; %s", res.Faults, res.First)
		}
	})
}

func TestTransientClientsAreServed(t *testing.T) {
	for _, server := range []string{"sluice", "goroutines"} {
		t.Run(server, func(t *testing.T) {
			res := measured(t, small(server, func(s *Spec) { s.Churn = 50 }))
			if g := res.Guests; res.Faults != (Faults{}) || g.Wanted == 0 || g.Served != g.Wanted ||
				g.P50 <= 0 {
				t.Errorf("faults %v, guests %+v; %s", res.Faults, g, res.First)
			}
		})
	}
}

// A transient client detects each kind of wrong stream.
func TestTransientClientsDetectWrongStreams(t *testing.T) {
	frame := func(conn, seq uint64) string {
		return string(AppendFrame(nil, &Report{Conn: conn, Seq: seq, Size: 64}))
	}
	for _, tt := range []struct {
		name, answer string
		want         func(Faults) bool
	}{
		{"correct", frame(8, 1) + frame(8, 2) + frame(8, 3) + frame(8, 4),
			func(f Faults) bool { return f == Faults{} }},
		{"gap", frame(8, 1) + frame(8, 2) + frame(8, 4), func(f Faults) bool { return f.Gaps == 1 }},
		{"foreign frame", frame(8, 1) + frame(9, 2) + frame(8, 2) + frame(8, 3) + frame(8, 4),
			func(f Faults) bool { return f.Foreign == 1 }},
		{"early end", frame(8, 1), func(f Faults) bool { return f.Closed == 1 && f.Short == 3 }},
		{"no frames", "\xff\xff\xff\xff\xff\xff\xff",
			func(f Faults) bool { return f.Closed == 1 && f.Short == 4 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			address := filepath.Join(t.TempDir(), "s")
			listener, err := net.Listen("unix", address)
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			go func() {
				conn, err := listener.Accept()
				if err != nil {
					return // the test has failed
				}
				defer conn.Close()
				_, _ = conn.Read(make([]byte, helloSize)) // its content does not matter here
				_, _ = conn.Write([]byte(tt.answer))
			}()
			v := visits{spec: &Spec{Net: "unix", Socket: address, Frame: 64}, address: address,
				clock: newClock()}
			if f, first := v.visit(7, v.clock.now()); !tt.want(f) {
				t.Errorf("faults %+v; %s", f, first)
			}
		})
	}
}

func TestBurstsDetermineFramesPerSend(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Spec)
		least  float64 // on a slow machine more frames share a send
	}{
		{"one frame per connection", func(s *Spec) { s.Burst = s.Connections }, 0.9},
		{"eight frames in a row", func(s *Spec) {
			s.Burst, s.Repeat, s.Rate = 8*s.Connections, 8,
				20000
		}, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res := measured(t, small("sluice", func(s *Spec) { s.Pick = "turn"; tt.change(s) }))
			if got := res.framesPerSend(); res.Faults != (Faults{}) || got < tt.least {
				t.Errorf("%.2f frames per send, want at least %v; faults %v", got, tt.least, res.Faults)
			}
		})
	}
}

func TestPickOrdersConnections(t *testing.T) {
	for _, tt := range []struct {
		pick   string
		repeat int
		want   []uint32
	}{
		{"turn", 1, []uint32{0, 1, 2, 0, 1, 2}},
		{"turn", 2, []uint32{0, 0, 1, 1, 2, 2, 0}},
	} {
		p := &producer{spec: &Spec{Pick: tt.pick, Repeat: tt.repeat}, counts: make([]uint64, 3)}
		for i, want := range tt.want {
			p.seq++
			if got := p.pick(); got != want {
				t.Errorf("%s, %d in a row: slot %d is for %d, want %d", tt.pick, tt.repeat, i, got,
					want)
			}
		}
	}
	p := &producer{spec: &Spec{Pick: "random", Repeat: 4}, counts: make([]uint64, 1000)}
	met := map[uint32]bool{}
	for range 4 * 1000 {
		p.seq++
		met[p.pick()] = true
	}
	if len(met) < 500 || len(met) > 750 { // 1000 draws out of 1000 meet 632
		t.Errorf("%d of 1000 connections were picked in 1000 draws", len(met))
	}
}

func TestDurableRoundTripIsMeasured(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		plan := DefaultPlan()
		plan.Durable, plan.Dir, plan.Net, plan.IO = true, t.TempDir(), []string{network}, []string{"poll"}
		plan.Warm, plan.Run = 50*time.Millisecond, 300*time.Millisecond
		specs, err := plan.Specs()
		if err != nil || len(specs) != 2 {
			t.Fatalf("%d specs, %v", len(specs), err)
		}
		for _, spec := range specs {
			t.Run(network+" "+spec.Server, func(t *testing.T) {
				res, err := runner(t).measure(t.Context(), spec)
				if err != nil {
					t.Fatal(err)
				}
				if res.Faults != (Faults{}) || res.Sent == 0 || res.P50 <= 0 ||
					res.P999 < res.P50 || res.Clients.cpu() == 0 {
					t.Errorf("%+v", res)
				}
			})
		}
	}
}

func TestMissedRateIsReported(t *testing.T) {
	for _, tt := range []struct{ server, want string }{
		{"goroutines", "Careful: the target rate was missed"},
		{"raw", "the load generator was the bottleneck"}, // its generator sends
	} {
		var out, log strings.Builder
		p := Process{Stdout: &out, Stderr: &log, Command: runner(t).Command}
		args := strings.Fields("--connections 3 --rate 100000000 --runs 1 --seconds 100ms --warm " +
			"20ms --peer " + tt.server)
		if err := Main(t.Context(), p, args); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), tt.want) {
			t.Errorf("no %q in\n%s", tt.want, out.String())
		}
	}
}
