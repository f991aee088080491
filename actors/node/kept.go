package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"sluice/durability"
)

// ErrNotKept is wrapped by SwapPolicy's error if the policy is in force, but the next start will not know it.
var ErrNotKept = errors.New("the policy is in force, but it could not be kept for the next start")

// policyFile is the file of a data directory with the policy that an operator has put in force. It is no
// event: a swap is what helps when the disk takes no events (docs/decisions/0046).
const policyFile = "policy"

// keepFor is how long a swap waits for its file.
const keepFor = time.Second

// keptPolicy is the content of policyFile.
type keptPolicy struct {
	Policy     string    `json:"policy"`     // in force at the end
	Configured string    `json:"configured"` // what the configuration named then
	Since      time.Time `json:"since"`
}

// keepPolicy writes the policy in force for the next start. If the disk does not answer in time, the
// writing goes on, and an error says that its result is not known.
func (n *Node[R, Q]) keepPolicy(ctx context.Context) error {
	done := make(chan error, 1)
	go func() {
		n.swaps.keep.Lock()
		defer n.swaps.keep.Unlock()
		done <- n.writePolicy(n.pipeline.Policy().Current())
	}()
	late := time.NewTimer(keepFor)
	defer late.Stop()
	var err error
	select {
	case err = <-done:
	case <-late.C:
		err = errors.New("the disk does not answer; it is kept as soon as it does")
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err == nil {
		return nil
	}
	n.log.Error("policy swapped, but not kept for the next start", "policy", n.Policy().Current().String(),
		"error", err)
	return fmt.Errorf("node: %w: %w", ErrNotKept, err)
}

func (n *Node[R, Q]) writePolicy(p durability.Policy) error {
	text, err := json.Marshal(keptPolicy{p.String(), n.cfg.Pipeline.Policy.String(), time.Now().UTC()})
	if err != nil {
		return err
	}
	return writeDurably(filepath.Join(n.cfg.DataDir, policyFile), append(text, '\n'))
}

// lastPolicy returns the policy to begin with: the one of the last stop if it was swapped, and the
// configuration names the same one as then. What was decided last counts; either is reported.
func (n *Node[R, Q]) lastPolicy() (durability.Policy, error) {
	configured := n.cfg.Pipeline.Policy
	path := filepath.Join(n.cfg.DataDir, policyFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return configured, nil
	}
	var kept keptPolicy
	if err == nil {
		err = json.Unmarshal(text, &kept)
	}
	var last durability.Policy
	if err == nil {
		last, err = durability.Parse(kept.Policy, durability.MaxNodes)
	}
	if err != nil {
		return configured, fmt.Errorf("node: the policy of the last run is in %s, which cannot be read: %w; remove it to "+
			"begin with the configured one, %q", path, err, configured)
	}
	about := []any{"policy", kept.Policy, "since", kept.Since, "configured", configured.String()}
	switch {
	case last.String() == configured.String() || kept.Policy == kept.Configured:
		return configured, nil
	case kept.Configured == configured.String():
		n.loud("policy of the last run adopted; an operator swapped it, and the configuration still names another",
			"policy adopted", about)
		return last, nil
	}
	n.loud("policy of the last run not adopted; the configuration has been changed since it was swapped",
		"policy not adopted",
		append(about, "configured_then", kept.Configured))
	return configured, nil
}

// loud reports in log and audit.
func (n *Node[R, Q]) loud(log, audit string, about []any) {
	n.log.Log(context.Background(), slog.LevelWarn, log, about...)
	if n.cfg.Audit != nil {
		n.cfg.Audit.Warn(audit, about...)
	}
}

// settlePolicy forgets a kept policy that was not adopted, once the data directory is this node's.
func (n *Node[R, Q]) settlePolicy(now durability.Policy) error {
	if _, err := os.Lstat(filepath.Join(n.cfg.DataDir, policyFile)); err != nil ||
		now.String() != n.cfg.Pipeline.Policy.String() {
		return nil
	}
	if err := n.writePolicy(now); err != nil {
		return fmt.Errorf("node: policy: %w", err)
	}
	return nil
}
