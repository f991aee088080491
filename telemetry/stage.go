package telemetry

// Stage names one section of a response's way, from received to sent. The same
// names are metric labels and span names.
type Stage uint8

// The stages in the order a slot passes them. StageGate spans journal and
// replica wait; StageWhole spans all.
const (
	StageMatch       Stage = iota // received -> matched by the application
	StageHandoff                  // matched -> first seen by the gate
	StageJournalWait              // first seen -> the journal's cursor reached it, when it had not
	StageReplicaWait              // first seen -> the replicas' cursors reached it, when they had not
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
