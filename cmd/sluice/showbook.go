package main

import (
	"fmt"
	"time"

	"sluice/cmd/orderbook"
)

// report prints a report.
func (s *screen) report(r *orderbook.Report) {
	if r.Tag == orderbook.TagCancelOnDisconnect {
		s.line("setting", map[string]any{"seq": r.Seq, "cancel_on_disconnect": r.On},
			fmt.Sprintf("event %d: cancel on disconnect is %s", r.Seq, onOff(r.On)))
		return
	}
	if r.Tag == orderbook.TagLimitsRaised {
		s.line("limits raised", map[string]any{"seq": r.Seq}, fmt.Sprintf("event %d: the limits are raised", r.Seq))
		return
	}
	all := map[string]any{"seq": r.Seq, "account": r.Account, "client_order_id": r.ClientOrderID,
		"order_id": r.OrderID}
	name, text := "", ""
	switch r.Tag {
	case orderbook.TagAccepted:
		name, text = "accepted", fmt.Sprintf("event %d", r.Seq)
	case orderbook.TagRejected:
		name, text = "rejected", fmt.Sprintf("event %d: %s", r.Seq, r.Reason)
		all["reason"], all["request"] = r.Reason.String(), r.Request
	case orderbook.TagFill, orderbook.TagPastFill:
		s.fill(r, all)
		return
	case orderbook.TagCancelled:
		name, text = "cancelled", fmt.Sprintf("event %d: %d cancelled, %s", r.Seq, r.Quantity, r.Reason)
		if r.Reason == orderbook.SelfTrade {
			text += fmt.Sprintf(": account %d would have traded with itself; trade with another "+
				"account, see --account", r.Account)
		}
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

func (s *screen) fill(r *orderbook.Report, all map[string]any) {
	name, liquidity := "fill", "taking"
	if r.Tag == orderbook.TagPastFill {
		name = "past fill"
	}
	if r.Liquidity == orderbook.Resting {
		liquidity = "resting"
	}
	side, did := sideText(r.Side)
	all["side"], all["quantity"], all["price"], all["open"] = side, r.Quantity, r.Price, r.Open
	all["instrument"], all["liquidity"], all["trade"] = r.Instrument, liquidity, r.Trade
	s.line(name, all, fmt.Sprintf("#%-6d %-6s %6d @ %-8d %6d open  instrument %d, %s, trade %d.%d",
		r.ClientOrderID, did, r.Quantity, r.Price, r.Open, r.Instrument, liquidity, r.Seq, r.Trade))
}

func sideText(side orderbook.Side) (name, past string) {
	if side == orderbook.Sell {
		return "sell", "sold"
	}
	return "buy", "bought"
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// answer prints an answer to a query.
func (s *screen) answer(answer any) {
	switch a := answer.(type) {
	case orderbook.TopOfBook:
		s.line("top", map[string]any{"seq": a.Seq, "instrument": a.Instrument, "bid": quote(a.Bid),
			"ask": quote(a.Ask)},
			fmt.Sprintf("instrument %d after event %d:  bid %s   ask %s",
				a.Instrument, a.Seq, quoteText(a.Bid), quoteText(a.Ask)))
	case orderbook.Position:
		s.position(&a)
	case orderbook.OpenOrder:
		s.openOrder(&a)
	case orderbook.OpenOrders:
		s.line("orders", map[string]any{"seq": a.Seq, "account": a.Account, "count": a.Count,
			"more": a.More},
			fmt.Sprintf("account %d after event %d: %s", a.Account, a.Seq,
				plural(uint64(a.Count), "open order")+andMore(a.More)))
	case orderbook.Outcome:
		s.outcome(&a)
	case orderbook.Report:
		s.report(&a)
	case orderbook.LimitUse:
		s.limits(&a)
	case orderbook.Fills:
		text := fmt.Sprintf("account %d after event %d: %s", a.Account, a.Seq,
			plural(uint64(a.Count), "fill")+andMore(a.More))
		if a.Dropped {
			text += "; older ones are no longer kept"
		}
		s.line("fills", map[string]any{"seq": a.Seq, "account": a.Account, "count": a.Count,
			"more": a.More, "dropped": a.Dropped}, text)
	}
}

// limits prints a line for each limit.
func (s *screen) limits(a *orderbook.LimitUse) {
	for _, name := range orderbook.LimitNames() {
		used, limit := *a.Used.Named(name), *a.Limit.Named(name)
		s.line("limit", map[string]any{"seq": a.Seq, "name": name, "used": used, "limit": limit},
			fmt.Sprintf("%-12s %10d of %d used after event %d", name, used, limit, a.Seq))
	}
}

func andMore(more bool) string {
	if more {
		return ", more follow"
	}
	return ""
}

func (s *screen) position(a *orderbook.Position) {
	s.line("position", map[string]any{"seq": a.Seq, "instrument": a.Instrument, "account": a.Account,
		"net": a.Net(), "bought": a.Bought, "sold": a.Sold, "open_orders": a.OpenOrders,
		"accepted": a.Accepted, "last_client_order_id": a.LastID},
		fmt.Sprintf("account %d, instrument %d after event %d:  net %d  (bought %d, sold %d)  open orders %d",
			a.Account, a.Instrument, a.Seq, a.Net(), a.Bought, a.Sold, a.OpenOrders))
	if !s.json {
		s.line("", nil, fmt.Sprintf("in all instruments: orders accepted %d, last #%d", a.Accepted,
			a.LastID))
	}
}

func (s *screen) openOrder(a *orderbook.OpenOrder) {
	side, _ := sideText(a.Side)
	all := map[string]any{"seq": a.Seq, "account": a.Account, "client_order_id": a.ClientOrderID,
		"order_id": a.OrderID, "instrument": a.Instrument, "side": side, "price": a.Price, "open": a.Open,
		"quantity": a.Quantity}
	until := ""
	if a.Expiry != 0 {
		all["expiry"] = a.Expiry
		until = ", until " + time.Unix(0, a.Expiry).UTC().Format(time.RFC3339Nano)
	}
	s.line("order", all, fmt.Sprintf("#%-6d %-4s %d open of %d @ %d  instrument %d%s", a.ClientOrderID,
		side, a.Open, a.Quantity, a.Price, a.Instrument, until))
}

func (s *screen) outcome(a *orderbook.Outcome) {
	all := map[string]any{"seq": a.Seq, "account": a.Account, "command": a.Command,
		"outcome": a.Status.String()}
	text := ""
	switch a.Status {
	case orderbook.StatusUnknown:
		text = "not executed"
	case orderbook.StatusNotUsed:
		text = "not executed, and can no longer be: the account has used a higher number"
	case orderbook.StatusTooOld:
		text = "no longer kept"
	default:
		all["event"], all["order_id"], all["request"] = a.Event, a.OrderID, a.Request
		text = fmt.Sprintf("%s, event %d", a.Status, a.Event)
		if a.Status == orderbook.StatusRejected {
			all["reason"] = a.Reason.String()
			text += ": " + a.Reason.String()
		}
	}
	s.line("outcome", all, fmt.Sprintf("#%-6d %s", a.Command, text))
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
