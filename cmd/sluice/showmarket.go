package main

import (
	"fmt"
	"strings"

	"sluice/cmd/orderbook/marketdata"
	"sluice/cmd/orderbook/trade"
	"sluice/transport/client"
)

// trade prints a trade.
func (s *screen) trade(instrument uint32, e trade.TradeEvent) {
	t := &e.Trade
	switch {
	case t.Tag != 0:
		side := marketSide(t.Side)
		s.show("trade", map[string]any{"instrument": instrument, "seq": t.Seq, "trade": t.Count, "side": side,
			"quantity": t.Quantity, "price": t.Price},
			fmt.Sprintf("instrument %d: %d @ %d  %s, trade %d.%d", instrument, t.Quantity, t.Price, side, t.Seq, t.Count))
	case e.Missed > 0:
		s.show("missed", map[string]any{"instrument": instrument, "trades": e.Missed},
			fmt.Sprintf("instrument %d: %s", instrument, plural(e.Missed, "trade")))
	default:
		s.show("missed", map[string]any{"instrument": instrument},
			fmt.Sprintf("instrument %d: any number of trades, because the server was restarted or is another one", instrument))
	}
}

func marketSide(side marketdata.Side) string {
	if side == marketdata.Sell {
		return "sell"
	}
	return "buy"
}

// level prints a price level of a frame that was accepted.
func (s *screen) level(e client.TopicEvent) error {
	f, err := marketdata.Decode(e.Tag, e.Body)
	if err != nil {
		return err
	}
	side, text := "bid", "no order"
	if f.Side == marketdata.Sell {
		side = "ask"
	}
	if f.Count > 0 {
		text = fmt.Sprintf("%d in %s", f.Quantity, plural(uint64(f.Count), "order"))
	}
	s.show("level", map[string]any{"instrument": f.Instrument, "topic_seq": e.Seq, "seq": f.Seq, "side": side,
		"price": f.Price, "quantity": f.Quantity, "orders": f.Count},
		fmt.Sprintf("instrument %d: %s %d: %s, event %d", f.Instrument, side, f.Price, text, f.Seq))
	return nil
}

// book prints a book.
func (s *screen) book(instrument uint32, v *marketdata.BookView, at client.ReplicaPosition) {
	if !s.json {
		s.mu.Lock()
		defer s.mu.Unlock()
		fmt.Fprint(s.w, drawLadder(v, at, "", 80, 0))
		return
	}
	levels := func(of func(func(marketdata.Level) bool)) []map[string]any {
		all := []map[string]any{}
		for l := range of {
			all = append(all, map[string]any{"price": l.Price, "quantity": l.Quantity, "orders": l.Orders})
		}
		return all
	}
	s.show("book", map[string]any{"instrument": instrument, "seq": v.Event(), "bids": levels(v.Bids()),
		"asks": levels(v.Asks())}, "")
}

// drawLadder draws a book of at most height lines, or all of it if height is 0: the asks above the bids, and
// the best prices next to each other. The bars show quantities.
func drawLadder(v *marketdata.BookView, at client.ReplicaPosition, server string, width, height int) string {
	var asks, bids []marketdata.Level
	most := uint64(1)
	collect := func(of func(func(marketdata.Level) bool), limit int) (all []marketdata.Level, more int) {
		for l := range of {
			if limit > 0 && len(all) == limit {
				more++
				continue
			}
			all, most = append(all, l), max(most, l.Quantity)
		}
		return all, more
	}
	limit := 0
	if height > 0 {
		limit = max((height-5)/2, 1) // beside the head, the spread, and what is not shown
	}
	asks, above := collect(v.Asks(), limit)
	bids, below := collect(v.Bids(), limit)

	var b strings.Builder
	line := func(format string, args ...any) {
		text := []rune(fmt.Sprintf(format, args...))
		b.WriteString(strings.TrimRight(string(text[:min(len(text), width)]), " ") + "\n")
	}
	_, instrument, _ := marketdata.ParseTopic(v.Topic())
	state := ""
	if !at.Live {
		state = "out of date  "
	}
	if v.Event() > 0 {
		state = fmt.Sprintf("after event %d  %s", v.Event(), state)
	}
	line("instrument %d  %s%s", instrument, state, server)
	line("%8s %14s %14s", "orders", "quantity", "price")
	row := func(l marketdata.Level, side string) {
		bar := strings.Repeat("#", int(float64(l.Quantity)/float64(most)*20))
		line("%8d %14d %14d  %s %s", l.Orders, l.Quantity, l.Price, side, bar)
	}
	if above > 0 {
		line("%38s  ask", fmt.Sprintf("%d more", above))
	}
	for i := range asks {
		row(asks[len(asks)-1-i], "ask")
	}
	line("%38s", spread(asks, bids))
	for _, l := range bids {
		row(l, "bid")
	}
	if below > 0 {
		line("%38s  bid", fmt.Sprintf("%d more", below))
	}
	return b.String()
}

func spread(asks, bids []marketdata.Level) string {
	switch {
	case len(asks) > 0 && len(bids) > 0:
		return fmt.Sprintf("spread %d", asks[0].Price-bids[0].Price)
	case len(asks)+len(bids) > 0:
		return "one side is empty"
	}
	return "the book is empty"
}
