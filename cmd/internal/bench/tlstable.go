package bench

import (
	"fmt"
	"io"
	"math"
)

// tlsSections are the sections of the profile "tls": one frame a record to one connection and to many, then
// 64 frames a record.
func tlsSections() []section {
	const how = " --net tcp,tls --peer sluice,goroutines --pick turn --io uring --shards 1,2 --runs 5 --seconds 1s " +
		"--warm 300ms"
	return []section{
		{"tls-one", "--connections 1 --burst 1 --rate 2000" + how},
		{"tls-many", "--connections 64,1000 --burst 64 --rate 20000" + how},
		{"tls-64", "--connections 1,64,1000 --burst 64 --repeat 64 --rate 64000" + how},
	}
}

// tlsGoals returns the goals of TLS, which the profile "tls" judges.
func tlsGoals() []goal {
	const what = "server CPU per frame over TLS, 1,000 connections, against crypto/tls with a goroutine for each " +
		"connection, "
	return []goal{
		{what + "1 frame a record", "<= 0.8x", "tls-many", againstTLS(1000, 0.8)},
		{what + "64 frames a record", "<= 0.8x", "tls-64", againstTLS(1000, 0.8)},
	}
}

// againstTLS judges the CPU per frame of sluice against that of goroutines, both over TLS.
func againstTLS(connections int, limit float64) func([]*Row) verdictOf {
	return func(rows []*Row) verdictOf {
		var some []*Row
		for _, r := range rows {
			if r.Spec.Net == tlsNet && r.Spec.Connections == connections {
				some = append(some, r)
			}
		}
		return against("goroutines", (*Result).serverCPU, limit)(some)
	}
}

// plainRow is the row that equals r except for TLS; nil for none.
func plainRow(rows []*Row, r *Row) *Row {
	spec := r.Spec
	spec.Net = "tcp"
	return first(rows, func(s *Spec) bool { return *s == spec })
}

// writeTLS writes what TLS costs beside plain TCP, and beside goroutines over TLS.
func writeTLS(w io.Writer, rows []*Row) {
	cells := [][]string{{"connections", "server", "frames/send", "us/frame over TCP", "us/frame over TLS",
		"TLS against TCP", "against goroutines over TLS"}}
	for _, r := range rows {
		plain := plainRow(rows, r)
		if r.Spec.Net != tlsNet || plain == nil || len(r.Results) == 0 {
			continue
		}
		spec := r.Spec
		peer := first(rows, func(s *Spec) bool {
			return s.Server == "goroutines" && s.Net == tlsNet && s.Connections == spec.Connections &&
				s.Rate == spec.Rate && s.Frame == spec.Frame && s.Burst == spec.Burst && s.Repeat == spec.Repeat
		})
		beside := "-"
		if v := ratio(r, peer, (*Result).serverCPU); peer != r && !math.IsNaN(v.mid) {
			beside = v.times()
		}
		cells = append(cells, []string{fmt.Sprint(spec.Connections), spec.Name(),
			Digits(r.of((*Result).framesPerSend).mid),
			plain.of((*Result).serverCPU).text(micro), r.of((*Result).serverCPU).text(micro),
			ratio(r, plain, (*Result).serverCPU).times(), beside})
	}
	if len(cells) > 1 {
		fmt.Fprint(w, "Server CPU per frame with TLS and without. A ratio is one of medians; in brackets the "+
			"smallest and largest of a round.\n\n")
		writeCells(w, cells)
	}
}
