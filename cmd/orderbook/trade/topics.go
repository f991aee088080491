package trade

import (
	"context"

	"sluice/cmd/orderbook/marketdata"
	"sluice/transport/client"
	"sluice/transport/wire"
)

// Book is a copy of the book of an instrument that follows the server's.
type Book = client.Replica[*marketdata.BookView]

// Book follows all price levels of an instrument, until Unsubscribe or Close. It returns when the book is
// complete. After a break of the connection, and if this client reads too slowly, the copy is not live
// until it is complete again.
func (c *Client) Book(ctx context.Context, instrument uint32) (*Book, error) {
	return client.Follow(ctx, c.session, marketdata.KindDepth.Topic(instrument), wire.TopicRecover,
		func() *marketdata.BookView { return marketdata.NewBookView(instrument, false) })
}

// TradeEvent is a trade, or a break in the trades that a client observes.
type TradeEvent struct {
	// Trade has the tag marketdata.TagTrade, or is zero: trades may be missing between the last one and
	// the next.
	Trade marketdata.Frame
	// Missed is how many trades are missing; 0 if that is not known.
	Missed uint64
}

// Trades follows the trades of an instrument, from now on, until Unsubscribe or Close. on is called on a
// goroutine of the session, which waits for it. It must not call the Client. An error of it ends the
// subscription.
func (c *Client) Trades(ctx context.Context, instrument uint32, on func(TradeEvent) error) (*client.Subscription,
	error) {
	view := marketdata.NewTradesView(instrument, false)
	var epoch, last uint64
	known := false // epoch and last are those of the last trade, or of the first snapshot
	return c.session.Subscribe(ctx, wire.Subscribe{Topic: marketdata.KindTrades.Topic(instrument)},
		func(e client.TopicEvent) error {
			switch e.Kind {
			case client.SnapshotBegin:
				view.Begin(e.Seq)
			case client.SnapshotFrame:
				return view.Describe(e.Tag, e.Body)
			case client.SnapshotEnd:
				if err := view.End(e.Seq); err != nil {
					return err
				}
				before, again := last, known && epoch == e.Epoch
				missing := known && !(again && before == e.Seq)
				epoch, last, known = e.Epoch, e.Seq, true
				switch {
				case missing && again:
					return on(TradeEvent{Missed: e.Seq - before})
				case missing:
					return on(TradeEvent{})
				}
			case client.TopicFrame:
				if err := view.Update(e.Seq, e.Tag, e.Body); err != nil {
					return err
				}
				last = e.Seq
				return on(TradeEvent{Trade: view.Last()})
			}
			return nil
		})
}
