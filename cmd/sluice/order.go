package main

import (
	"math"
	"strconv"
	"strings"

	"sluice/cmd/internal/config"
	"sluice/cmd/orderbook"
)

const orderHelp = `  buy  INSTRUMENT QUANTITY [@ PRICE [ioc]]   limit order; without a price a market order
  sell INSTRUMENT QUANTITY [@ PRICE [ioc]]   ioc: the rest that does not trade at once is cancelled
  cancel  ID                                 ID is the #number of the order to cancel
  replace ID QUANTITY @ PRICE                QUANTITY is the new total, including the executed part
  top INSTRUMENT                             best bid and ask
  position INSTRUMENT                        position of the account, and its last #number`

// parseOrder reads a request from the words of a command line. The caller sets account and client
// order id.
func parseOrder(words []string) (c orderbook.Command, err error) {
	words = strings.Fields(strings.ReplaceAll(strings.Join(words, " "), "@", " @ "))
	if len(words) == 0 {
		return c, config.Usagef("name a request: buy, sell, cancel, replace, top or position")
	}
	p := &wordReader{words: words[1:], verb: words[0]}
	switch words[0] {
	case "buy", "sell":
		c = orderbook.Command{Tag: orderbook.TagNew, Side: orderbook.Buy, Type: orderbook.Market,
			TimeInForce: orderbook.ImmediateOrCancel}
		if words[0] == "sell" {
			c.Side = orderbook.Sell
		}
		c.Instrument, c.Quantity = uint32(p.number("INSTRUMENT",
			math.MaxUint32)), p.number("QUANTITY", math.MaxUint64)
		if p.accept("@") {
			c.Type, c.TimeInForce, c.Price = orderbook.Limit, orderbook.GoodTillCancel, p.price()
			if p.accept("ioc") {
				c.TimeInForce = orderbook.ImmediateOrCancel
			}
		}
	case "cancel":
		c = orderbook.Command{Tag: orderbook.TagCancel, Target: p.number("ID", math.MaxUint64)}
	case "replace":
		c = orderbook.Command{Tag: orderbook.TagReplace, Target: p.number("ID", math.MaxUint64),
			Quantity: p.number("QUANTITY", math.MaxUint64)}
		if !p.accept("@") && p.err == nil {
			p.err = config.Usagef("replace: write the new price after @, such as replace 3 10 @ 101")
		}
		c.Price = p.price()
	case "top":
		c = orderbook.Command{Tag: orderbook.TagQueryTop,
			Instrument: uint32(p.number("INSTRUMENT", math.MaxUint32))}
	case "position":
		c = orderbook.Command{Tag: orderbook.TagQueryPosition,
			Instrument: uint32(p.number("INSTRUMENT", math.MaxUint32))}
	default:
		all := []string{"buy", "sell", "cancel", "replace", "top", "position"}
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

// wordReader reads one word after the other and keeps the first error.
type wordReader struct {
	verb  string
	words []string
	err   error
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

func (p *wordReader) number(what string, most uint64) uint64 {
	w := strings.TrimPrefix(p.next(what), "#")
	n, err := strconv.ParseUint(w, 10, 64)
	if (err != nil || n > most) && p.err == nil {
		p.err = config.Usagef("%s: %s is %q; write a whole number from 0 to %d", p.verb, what, w, most)
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

// isCommand reports whether a request uses up a client order id.
func isCommand(tag uint8) bool { return tag <= orderbook.TagReplace }
