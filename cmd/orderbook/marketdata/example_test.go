package marketdata_test

import (
	"fmt"

	"sluice/cmd/orderbook/marketdata"
)

// A subscriber of the depth of instrument 7 receives a snapshot with one bid, and then an ask.
func Example() {
	book := marketdata.NewBookView(7, false)
	bid := marketdata.Frame{Tag: marketdata.TagLevel, Seq: 20, Instrument: 7, Side: marketdata.Buy,
		Price: 100, Quantity: 5, Count: 1}
	ask := marketdata.Frame{Tag: marketdata.TagLevel, Seq: 21, Instrument: 7, Side: marketdata.Sell,
		Price: 103, Quantity: 8, Count: 2}
	described, updated := bid.Append(nil), ask.Append(nil) // as the server sends them

	book.Begin(4)
	if err := book.Describe(described[4], described[5:]); err != nil {
		fmt.Println(err)
	}
	if err := book.End(4); err != nil {
		fmt.Println(err)
	}
	if err := book.Update(5, updated[4], updated[5:]); err != nil {
		fmt.Println(err)
	}
	for level := range book.Asks() {
		fmt.Println("ask", level.Price, level.Quantity)
	}
	for level := range book.Bids() {
		fmt.Println("bid", level.Price, level.Quantity)
	}
	fmt.Println(book.Update(7, updated[4], updated[5:]))
	// Output:
	// ask 103 8
	// bid 100 5
	// marketdata: depth of instrument 7: update 7 comes after 5; subscribe again for a snapshot
}
