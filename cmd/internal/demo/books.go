package demo

import (
	"bytes"
	"fmt"

	"sluice/actors/sequencer"
	"sluice/cmd/orderbook"
	"sluice/cmd/orderbook/marketdata"
)

// described is a description of a topic, as the server would send it.
type described struct {
	frames []byte
	levels int
	answer *orderbook.Answer // being written
}

// Query implements sequencer.Emitter.
func (d *described) Query(uint64) *orderbook.Answer {
	d.end()
	d.answer = new(orderbook.Answer)
	return d.answer
}

func (d *described) end() {
	if d.answer != nil {
		d.frames, d.levels, d.answer = append(d.frames, d.answer.Frame()...), d.levels+1, nil
	}
}

// Report and Publish implement sequencer.Emitter; a description has neither.
func (*described) Report(uint64) *orderbook.Report { panic("demo: a report in a description") }
func (*described) Publish(_, _ uint64) *orderbook.Report {
	panic("demo: a topic frame in a description")
}

// books compares the copies of the subscribers with the replayed book, byte for byte.
func (a *auditor) books(book *orderbook.Book, watchers []*watcher) {
	const header = 4 + 1
	for i, w := range watchers {
		var d described
		if !book.Describe(&sequencer.Event{}, marketdata.KindDepth.Topic(w.instrument), &d) {
			panic(fmt.Sprintf("demo: the book has no depth of instrument %d", w.instrument)) // impossible
		}
		d.end()
		event := uint64(0)
		if len(d.frames) > 0 {
			f, err := marketdata.Decode(d.frames[header-1], d.frames[header:header+marketdata.BodySize])
			if err != nil {
				panic(fmt.Sprintf("demo: %v", err)) // impossible: the book encoded it
			}
			event = f.Seq
		}
		a.copies++
		a.levels += d.levels
		a.frames += w.frames
		a.gaps += w.gaps
		a.snapshots += w.snapshots
		if copied := w.view.AppendSnapshot(nil, event); w.view.Live() && bytes.Equal(copied, d.frames) {
			a.equal++
		} else {
			a.contradict("subscriber %d has another book of instrument %d than the journal: %d bytes of price levels "+
				"instead of %d, or not the same", i+1, w.instrument, len(copied), len(d.frames))
		}
	}
}
