package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/embed"

	"sluice/cmd/internal/bench"
)

// etcdMember is the first argument of a member of a cluster of etcd.
const etcdMember = "etcd-member"

// etcdLimit bounds the start of a cluster, and what follows the measurement.
const etcdLimit = 30 * time.Second

// etcd measures three processes with an embedded etcd each. The one that leads measures itself, without
// a client's connection: one record at a time, then as many as are in a batch in one value. Its arguments
// are those of bench.EtcdArguments; the result is a bench.EtcdResult on standard output.
func etcd(args []string) error {
	a, err := bench.ParseEtcdArguments(args)
	if err != nil {
		return err
	}
	var at [2]byte
	_, _ = rand.Read(at[:]) // never fails
	host := fmt.Sprintf("127.%d.%d.1", 1+at[0]%254, at[1])
	lines := make(chan string, 3) // the results of the members: JSON, or "" from one that follows
	ctx, cancel := context.WithTimeout(context.Background(), a.Warm+2*(a.Run+a.Warm)+2*etcdLimit)
	defer cancel()
	var members []*exec.Cmd
	defer func() {
		for _, m := range members {
			_ = m.Process.Kill()
			_ = m.Wait()
		}
	}()
	for i := range 3 {
		m := exec.Command(os.Args[0], append([]string{etcdMember, host, strconv.Itoa(i + 1)}, args...)...)
		m.Stderr = os.Stderr
		m.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		out, err := m.StdoutPipe()
		if err != nil {
			return fmt.Errorf("peers: %w", err)
		}
		if err := m.Start(); err != nil {
			return fmt.Errorf("peers: %w", err)
		}
		members = append(members, m)
		go func() {
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				line = fmt.Sprintf("member %d: %v", i+1, err)
			}
			lines <- strings.TrimSpace(line)
		}()
	}
	for range 3 {
		select {
		case line := <-lines:
			if line == "" {
				continue
			}
			_, err := fmt.Println(line)
			return err
		case <-ctx.Done():
			return fmt.Errorf("peers: no leader of etcd has measured in time: %w", ctx.Err())
		}
	}
	return errors.New("peers: no member of etcd leads")
}

// member is one member: host, number, and the arguments of etcd. It ends when it is killed.
func member(args []string) error {
	a, err := bench.ParseEtcdArguments(args[2:])
	if err != nil {
		return err
	}
	at := func(port int, member string) url.URL {
		n, _ := strconv.Atoi(member) // one of 1 to 3, see etcd
		return url.URL{Scheme: "http", Host: fmt.Sprintf("%s:%d", args[0], port+n)}
	}
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir, cfg.LogLevel = "m"+args[1], filepath.Join(a.Dir, args[1]), "error"
	cfg.ListenPeerUrls, cfg.ListenClientUrls = []url.URL{at(2380, args[1])}, []url.URL{at(2390, args[1])}
	cfg.AdvertisePeerUrls, cfg.AdvertiseClientUrls = cfg.ListenPeerUrls, cfg.ListenClientUrls
	var all []string
	for _, n := range []string{"1", "2", "3"} {
		peer := at(2380, n)
		all = append(all, "m"+n+"="+peer.String())
	}
	cfg.InitialCluster = strings.Join(all, ",")
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return fmt.Errorf("peers: %w", err)
	}
	select { // nothing is closed: the process ends, or is killed
	case <-e.Server.ReadyNotify():
	case err := <-e.Err():
		return fmt.Errorf("peers: %w", err)
	case <-time.After(etcdLimit):
		return fmt.Errorf("peers: etcd was not ready within %v", etcdLimit)
	}
	if e.Server.Leader() != e.Server.MemberID() {
		fmt.Println()
		_, err := io.Copy(io.Discard, os.Stdin) // until it is killed
		return errors.Join(err, <-e.Err())
	}
	var r bench.EtcdResult
	for _, x := range []struct {
		bytes int
		into  *bench.EtcdTimes
	}{{a.Record, &r.One}, {a.Record * a.Batch, &r.Batch}} {
		value, at, times := make([]byte, x.bytes), time.Now(), []int64(nil)
		for now := at; len(times) == 0 || now.Before(at.Add(a.Warm+a.Run)); { // one at least
			if _, err := e.Server.Put(context.Background(), &pb.PutRequest{Key: []byte("record"), Value: value}); err != nil {
				return fmt.Errorf("peers: etcd: %w", err)
			}
			after := time.Now()
			if !now.Before(at.Add(a.Warm)) {
				times = append(times, int64(after.Sub(now)))
			}
			now = after
		}
		slices.Sort(times)
		*x.into = bench.EtcdTimes{P50: times[(len(times)-1)/2], P99: times[(len(times)-1)*99/100]}
	}
	return json.NewEncoder(os.Stdout).Encode(&r)
}
