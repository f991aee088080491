package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"sluice/actors/node/observe"
	"sluice/cmd/internal/config"
	"sluice/cmd/internal/top"
)

const clusterStatusHead = `usage: sluice cluster status [flags]

Prints what a running member knows of the cluster: a line, and a table of its members. Only the
leader knows how far the others are.

  match       the last event on the disk of a member
  lag         events by which that is behind the disk of the leader
  in_memory   the last event in its memory
  heard       the time since its last message
  disk        its slowest write of the last second or two

Exit codes: 0 done, 1 failed, 64 usage error.`

const clusterTransferHead = `usage: sluice cluster transfer [flags] [NODE]

Has the leader answer what it has taken, and hand its leadership to member NODE, or to the fittest
one. The command goes to the leader, through its admin socket, or to its address for clients with a
key of role operator. It returns when the handover has begun; sluice cluster status shows its result.

Exit codes: 0 done, 1 failed, 64 usage error.`

// watchEvery is the time between two frames of --watch.
const watchEvery = time.Second

// clusterStatus is `sluice cluster status`.
func clusterStatus(e *env, args []string) error {
	c, watch := newAdminConfig(), false
	set := config.NewSet("", append(c.endpoints(), adminFlag("watch", config.Bool(&watch),
		"print it again every second, until a signal"))...)
	rest, done, err := load(e, set, args, clusterStatusHead)
	if done || err != nil {
		return err
	}
	if err := noArguments(rest, "cluster status"); err != nil {
		return err
	}
	e.json = c.JSON
	api, err := c.client(set)
	if err != nil {
		return err
	}
	show := func(w io.Writer) error {
		return c.carryOut(api, c.page("/cluster", new(observe.Cluster)), w)
	}
	if !watch {
		return show(e.stdout)
	}
	out, isFile := e.stdout.(*os.File)
	clear := isFile && top.IsTerminal(out) && !c.JSON
	for {
		if err := again(e.stdout, show, clear); err != nil {
			return err
		}
		time.Sleep(watchEvery)
	}
}

// again writes one frame of --watch. A server that does not answer may be back soon. The error is that of
// the output.
func again(w io.Writer, show func(io.Writer) error, clear bool) error {
	var frame bytes.Buffer
	if clear {
		frame.WriteString("\x1b[H\x1b[J")
	}
	if err := show(&frame); err != nil {
		fmt.Fprintln(&frame, "sluice:", err)
	}
	_, err := w.Write(frame.Bytes())
	return err
}

// clusterTransfer is `sluice cluster transfer`.
func clusterTransfer(e *env, args []string) error {
	c := newAdminConfig()
	set := config.NewSet("", c.endpoints()...)
	rest, done, err := load(e, set, args, clusterTransferHead)
	if done || err != nil {
		return err
	}
	to := uint64(0)
	if len(rest) > 0 {
		if to, err = strconv.ParseUint(rest[0], 10, 8); err != nil || to == 0 || len(rest) > 1 {
			return config.Usagef("cluster transfer: got %q; write the number of one member, or nothing", rest)
		}
	}
	e.json = c.JSON
	api, err := c.client(set)
	if err != nil {
		return err
	}
	return c.carryOut(api, c.change(func(ctx context.Context, client *observe.Client) (string, error) {
		return client.Transfer(ctx, uint8(to))
	}), e.stdout)
}
