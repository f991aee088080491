package bench

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Ratios and times that are the goals of a cluster.
const (
	clusterRatio  = 3.0
	slowDiskRatio = 1.1
	etcdRatio     = 0.5
	killHalf      = 400 * time.Millisecond
	killMost      = 800 * time.Millisecond // of 99 %
	transferHalf  = 50 * time.Millisecond
	transferMost  = time.Second // the longest
)

// goals judges what was measured.
func (b *clusterBench) goals() []goalLine {
	p50 := func(r *Result) float64 { return r.P50 }
	single, many, slow := b.kinds[0], b.kinds[1], b.kinds[2]
	times := func(limit float64, a, b *Row) verdictOf {
		r := ratio(a, b, p50)
		return verdictOf{measured: r.times(), share: r.mid / limit}
	}
	etcd := verdictOf{share: math.NaN()}
	if len(b.kinds) > 3 {
		etcd = times(etcdRatio, many.batch, b.kinds[3].batch)
	}
	among := fmt.Sprintf("`persisted>=%d`, %s", b.Cluster/2+1, many.name)
	return []goalLine{
		times(clusterRatio, many.one, single.one).line("one order, "+among+" against a single node", "<= 3x", ""),
		times(clusterRatio, many.batch, single.batch).line(fmt.Sprintf("the same with %d orders in a batch", batchOrders),
			"<= 3x", ""),
		etcd.line("the same against etcd, embedded in three processes, with as many bytes", "<= 0.5x", b.noEtcd),
		times(slowDiskRatio, slow.one, many.one).line(fmt.Sprintf("one order, the disk of a node that follows %v slower, "+
			"against without", slowDisk), "<= 1.1x", ""),
		judgeTimes(b.kills, killHalf, 99, killMost).line("kill -9 of the leader to the next response at a client that reconnects",
			fmt.Sprintf("p50 <= %v, p99 <= %v", killHalf, killMost), "--kills 0"),
		judgeTimes(b.transfers, transferHalf, 100, transferMost).line("planned transfer (SIGTERM of the leader), longest time "+
			"between two responses at a client", fmt.Sprintf("p50 <= %v, longest <= %v", transferHalf, transferMost), "--transfers 0"),
	}
}

// judgeTimes judges half of the times, and the percentile most of them.
func judgeTimes(all []time.Duration, half time.Duration, most int, limit time.Duration) verdictOf {
	if len(all) == 0 {
		return verdictOf{share: math.NaN()}
	}
	slices.Sort(all)
	at := func(percent int) time.Duration { return all[(len(all)-1)*percent/100] }
	ms := func(d time.Duration) string { return Digits(d.Seconds()*1e3) + " ms" }
	return verdictOf{
		measured: fmt.Sprintf("p50 %s, p99 %s, longest %s of %d", ms(at(50)), ms(at(99)), ms(at(100)), len(all)),
		share:    max(float64(at(50))/float64(half), float64(at(most))/float64(limit)),
	}
}

// text is the section as Markdown.
func (b *clusterBench) text(args []string) string {
	cells := [][]string{{"server", "one order p50 us", "p99 us", fmt.Sprintf("%d orders p50 us", batchOrders), "p99 us"}}
	for _, k := range b.kinds {
		line := []string{k.name}
		for _, r := range []*Row{k.one, k.batch} {
			line = append(line, r.of(func(r *Result) float64 { return r.P50 }).text(micro),
				r.of(func(r *Result) float64 { return r.P99 }).text(micro))
		}
		cells = append(cells, line)
	}
	text := &strings.Builder{}
	fmt.Fprintf(text, "    %s\n\n%s\n\nAll nodes are processes on this machine, without TLS, and share its disk (%s). Medians of %s of %v "+
		"(smallest-largest).\n\n", strings.TrimSpace(commandLine(args)), describe(), b.io, Runs(b.Runs), b.Run)
	writeCells(text, cells)
	text.WriteByte('\n')
	writeCells(text, goalCells(b.goals()))
	return text.String()
}

// summary is what --json prints.
func (b *clusterBench) summary(args []string) map[string]any {
	all := map[string]any{"environment": describe(), "command": strings.TrimSpace(commandLine(args)),
		"kills_ns": b.kills, "transfers_ns": b.transfers}
	for _, k := range b.kinds {
		for name, r := range map[string]*Row{"one order": k.one, "batch": k.batch} {
			p50 := r.of(func(r *Result) float64 { return r.P50 })
			all[k.name+", "+name] = map[string]any{"p50_ns": Spread{p50.mid, p50.low, p50.high}, "runs": r.Results}
		}
	}
	return all
}
