package main

import (
	"errors"
	"fmt"
	"os"

	"sluice/cmd/internal/bench"
)

func main() {
	err := run(os.Args[1:])
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, err)
	if errors.Is(err, errUsage) {
		os.Exit(2)
	}
	os.Exit(1)
}

var errUsage = errors.New("peers: this is a process of `sluice bench`, which starts it; run sluice bench --peer netpoll")

// run plays the role that the first argument names.
func run(args []string) error {
	switch {
	case len(args) == 1 && args[0] == bench.ChildArgument:
		return bench.Child(os.Stdin, os.Stdout, servers())
	case len(args) > 1 && args[0] == bench.EtcdArgument:
		return etcd(args[1:])
	case len(args) > 3 && args[0] == etcdMember:
		return member(args[1:])
	}
	return errUsage
}

// servers returns the peers by their names in `sluice bench --peer`.
func servers() map[string]bench.NewTarget {
	return map[string]bench.NewTarget{
		"single": newSingle, "netpoll": newNetpoll, "gnet": newGnet, "classic": newClassic,
		"bare": newBare(1), "bare8": newBare(8), "tape": newTape,
	}
}
