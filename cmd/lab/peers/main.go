package main

import (
	"fmt"
	"os"

	"sluice/cmd/internal/bench"
)

func main() {
	if len(os.Args) != 2 || os.Args[1] != bench.ChildArgument {
		fmt.Fprintln(os.Stderr, "peers: this is the server process of `sluice bench`, which starts it; run sluice bench --peer netpoll")
		os.Exit(2)
	}
	if err := bench.Child(os.Stdin, os.Stdout, servers()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// servers returns the peers by their names in `sluice bench --peer`.
func servers() map[string]bench.NewTarget {
	return map[string]bench.NewTarget{
		"single": newSingle, "netpoll": newNetpoll, "gnet": newGnet, "classic": newClassic,
		"bare": newBare(1), "bare8": newBare(8),
	}
}
