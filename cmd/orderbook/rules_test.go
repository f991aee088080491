package orderbook

import (
	"testing"

	"sluice/actors/sequencer"
	"sluice/durability"
	"sluice/durability/journal"
)

// TestOldRulesReplay replays a journal that begins without a version of the rules: what follows the old
// rules keeps its outcome, and what follows the new ones has the new one.
func TestOldRulesReplay(t *testing.T) {
	cancel := func(account, id uint64) *sequencer.Event {
		return request(t, 1, Command{Tag: TagCancel, Account: account, ClientOrderID: id, Target: 1})
	}
	rules := &sequencer.Event{Kind: sequencer.KindVersion, Body: []byte{Rules, 0, 0, 0}}
	var log []journal.Event
	for i, ev := range []*sequencer.Event{cancel(1, 1<<40), rules, cancel(2, 7), cancel(1, 1<<50)} {
		ev.Time = int64(i)
		log = append(log, journal.Event{Seq: durability.Seq(i + 1), Payload: sequencer.AppendEvent(nil, ev)})
	}
	f := sequencer.NewFollower[Report, Answer](mustNew(t, Config{}), Encoder{})
	for _, ev := range log {
		if err := f.Apply(ev); err != nil {
			t.Fatal(err)
		}
	}
	app, _, err := f.Lend()
	if err != nil {
		t.Fatal(err)
	}
	book := app.(*Book)
	if book.rules != Rules || len(book.accounts) != 1 || book.accounts[0].last != 1<<40 {
		t.Errorf("rules %d, accounts %+v; want account 1 of version 0 with id 1<<40, and no other",
			book.rules, book.accounts)
	}
	if err := book.UseRules(Rules + 1); err == nil {
		t.Error("rules of a later program are taken")
	}
}
