package main

import (
	"math"
	"strconv"
	"strings"
	"time"

	"sluice/cmd/internal/config"
	"sluice/cmd/orderbook"
	"sluice/transport/client"
)

const orderHelp = `  buy  INSTRUMENT QUANTITY [@ PRICE [LIFE]]  limit order; without a price a market order
  sell INSTRUMENT QUANTITY [@ PRICE [LIFE]]  LIFE is ioc (cancel what does not trade at once),
                                             until TIME (such as 2026-12-01T10:00:00Z) or
                                             for DURATION (such as 30s)
  cancel  ID                                 ID is the #number of the order to cancel
  replace ID QUANTITY @ PRICE                QUANTITY is the new total, including the executed part
  top INSTRUMENT                             best bid and ask
  position INSTRUMENT                        position of the account, and its last #number
  orders                                     open orders of the account
  outcome ID                                 what the command with this #number did
  fills [since EVENT]                        fills of the account, at most the last 1024
  limits                                     what the book has room for, and what of it is used
  limits NAME N [NAME N ...]                 raise limits, as an operator: instruments, accounts,
                                             positions, orders, levels
  cancel-on-disconnect on|off                cancel the orders of this connection when it ends`

// parseOrder reads a request from the words of a command line. The caller sets account and client
// order id.
func parseOrder(words []string) (c orderbook.Command, err error) {
	words = strings.Fields(strings.ReplaceAll(strings.Join(words, " "), "@", " @ "))
	all := []string{"buy", "sell", "cancel", "replace", "top", "position", "orders", "outcome", "fills",
		"limits", "cancel-on-disconnect"}
	if len(words) == 0 {
		return c, config.Usagef("name a request: %s", strings.Join(all, ", "))
	}
	p := &wordReader{words: words[1:], verb: words[0]}
	switch words[0] {
	case "buy", "sell":
		c = p.order(words[0])
	case "cancel":
		c = orderbook.Command{Tag: orderbook.TagCancel, Target: p.number("ID", 1, math.MaxUint64)}
	case "replace":
		c = orderbook.Command{Tag: orderbook.TagReplace, Target: p.number("ID", 1, math.MaxUint64),
			Quantity: p.number("QUANTITY", 1, math.MaxUint64)}
		if !p.accept("@") && p.err == nil {
			p.err = config.Usagef("replace: write the new price after @, such as replace 3 10 @ 101")
		}
		c.Price = p.price()
	case "top":
		c = orderbook.Command{Tag: orderbook.TagQueryTop, Instrument: p.instrument()}
	case "position":
		c = orderbook.Command{Tag: orderbook.TagQueryPosition, Instrument: p.instrument()}
	case "orders":
		c = orderbook.Command{Tag: orderbook.TagQueryOpenOrders, Limit: orderbook.MaxPage}
	case "outcome":
		c = orderbook.Command{Tag: orderbook.TagQueryOutcome,
			ClientOrderID: p.number("ID", 1, math.MaxUint64)}
	case "fills":
		c = orderbook.Command{Tag: orderbook.TagQueryFills, Limit: orderbook.MaxPage}
		if p.accept("since") {
			c.After = p.number("EVENT", 0, math.MaxUint64)
		}
	case "limits":
		c = p.limits()
	case "cancel-on-disconnect":
		c = orderbook.Command{Tag: orderbook.TagSetCancelOnDisconnect, On: p.accept("on")}
		if !c.On && !p.accept("off") {
			p.err = config.Usagef("cancel-on-disconnect: write on or off")
		}
	default:
		return c, config.Usagef("unknown request %q; %swrite one of %s", words[0],
			config.DidYouMean(words[0], all), strings.Join(all, ", "))
	}
	if p.err == nil && len(p.words) > 0 {
		advice := ""
		if c.Tag == orderbook.TagNew && c.Type == orderbook.Market {
			advice = "; write a price after @"
		}
		p.err = config.Usagef("%s: unexpected argument %q%s", p.verb, strings.Join(p.words, " "), advice)
	}
	return c, p.err
}

