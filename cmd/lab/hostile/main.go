package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"time"
)

// Roles of child processes, as the first argument.
const (
	floodRole   = "flood"
	discardRole = "discard"
)

func main() {
	if err := play(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// play runs the role that the first argument names, or the comparison.
func play(args []string) error {
	switch {
	case len(args) == 1 && args[0] == discardRole:
		return discard(os.Stdin, os.Stdout)
	case len(args) == 1 && args[0] == floodRole:
		return floodChild(os.Stdin, os.Stdout)
	}
	var o options
	flags := flag.NewFlagSet("hostile", flag.ContinueOnError)
	flags.StringVar(&o.program, "program", "bin/sluice", "path of the server's program")
	flags.DurationVar(&o.length, "for", 60*time.Second, "length of each flood")
	flags.IntVar(&o.honest, "honest", 50, "honest traders")
	flags.IntVar(&o.rate, "rate", 20_000, "requests a second that the flood sends at most")
	flags.StringVar(&o.only, "only", "", "flood only with the requests whose name has this in it, such as levels")
	pairs := flags.Int("pairs", 5, "pairs of a flood against the server and one against a process that discards it")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return compare(o, *pairs)
}

// compare prints each pair of floods, and the median ratio of the p99 of the honest traders.
func compare(o options, pairs int) error {
	var ratios []float64
	for range pairs {
		var of [2]report
		for i, discarded := range []bool{false, true} {
			o.discarded = discarded
			r, err := measure(o)
			if err != nil {
				return err
			}
			fmt.Print(r.String())
			of[i] = r
		}
		ratios = append(ratios, float64(of[0].Honest.P99)/float64(of[1].Honest.P99))
		fmt.Printf("ratio of p99: %.2f\n\n", ratios[len(ratios)-1])
	}
	if slices.Sort(ratios); len(ratios) > 0 {
		fmt.Printf("median ratio of p99: %.2f of %d pairs (%.2f)\n", ratios[len(ratios)/2], len(ratios), ratios)
	}
	return nil
}
