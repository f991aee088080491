package demo

import (
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"sluice/telemetry"
)

// table prints the results.
func (c *clusterRun) table() {
	w := tabwriter.NewWriter(c.Out, 0, 0, 3, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	seconds := c.traded.Seconds()
	for _, x := range []struct {
		name, what string
		n          int64
	}{
		{"orders", ", including cancels and replaces", c.orders.Load()},
		{"fills", ", counted on both sides", c.fills.Load()},
		{"responses", "", c.answers.Load()},
	} {
		row(x.name, "%s (%s/s)%s", thousands(x.n), thousands(int64(float64(x.n)/seconds)), x.what)
	}
	c.times.Final()
	trip := &c.times.Sum().H[telemetry.StageWhole]
	row("round trip", "p50 %s, p99 %s, longest %s, with %d requests of each client in flight", short(trip.Quantile(0.5)),
		short(trip.Quantile(0.99)), short(trip.Max), window)
	row("start", "%s until a node led", short(uint64(c.ready)))
	c.failover(row)
	row("return", "node %d was ready %s after its second start, and has the whole log", c.killed.Number,
		short(uint64(c.killed.Ready)))
	_ = w.Flush()
	fmt.Fprintf(c.Out, "\nEvery response was compared with the journals of all nodes, and with a replay of the log:\n\n%s", c.result)
}

// failover prints how long the clients had no responses.
func (c *clusterRun) failover(row func(name, format string, args ...any)) {
	var back []time.Duration
	var longest time.Duration
	executed, unsent, repeats := 0, 0, 0
	for _, m := range c.members {
		t := &m.trader
		if len(t.Breaks) > 0 {
			back = append(back, t.Breaks[0].Over.Sub(c.kill))
		}
		longest = max(longest, t.Longest)
		executed, unsent, repeats = executed+t.Executed, unsent+t.Unsent, repeats+t.Repeats
	}
	if slices.Sort(back); len(back) > 0 {
		row("failover", "node %d after node %d; kill -9 to the first response: %s for the first client, %s for the median, "+
			"%s for the last", c.heir.Number, c.killed.Number, short(uint64(back[0])), short(uint64(back[len(back)/2])),
			short(uint64(back[len(back)-1])))
	}
	row("longest gap", "%s between two responses at a client", short(uint64(longest)))
	row("unknown", "after the kill clients asked for %d commands: %d were executed, %d were sent again, %d were not executed",
		executed+unsent+repeats, executed, repeats, unsent)
}
