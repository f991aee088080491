package cluster

import (
	"log/slog"
	"strings"
	"testing"

	"sluice/actors/node"
	"sluice/actors/sequencer"
	"sluice/cmd/orderbook"
	"sluice/durability/journal"
	"sluice/durability/raftlog"
	"sluice/transport/listen"
	"sluice/transport/wire"
)

// What no entry of the log can hold is refused before anything is opened, although a journal would take it.
func TestEventsAndBatchesAboveAnEntryAreRefused(t *testing.T) {
	dir, all, books := firstOfThree(t)
	const most = raftlog.MaxEventBytes - sequencer.EventHeader + wire.RequestHeaderSize // of a request
	for _, tt := range []struct {
		request, batch int
		want           string // in the error; empty: none
	}{
		{0, 0, ""}, {most, raftlog.MaxBatchBytes, ""},
		{most + 1, 0, "Listen.MaxRequest is"},
		{journal.MaxPayloadBytes - sequencer.EventHeader + wire.RequestHeaderSize, 0, "use at most"},
		{0, raftlog.MaxBatchBytes + 1, "Journal.BatchBytes is"},
		{0, journal.DefaultBatchBytes, "use at most"},
	} {
		at := []listen.Endpoint{{Network: "tcp", Address: all[0].Client, Open: true}}
		p, err := Prepare(Config[orderbook.Report, orderbook.Answer]{
			Node: node.Config[orderbook.Report, orderbook.Answer]{
				Application: books, Encoder: orderbook.Encoder{}, DataDir: dir,
				Journal: node.Journal{BatchBytes: tt.batch},
				Listen:  listen.Config{Endpoints: at, MaxRequest: tt.request},
				Log:     slog.New(slog.DiscardHandler)}})
		if err == nil {
			p.Close()
		}
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("requests of %d B in batches of %d B: %v, want %q", tt.request, tt.batch, err, tt.want)
		}
	}
}
