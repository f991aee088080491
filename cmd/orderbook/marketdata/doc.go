// Package marketdata is what a subscriber of the order book's topics needs: the numbers of the topics,
// their frames, and views that rebuild what the server has from a snapshot and the topic frames that
// follow it. It imports nothing of the server.
//
//	SnapshotBegin ──> Begin     ┐
//	frames        ──> Describe  ├──> BookView    bids and asks of an instrument   KindDepth
//	SnapshotEnd   ──> End       │    TopView     best bid and ask                 KindTop
//	TopicData     ──> Update    │    TradesView  last trade                       KindTrades
//	Gap           ──> Gap       ┘
//
// A view is strict. A frame that is out of order, of another instrument, or that cannot follow from
// what is known is an error, and so is a book in which a bid reaches an ask. After an error, and after
// a Gap, a view is not Live until the next snapshot. AppendSnapshot returns what the server would send
// as a snapshot, byte for byte, so two views, or a view and the server, are compared by their bytes.
//
// A view has no lock and starts no goroutine. It allocates only while its slices grow.
//
// Start reading at BookView. The bytes are specified in docs/orderbook.md.
package marketdata
