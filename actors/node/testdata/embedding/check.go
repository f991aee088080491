package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"sluice/actors/node/inspect"
	"sluice/transport/client"
)

const (
	kills      = 6
	owners     = 8
	perRun     = 200 // transfers of each owner between two kills
	deposit    = 1 << 20
	startLimit = 20 * time.Second
)

// owner transfers between two accounts that no other owner uses, so it knows their balances, but for the one transfer that
// was under way when the server was killed.
type owner struct {
	from, to uint64
	amount   uint64 // of the next transfer, and of the one that is in doubt
	balance  uint64 // of from, as the last acknowledged response reported it
	doubt    bool
	acked    int
}

// check returns an error if the server contradicts a response that it gave before it was killed.
func check(dir string) error {
	all := make([]owner, owners)
	for i := range all {
		all[i] = owner{from: uint64(2 * i), to: uint64(2*i + 1)}
	}
	for run := range kills + 1 {
		server, err := start(dir)
		if err != nil {
			return err
		}
		errs := make([]error, owners)
		var working, paused sync.WaitGroup
		paused.Add(owners)
		for i := range all {
			working.Go(func() { errs[i] = all[i].work(dir, run == 0, run < kills, paused.Done) })
		}
		if paused.Wait(); run < kills { // each owner is in the middle of its transfers
			err = server.Process.Kill()
		}
		working.Wait()
		if run == kills {
			err = server.Process.Signal(syscall.SIGTERM)
		}
		state, failed := server.Process.Wait()
		if err := errors.Join(append(errs, err, failed)...); err != nil {
			return err
		}
		if run == kills && !state.Success() {
			return fmt.Errorf("the server was drained and ended with %v", state)
		}
	}
	sum := 0
	for i := range all {
		sum += all[i].acked
	}
	journal, err := inspect.Open(filepath.Join(dir, "data"), newLedger())
	if err != nil {
		return err
	}
	summary, err := journal.Verify()
	if err != nil {
		return err
	}
	if summary.Requests["transfer"] < uint64(sum) {
		return fmt.Errorf("%d transfers acknowledged, but\n%v", sum, summary)
	}
	fmt.Printf("%d kills, %d transfers acknowledged, contradictions 0\n%v", kills, sum, summary)
	return nil
}

// start runs the server in a process of its own and returns when it accepts clients.
func start(dir string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "serve", dir)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	for end := time.Now().Add(startLimit); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if c, err := dial(dir); err == nil {
			return cmd, c.Close()
		}
	}
	return nil, errors.Join(fmt.Errorf("no client is accepted after %v", startLimit), cmd.Process.Kill())
}

func dial(dir string) (*client.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	return client.Dial(ctx, "unix", socket(dir), client.Options{})
}

// work compares the balance with what is known, then transfers. half is called in the middle of it. If the server is about to be
// killed, work goes on until the connection ends.
func (o *owner) work(dir string, first, killed bool, half func()) error {
	conn, err := dial(dir)
	if err != nil {
		half()
		return err
	}
	defer conn.Close()
	c := &ledgerClient{conn: conn}
	if err := o.begin(c, first); err != nil {
		half()
		return err
	}
	for i := 0; killed || i < perRun; i++ {
		if i == perRun/2 {
			half()
		}
		o.amount = uint64(i%7 + 1)
		r, err := c.do(tagTransfer, o.from, o.to, o.amount)
		if err != nil && killed && i >= perRun/2 {
			o.doubt = true
			return nil
		}
		if err != nil || r.tag != tagDone || r.balance != o.balance-o.amount {
			return fmt.Errorf("account %d had %d, a transfer of %d gave %+v, %v", o.from, o.balance, o.amount, r, err)
		}
		o.balance -= o.amount
		o.acked++
	}
	return nil
}

// begin opens the accounts, or compares them with what was acknowledged before the kill.
func (o *owner) begin(c *ledgerClient, first bool) error {
	if first {
		_, err := c.do(tagOpen, o.to, 0)
		if err == nil {
			_, err = c.do(tagOpen, o.from, deposit)
		}
		o.balance = deposit
		return err
	}
	from, err := c.do(tagBalance, o.from)
	if err != nil {
		return err
	}
	to, err := c.do(tagBalance, o.to)
	if err != nil {
		return err
	}
	asAcked, oneMore := from.balance == o.balance, o.doubt && from.balance == o.balance-o.amount
	if !asAcked && !oneMore || from.balance+to.balance != deposit {
		return fmt.Errorf("account %d has %d and account %d has %d; acknowledged was %d, and a transfer of %d was under way",
			o.from, from.balance, o.to, to.balance, o.balance, o.amount)
	}
	o.balance, o.doubt = from.balance, false
	return nil
}
