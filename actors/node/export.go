package node

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"sluice/actors/node/inspect"
	"sluice/actors/sequencer"
	"sluice/durability"
	"sluice/durability/journal"
)

// Exported is the state of a data directory after its last event.
type Exported struct {
	Last    durability.Seq
	Genesis []byte                // snapshot of the empty application
	Write   func(io.Writer) error // writes the state, as a snapshot of a node has it
}

// Export reads the state of a data directory, in which no node runs, or of a backup. Of a member of a cluster
// it includes all that was not replaced, known to be committed or not: what the member has acknowledged is among
// it. Nothing is changed. With to, which is not 0, it is the state after that event.
func Export[R, Q any](ctx context.Context, cfg Config[R, Q], to durability.Seq) (e Exported, err error) {
	app := cfg.Application()
	j, err := inspect.Open(cfg.DataDir, app)
	switch {
	case err != nil:
		return e, err
	case j.Writing():
		return e, fmt.Errorf("node: a server has %s open: stop it, or name a backup of it", cfg.DataDir)
	case to == 0:
		to = j.Last()
	case to < j.Snapshot():
		return e, fmt.Errorf("node: the state after event %d is wanted, and the newest snapshot in %s "+
			"includes event %d: "+
			"name an older backup", to, cfg.DataDir, j.Snapshot())
	}
	if err := j.Begin(app); err != nil {
		return e, err
	}
	state, _, err := sequencer.Replay(ctx, app, cfg.Encoder, j.Recovered(to), j.Skips())
	if err != nil {
		return e, fmt.Errorf("node: replaying %s: %w", cfg.DataDir, err)
	}
	if e.Last = state.Last(); e.Last != to {
		return e, fmt.Errorf("node: replaying %s: snapshot and journal lead to event %d, and %d is wanted", cfg.DataDir,
			e.Last, to)
	}
	e.Genesis, e.Write = j.Genesis(), sequencer.Following(app, cfg.Encoder, state).WriteSnapshot
	return e, nil
}

// WriteGenesis makes the file of the empty application in a data directory whose journal has an identity.
func WriteGenesis(dataDir string, owner journal.Identity, genesis []byte) error {
	if err := writeDurably(filepath.Join(dataDir, genesisFile), journal.AppendOwned(nil, owner, genesis)); err != nil {
		return fmt.Errorf("node: writing the snapshot of the empty application: %w", err)
	}
	return nil
}
