package main

import (
	"math"

	"sluice/cmd/orderbook"
	"sluice/cmd/orderbook/marketdata"
	"sluice/transport/wire"
)

// Accounts and instruments of a run. Each attack has accounts of its own, so that their ids rise.
const (
	floodAccounts    = 1000 // first account that the flood may act for
	floodAccountsMax = 1999
	stranger         = 1_000_000 // first of the accounts that the flood invents
	market           = 1         // instrument that flood and honest traders share
	floodPrice       = 1000      // the flood sells above it, the honest traders buy below
)

// An attack makes the nth request of its kind, from 1.
type attack struct {
	name  string
	conns int
	next  func(n uint64) (tag uint8, body []byte)
}

// attacks are the floods of requests.
func attacks() []attack {
	return []attack{
		{"ids that jump", 1, jumpingID},
		{"accounts", 2, inventedAccount},
		{"instruments", 1, func(n uint64) (uint8, []byte) {
			return order(floodAccounts+2, n, uint32(market+n%2000), orderbook.Sell, floodPrice,
				orderbook.ImmediateOrCancel, 1)
		}},
		{"price levels", 1, func(n uint64) (uint8, []byte) {
			price := floodPrice + 10_000 + int64(n%100_000)
			return order(floodAccounts+3, n, market, orderbook.Sell, price, orderbook.GoodTillCancel, 1)
		}},
		{"resting orders", 2, func(n uint64) (uint8, []byte) {
			return order(floodAccounts+4, n, market, orderbook.Sell, floodPrice+9_000, orderbook.GoodTillCancel, 1)
		}},
		{"deep matches", 2, deepMatch},
		{"queries", 1, func(n uint64) (uint8, []byte) {
			c := orderbook.Command{Tag: orderbook.TagQueryFills, Account: floodAccounts + 5, Limit: orderbook.MaxPage}
			return c.Tag, c.AppendBody(nil)
		}},
		{"subscriptions", 1, subscription},
		{"malformed requests", 1, func(n uint64) (uint8, []byte) { return uint8(0x10 + n%32), []byte{1, 2, 3} }},
		{"heartbeats", 1, func(uint64) (uint8, []byte) { return wire.TagHeartbeat, nil }},
	}
}

func order(account, id uint64, instrument uint32, side orderbook.Side, price int64, in orderbook.TimeInForce,
	quantity uint64) (uint8, []byte) {
	c := orderbook.Command{Tag: orderbook.TagNew, Account: account, ClientOrderID: id, Instrument: instrument,
		Side: side, Type: orderbook.Limit, TimeInForce: in, Price: price, Quantity: quantity}
	return c.Tag, c.AppendBody(nil)
}

// jumpingID uses up the ids of an account: its own, one that it invents, one of an honest trader.
func jumpingID(n uint64) (uint8, []byte) {
	account := []uint64{floodAccounts + 1, stranger, 1}[n%3]
	c := orderbook.Command{Tag: orderbook.TagCancel, Account: account, ClientOrderID: math.MaxUint64 - n%2, Target: 1}
	return c.Tag, c.AppendBody(nil)
}

// inventedAccount enters an order of an account that was never named before, while there are any.
func inventedAccount(n uint64) (uint8, []byte) {
	account := stranger + n
	if n%2 == 0 {
		account = floodAccounts + 10 + n%(floodAccountsMax-floodAccounts-10)
	}
	return order(account, n, market, orderbook.Sell, floodPrice, orderbook.ImmediateOrCancel, 1)
}

// deepMatch enters small orders of one account, and then one of another account that meets them all.
func deepMatch(n uint64) (uint8, []byte) {
	const depth = 2000
	if n%depth != 0 {
		return order(floodAccounts+5, n, market, orderbook.Sell, floodPrice, orderbook.GoodTillCancel, 1)
	}
	return order(floodAccounts+6, n, market, orderbook.Buy, floodPrice, orderbook.ImmediateOrCancel, depth)
}

// subscription begins and ends subscriptions of ever other topics.
func subscription(n uint64) (uint8, []byte) {
	topic := marketdata.KindDepth.Topic(uint32(n / 2))
	if n%2 == 0 {
		return wire.TagExtended, wire.AppendSubscribeBody(nil, wire.Subscribe{Topic: topic})
	}
	return wire.TagExtended, wire.AppendUnsubscribeBody(nil, topic)
}
