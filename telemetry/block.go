package telemetry

// Block is what one actor measures between two collections: histograms per
// stage, batch sizes, counters and high-water marks, about 48 KB of plain
// words. Exactly one goroutine may touch it at a time: the actor through
// Recorder.B, the collector once it was handed over. Every kind of actor has the same
// layout and leaves zero what is not its own.
type Block struct {
	H     [NumStages]Hist     // nanoseconds, by Stage
	Batch Hist                // items per batch
	C     [NumCounters]uint64 // by Counter
	M     [NumMarks]uint64    // by Mark
}

// Mark raises a high-water mark to v if it is above. Owner only.
func (b *Block) Mark(m Mark, v uint64) { b.M[m] = max(b.M[m], v) }

// Mark names a high-water mark.
type Mark uint8

// High-water marks. Unit and meaning of each are in MarkInfo.
const (
	MarkInbox    Mark = iota // what waits in the actor's main inbox: slots, for control events, for egress bytes
	MarkInFlight             // sends in one submit
	MarkBuffered             // bytes waiting for one connection
	MarkBatch                // items in one batch

	NumMarks = int(MarkBatch) + 1
)

// Info returns name, unit and sentence of the mark.
func (m Mark) Info() Info { return markInfo()[m] }

func markInfo() [NumMarks]Info {
	return [NumMarks]Info{
		MarkInbox:    {Name: "mailbox_depth", Unit: "items", Help: "Most that was seen waiting in the actor's mailbox: slots, events for control, bytes for egress."},
		MarkInFlight: {Name: "egress_inflight", Unit: "sends", Help: "Most sends handed to the kernel in one submit."},
		MarkBuffered: {Name: "client_send_buffer", Unit: "bytes", Help: "Most bytes waiting for one connection."},
		MarkBatch:    {Name: "batch", Unit: "items", Help: "Most items handled in one batch."},
	}
}