// nextPage makes the query for the page after a response. It reports whether there is one.
func nextPage(c *orderbook.Command, response client.Response) bool {
	var before, last any
	for _, f := range response.Frames {
		before = last
		if last, _ = orderbook.DecodeAnswer(f.Tag, f.Body); last == nil { // a report: no query
			return false
		}
	}
	switch end := last.(type) {
	case orderbook.OpenOrders:
		if o, ok := before.(orderbook.OpenOrder); ok && end.More {
			c.After = o.OrderID
			return true
		}
	case orderbook.Fills:
		if f, ok := before.(orderbook.Report); ok && end.More {
			c.After, c.Trade = f.Seq, f.Trade
			return true
		}
	}
	return false
}

// wordReader reads one word after the other and keeps the first error.
type wordReader struct {
	verb  string
	words []string
	err   error
}

// order reads the words of a new order.
func (p *wordReader) order(side string) orderbook.Command {
	c := orderbook.Command{Tag: orderbook.TagNew, Side: orderbook.Buy, Type: orderbook.Market,
		TimeInForce: orderbook.ImmediateOrCancel}
	if side == "sell" {
		c.Side = orderbook.Sell
	}
	c.Instrument, c.Quantity = p.instrument(), p.number("QUANTITY", 1, math.MaxUint64)
	if !p.accept("@") {
		return c
	}
	c.Type, c.TimeInForce, c.Price = orderbook.Limit, orderbook.GoodTillCancel, p.price()
	switch {
	case p.accept("ioc"):
		c.TimeInForce = orderbook.ImmediateOrCancel
	case p.accept("until"):
		c.TimeInForce, c.Expiry = orderbook.GoodTillDate, p.time()
	case p.accept("for"):
		c.TimeInForce, c.Expiry = orderbook.GoodTillDate, time.Now().Add(p.duration()).UnixNano()
	}
	return c
}

// limits reads the limits to raise; none is a query.
func (p *wordReader) limits() orderbook.Command {
	c := orderbook.Command{Tag: orderbook.TagQueryLimits}
	for len(p.words) > 0 && p.err == nil {
		c.Tag = orderbook.TagRaiseLimits
		name := p.next("NAME")
		limit := c.Limits.Named(name)
		if limit == nil {
			names := orderbook.LimitNames()
			p.err = config.Usagef("limits: there is no limit %q; write one of %s, and its new value", name,
				strings.Join(names[:], ", "))
			break
		}
		*limit = uint32(p.number(name, 1, 1<<30))
	}
	return c
}

func (p *wordReader) next(what string) string {
	if len(p.words) == 0 {
		if p.err == nil {
			p.err = config.Usagef("%s: %s is missing", p.verb, what)
		}
		return ""
	}
	w := p.words[0]
	p.words = p.words[1:]
	return w
}

func (p *wordReader) accept(word string) bool {
	if len(p.words) > 0 && p.words[0] == word {
		p.words = p.words[1:]
		return true
	}
	return false
}

func (p *wordReader) instrument() uint32 {
	return uint32(p.number("INSTRUMENT", 0, math.MaxUint32))
}

func (p *wordReader) number(what string, least, most uint64) uint64 {
	w := strings.TrimPrefix(p.next(what), "#")
	n, err := strconv.ParseUint(w, 10, 64)
	if (err != nil || n < least || n > most) && p.err == nil {
		p.err = config.Usagef("%s: %s is %q; write a whole number from %d to %d", p.verb, what, w, least,
			most)
	}
	return n
}

func (p *wordReader) price() int64 {
	w := p.next("PRICE")
	n, err := strconv.ParseInt(w, 10, 64)
	if err != nil && p.err == nil {
		p.err = config.Usagef("%s: PRICE is %q; write a whole number of ticks", p.verb, w)
	}
	return n
}

func (p *wordReader) time() int64 {
	w := p.next("TIME")
	at, err := time.Parse(time.RFC3339, w)
	if (err != nil || at.Year() < 1970 || at.Year() > 2261) && p.err == nil {
		p.err = config.Usagef("%s: TIME is %q; write a time such as 2026-12-01T10:00:00Z, with Z for UTC "+
			"or an offset such as +01:00", p.verb, w)
	}
	return at.UnixNano()
}

func (p *wordReader) duration() time.Duration {
	w := p.next("DURATION")
	d, err := time.ParseDuration(w)
	if (err != nil || d <= 0) && p.err == nil {
		p.err = config.Usagef("%s: DURATION is %q; write one such as 30s, 5m or 2h", p.verb, w)
	}
	return d
}
