//go:build linux

package main

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"sluice/actors/node"
	"sluice/actors/node/observe"
	"sluice/cmd/internal/config"
	"sluice/durability/journal"
	"sluice/transport/listen"
)

// programFiles is how many files the program itself opens at the same time while it serves: a reload and
// the stats file.
const programFiles = 8

// share is a part of the file descriptors that a server needs.
type share struct {
	of string
	n  int
}

// descriptors are the file descriptors that a server needs.
type descriptors struct {
	clients []share // those beyond the limit wait
	held    []share // as long as the server runs
	spare   []share // from time to time
}

func (s *service) descriptors() descriptors {
	c := s.cfg
	shards, listeners, doors := s.shards(), len(c.TCP)+len(c.TLSListen)+len(c.Unix), 0
	for _, at := range []string{c.Admin, c.AdminSocket, c.AdminTLS, c.Metrics} {
		if at != "" {
			doors++
		}
	}
	return descriptors{
		clients: []share{{"clients", c.MaxConnections}, {"handshakes", listen.DefaultMaxHandshakes}},
		held: []share{{"open at the start", inUse()}, {"runtime", 2}, {"listening sockets", listeners + doors},
			{"reader", 1}, {"shards", 2 * shards}, {"journal", journal.HeldDescriptors}},
		spare: []share{{"accepting", 2 * listeners}, {"journal and keys", node.SpareDescriptors},
			{"admin connections", doors * observe.EndpointDescriptors},
			{"exports and recordings", observe.OtherDescriptors}, {"files", programFiles}},
	}
}

// programSpare is what the program opens from time to time, beside its node.
func (d *descriptors) programSpare() int { return sum(d.spare[2:]) }

func sum(shares ...[]share) (n int) {
	for _, list := range shares {
		for _, s := range list {
			n += s.n
		}
	}
	return n
}

// String lists the shares.
func (d *descriptors) String() string {
	var b strings.Builder
	for _, list := range [][]share{d.clients, d.held, d.spare} {
		for _, s := range list {
			fmt.Fprintf(&b, ", %d %s", s.n, s.of)
		}
	}
	return b.String()[2:]
}

// raiseFiles raises the limit of file descriptors to what the server needs. It logs a limit with which
// clients may have to wait, and refuses one with which no client could be served. It returns the limit
// in force.
func (s *service) raiseFiles() (uint64, error) {
	d := s.descriptors()
	need := uint64(sum(d.clients, d.held, d.spare))
	least := uint64(sum(d.held, d.spare) + 1)
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		s.log.Warn("cannot read the file descriptor limit", "error", err)
		return 0, nil
	}
	if l.Cur < need && l.Cur < l.Max {
		raised := unix.Rlimit{Cur: l.Max, Max: l.Max}
		if unix.Setrlimit(unix.RLIMIT_NOFILE, &raised) == nil {
			l = raised
		}
	}
	switch {
	case l.Cur < least:
		return l.Cur, config.Usagef("the file descriptor limit is %d, and the server needs %d to serve one "+
			"client, and %d for all: %s; raise LimitNOFILE (ulimit -n)", l.Cur, least, need, &d)
	case l.Cur < need:
		s.log.Warn("file descriptor limit is below what all clients need; excess clients will wait in the "+
			"backlog; raise LimitNOFILE (ulimit -n) or lower --max-connections",
			"limit", l.Cur, "needed", need, "for", d.String())
	}
	return l.Cur, nil
}

// inUse counts the descriptors that are open: this process inherits some.
func inUse() (n int) {
	for fd := range 1024 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			n++
		}
	}
	return n
}
