package trade

import (
	"context"
	"fmt"

	"sluice/cmd/orderbook"
)

// ask sends a query and decodes its answers, of which the last one is a T.
func ask[T any](ctx context.Context, c *Client, query orderbook.Command) (answers []any, last T, err error) {
	query.Account = c.options.Account
	sent, err := c.send(ctx, query)
	if err != nil {
		return nil, last, err
	}
	response, err := sent.call.Wait(ctx)
	if err != nil {
		return nil, last, err
	}
	for _, f := range response.Frames {
		a, err := orderbook.DecodeAnswer(f.Tag, f.Body)
		if err != nil {
			return nil, last, fmt.Errorf("trade: answer to request 0x%02x: %w", query.Tag, err)
		}
		answers = append(answers, a)
	}
	if n := len(answers) - 1; n >= 0 {
		if last, ok := answers[n].(T); ok {
			return answers[:n], last, nil
		}
	}
	return nil, last, fmt.Errorf("trade: the answer to request 0x%02x has %d frames and not the one that "+
		"completes it", query.Tag, len(answers))
}

// Top returns the best bid and ask of an instrument.
func (c *Client) Top(ctx context.Context, instrument uint32) (orderbook.TopOfBook, error) {
	_, top, err := ask[orderbook.TopOfBook](ctx, c,
		orderbook.Command{Tag: orderbook.TagQueryTop, Instrument: instrument})
	return top, err
}

// Position returns the position of the account in an instrument, and the last client order id of
// the account.
func (c *Client) Position(ctx context.Context, instrument uint32) (orderbook.Position, error) {
	_, position, err := ask[orderbook.Position](ctx, c,
		orderbook.Command{Tag: orderbook.TagQueryPosition, Instrument: instrument})
	return position, err
}

// OpenOrders returns the open orders of the account, in the order in which they were entered. It
// may take several requests, one for each 256 orders; an order that is entered meanwhile may be missing.
func (c *Client) OpenOrders(ctx context.Context) (open []orderbook.OpenOrder, err error) {
	query := orderbook.Command{Tag: orderbook.TagQueryOpenOrders, Limit: orderbook.MaxPage}
	for {
		answers, end, err := ask[orderbook.OpenOrders](ctx, c, query)
		if err != nil {
			return nil, err
		}
		for _, a := range answers {
			o, ok := a.(orderbook.OpenOrder)
			if !ok {
				return nil, fmt.Errorf("trade: the answer to a query for open orders has a %T", a)
			}
			open, query.After = append(open, o), o.OrderID
		}
		if !end.More {
			return open, nil
		}
	}
}

// Outcome returns what the command with the id did. The book keeps the outcomes of the last 1,024
// commands.
func (c *Client) Outcome(ctx context.Context, id uint64) (orderbook.Outcome, error) {
	_, outcome, err := ask[orderbook.Outcome](ctx, c,
		orderbook.Command{Tag: orderbook.TagQueryOutcome, ClientOrderID: id})
	return outcome, err
}

// FillsSince returns the fills of the account from an event on, oldest first. It may take several
// requests. The book keeps the last 1,024 fills; dropped reports whether others from that event on are
// no longer kept.
func (c *Client) FillsSince(ctx context.Context, event uint64) (fills []orderbook.Report, dropped bool,
	err error) {
	query := orderbook.Command{Tag: orderbook.TagQueryFills, After: event, Limit: orderbook.MaxPage}
	for {
		answers, end, err := ask[orderbook.Fills](ctx, c, query)
		if err != nil {
			return nil, false, err
		}
		dropped = dropped || end.Dropped
		for _, a := range answers {
			r, ok := a.(orderbook.Report)
			if !ok {
				return nil, false, fmt.Errorf("trade: the answer to a query for fills has a %T", a)
			}
			fills, query.After, query.Trade = append(fills, r), r.Seq, r.Trade
		}
		if !end.More {
			return fills, dropped, nil
		}
	}
}
