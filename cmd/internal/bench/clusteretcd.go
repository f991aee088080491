package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// EtcdArgument is the first argument with which the program of --peers measures a cluster of etcd.
// EtcdArguments follow; it prints an EtcdResult.
const EtcdArgument = "etcd"

// EtcdArguments say what is to be measured.
type EtcdArguments struct {
	Dir           string // for its logs; must exist
	Warm, Run     time.Duration
	Record, Batch int // bytes of a record, and records in a batch
}

// EtcdResult is what was measured.
type EtcdResult struct{ One, Batch EtcdTimes }

// EtcdTimes are percentiles, in ns.
type EtcdTimes struct{ P50, P99 int64 }

// ParseEtcdArguments parses the arguments of a program that measures etcd.
func ParseEtcdArguments(args []string) (a EtcdArguments, err error) {
	if len(args) != 1 {
		return a, fmt.Errorf("bench: etcd takes one argument, got %q", args)
	}
	if err := json.Unmarshal([]byte(args[0]), &a); err != nil {
		return a, fmt.Errorf("bench: arguments of etcd: %w", err)
	}
	return a, nil
}

// findEtcd returns the program that measures etcd, and why there is none.
func (b *clusterBench) findEtcd() (program string, err error) {
	if program = b.Peers; program == "" {
		program = filepath.Join(filepath.Dir(b.program), "peers")
	}
	if _, err := os.Stat(program); err != nil {
		return "", errors.New("build it with `make peers`, or name it with --peers")
	}
	return program, nil
}

// measureEtcd is one round of etcd.
func (b *clusterBench) measureEtcd(ctx context.Context, k *clusterKind) error {
	dir, err := os.MkdirTemp(b.Dir, ".sluice-bench-")
	if err != nil {
		return fmt.Errorf("bench: directory for etcd: %w; name one with --dir", err)
	}
	defer os.RemoveAll(dir)
	args, err := json.Marshal(EtcdArguments{Dir: dir, Warm: b.Warm, Run: b.Run, Record: recordSize, Batch: batchOrders})
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*(b.Warm+b.Run)+4*stepLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, k.etcd, EtcdArgument, string(args))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("bench: etcd: %w", err)
	}
	var r EtcdResult
	if err := json.Unmarshal(out, &r); err != nil {
		return fmt.Errorf("bench: result of etcd: %w", err)
	}
	for _, x := range []struct {
		row   *Row
		times EtcdTimes
	}{{k.one, r.One}, {k.batch, r.Batch}} {
		x.row.Results = append(x.row.Results, &Result{P50: float64(x.times.P50), P99: float64(x.times.P99)})
	}
	return nil
}
