package telemetry

// Stage is one section of the path of a response, from received to sent. Its name is a metric label
// and a span name.
type Stage uint8

// The stages in the order in which a slot passes them. StageGate includes the journal and replica
// waits; StageWhole includes all stages.
const (
	StageMatch       Stage = iota // received -> matched by the application
	StageHandoff                  // matched -> first seen by the gate
	StageJournalWait              // first seen -> reached by the journal's cursor, unless it was already
	StageReplicaWait              // first seen -> reached by the replicas' cursors, unless it was already
	StageGate                     // first seen -> released by the gate
	StageEncode                   // released -> encoded
	StageQueue                    // encoded -> appended to its connection
	StageBatch                    // appended -> handed to the kernel
	StageSend                     // handed to the kernel -> send completed
	StageWhole                    // received -> send completed

	NumStages = int(StageWhole) + 1
)

// Name returns the label of the stage.
func (s Stage) Name() string { return stageNames()[s] }

func stageNames() [NumStages]string {
	return [NumStages]string{
		StageMatch: "match", StageHandoff: "handoff", StageJournalWait: "journal_wait",
		StageReplicaWait: "replica_wait", StageGate: "gate", StageEncode: "encode",
		StageQueue: "queue", StageBatch: "batch", StageSend: "send", StageWhole: "whole",
	}
}
