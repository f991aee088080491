package telemetry

// Block holds what one actor measures between two collections: histograms per stage, batch sizes,
// counters and high-water marks, about 48 KB of plain words. Exactly one goroutine may access it at a
// time: the actor through Recorder.B, then the collector after the hand-over. All kinds of actors
// share this layout; an actor leaves the parts it does not use at zero.
type Block struct {
	H     [NumStages]Hist     // nanoseconds, by Stage
	Batch Hist                // items per batch
	C     [NumCounters]uint64 // by Counter
	M     [NumMarks]uint64    // by Mark
}

// Mark raises a high-water mark to v if v is higher. Owner only.
func (b *Block) Mark(m Mark, v uint64) { b.M[m] = max(b.M[m], v) }

// Mark names a high-water mark.
type Mark uint8

// High-water marks; markInfo has unit and meaning of each.
const (
	MarkInbox    Mark = iota // depth of the actor's mailbox: slots, events for control, bytes for egress
	MarkInFlight             // sends in one submit
	MarkBuffered             // bytes buffered for one connection
	MarkBatch                // items in one batch

	NumMarks = int(MarkBatch) + 1
)

// Info returns name, unit and sentence of the mark.
func (m Mark) Info() Info { return markInfo()[m] }

func markInfo() [NumMarks]Info {
	return [NumMarks]Info{
		MarkInbox: {Name: "mailbox_depth", Unit: "items",
			Help: "Highest depth of the actor's mailbox (slots, events for control, bytes for egress)."},
		MarkInFlight: {Name: "egress_inflight", Unit: "sends",
			Help: "Most sends handed to the kernel in one submit."},
		MarkBuffered: {Name: "client_send_buffer", Unit: "bytes",
			Help: "Most bytes buffered for one connection."},
		MarkBatch: {Name: "batch", Unit: "items", Help: "Most items handled in one batch."},
	}
}
