package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"sluice/cmd/orderbook"
	"sluice/transport/wire"
)

// screen prints responses as text or JSON. It belongs to one goroutine.
type screen struct {
	w     io.Writer
	json  bool
	clock bool // begins lines with the time of day
}

// verdict is the meaning of a frame for its request.
type verdict uint8

const (
	more    verdict = iota // more frames follow
	ended                  // the response is complete
	refused                // the request was rejected
	shed                   // the request was shed; no other frame follows
)

// frame prints one frame of the server.
func (s *screen) frame(tag uint8, body []byte) (verdict, error) {
	switch tag {
	case wire.TagBatchEnd:
		return ended, nil
	case wire.TagEngineError:
		s.line("error", map[string]any{},
			"rejected: the request is malformed, or the role of the key may not send it")
		return refused, nil
	case wire.TagServerBusy:
		s.line("busy", map[string]any{}, "the server shed the request; it was not executed")
		return shed, nil
	case wire.TagHeartbeat:
		s.line("heartbeat", map[string]any{}, "the server is alive")
		return more, nil
	case wire.TagClose:
		if c, ok := wire.DecodeClose(body); ok {
			s.line("close", map[string]any{"reason": c.Reason.String()},
				"the server closes the connection: "+c.Reason.String())
		}
		return more, nil
	}
	if tag >= orderbook.TagTopOfBook {
		var a orderbook.Answer
		if err := orderbook.DecodeAnswer(tag, body, &a); err != nil {
			return more, fmt.Errorf("the server sent a frame that this client cannot decode: %w", err)
		}
		s.answer(&a)
		return more, nil
	}
	var r orderbook.Report
	if err := orderbook.DecodeReport(tag, body, &r); err != nil {
		return more, fmt.Errorf("the server sent a frame that this client cannot decode: %w", err)
	}
	s.report(&r)
	if tag == orderbook.TagRejected {
		return refused, nil
	}
	return more, nil
}

func (s *screen) report(r *orderbook.Report) {
	all := map[string]any{"seq": r.Seq, "account": r.Account, "client_order_id": r.ClientOrderID,
		"order_id": r.OrderID}
	name, text := "", ""
	switch r.Tag {
	case orderbook.TagAccepted:
		name, text = "accepted", fmt.Sprintf("event %d", r.Seq)
	case orderbook.TagRejected:
		name, text = "rejected", fmt.Sprintf("event %d: %s", r.Seq, r.Reason)
		all["reason"], all["request"] = r.Reason.String(), r.Request
	case orderbook.TagFill:
		side, did := "buy", "bought"
		if r.Side == orderbook.Sell {
			side, did = "sell", "sold"
		}
		liquidity := "taking"
		if r.Liquidity == orderbook.Resting {
			liquidity = "resting"
		}
		name, text = "fill", fmt.Sprintf("%-6s %6d @ %-8d %6d open  instrument %d, %s, trade %d.%d",
			did, r.Quantity, r.Price, r.Open, r.Instrument, liquidity, r.Seq, r.Trade)
		all["side"], all["quantity"], all["price"], all["open"] = side, r.Quantity, r.Price, r.Open
		all["instrument"], all["liquidity"], all["trade"] = r.Instrument, liquidity, r.Trade
	case orderbook.TagCancelled:
		name, text = "cancelled", fmt.Sprintf("event %d: %d cancelled, %s", r.Seq, r.Quantity, r.Reason)
		all["command"], all["quantity"], all["reason"] = r.Command, r.Quantity, r.Reason.String()
	case orderbook.TagReplaced:
		place := "behind the others at its price"
		if r.KeptPriority {
			place = "keeps its place"
		}
		name, text = "replaced", fmt.Sprintf("event %d: now %d @ %d, %d open, %s", r.Seq,
			r.Quantity, r.Price, r.Open, place)
		all["command"], all["price"], all["quantity"], all["open"], all["kept_priority"] = r.Command, r.Price, r.Quantity, r.Open, r.KeptPriority
	}
	s.line(name, all, fmt.Sprintf("#%-6d %s", r.ClientOrderID, text))
}

func (s *screen) answer(a *orderbook.Answer) {
	all := map[string]any{"seq": a.Seq, "instrument": a.Instrument}
	if a.Tag == orderbook.TagTopOfBook {
		all["bid"], all["ask"] = quote(a.Bid), quote(a.Ask)
		s.line("top", all, fmt.Sprintf("instrument %d after event %d:  bid %s   ask %s",
			a.Instrument, a.Seq, quoteText(a.Bid), quoteText(a.Ask)))
		return
	}
	all["account"], all["net"], all["bought"], all["sold"] = a.Account, a.Net, a.Bought, a.Sold
	all["open_orders"], all["accepted"], all["last_client_order_id"] = a.OpenOrders, a.Accepted, a.ClientOrderID
	s.line("position", all,
		fmt.Sprintf("account %d, instrument %d after event %d:  net %d  (bought %d, sold %d)  open orders %d",
			a.Account, a.Instrument, a.Seq, a.Net, a.Bought, a.Sold, a.OpenOrders))
	if !s.json {
		s.line("", nil, fmt.Sprintf("in all instruments: orders accepted %d, last #%d", a.Accepted,
			a.ClientOrderID))
	}
}

func quote(q orderbook.Quote) any {
	if q.Orders == 0 {
		return nil
	}
	return map[string]any{"price": q.Price, "quantity": q.Quantity, "orders": q.Orders}
}

func quoteText(q orderbook.Quote) string {
	if q.Orders == 0 {
		return "none"
	}
	return fmt.Sprintf("%d @ %d (%s)", q.Quantity, q.Price, plural(uint64(q.Orders), "order"))
}

func plural(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// done prints that a response is complete.
func (s *screen) done(took time.Duration) {
	s.line("done", map[string]any{"round_trip_ns": took.Nanoseconds()},
		"completed in "+took.Round(time.Microsecond).String())
}

func (s *screen) line(name string, all map[string]any, text string) {
	if s.json {
		all["type"] = name
		b, _ := json.Marshal(all) // strings and numbers only
		fmt.Fprintf(s.w, "%s\n", b)
		return
	}
	clock := ""
	if s.clock {
		clock = time.Now().Format("15:04:05.000  ")
	}
	fmt.Fprintf(s.w, "%s%-10s %s\n", clock, name, text)
}
