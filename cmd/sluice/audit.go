package main

import (
	"encoding/json"
	"fmt"

	"sluice/cmd/internal/audit"
	"sluice/cmd/internal/config"
)

const auditHead = `usage: sluice audit --data-dir DIR[,DIR...] [flags] HISTORY...

Compares what clients were told with the journals of a cluster or of a single node, and says what was
lost, is there twice, or contradicts. HISTORY is a file that a client recorded, or a directory of them
(*.jsonl); sluice demo --cluster records some. Name the data directories of all members, or at least of
a majority. Nothing is changed. Stop the servers first: an event that one of them is writing may
be missed.

An order that was answered must be in the log exactly once, under the number of its response, on a
majority of the members. The reports of each connection must be those of a replay of the log, and so must
the responses to queries. All nodes must have the same events. docs/cluster.md says more.

Exit codes: 0 nothing is wrong, 1 something is, or cannot be read, 64 usage error.`

// auditHistories is `sluice audit`.
func auditHistories(e *env, args []string) error {
	dirs, asJSON := []string{"./sluice-data"}, false
	set := config.NewSet("",
		config.Setting{Name: "data-dir", Group: "Flags", Value: config.List(&dirs, "DIR,..."),
			Help: "read these data directories: all members of a cluster, or a single node"},
		config.Setting{Name: "json", Group: "Flags", Value: config.Bool(&asJSON), Help: "print one JSON object"},
	)
	histories, done, err := load(e, set, args, auditHead)
	if done || err != nil {
		return err
	}
	e.json = asJSON
	if len(histories) == 0 {
		return config.Usagef("name the histories of clients: files, or a directory of them")
	}
	result, err := audit.Run(dirs, histories)
	if err != nil {
		return err
	}
	if asJSON {
		err = json.NewEncoder(e.stdout).Encode(result)
	} else {
		_, err = fmt.Fprint(e.stdout, result)
	}
	if result.Failed() > 0 && err == nil {
		e.json = false // the object says it
		err = fmt.Errorf("audit: %s, see above", result.Verdict())
	}
	return err
}
