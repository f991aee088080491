// Package trade is a client of the order book for one account, on top of a client.Session, which
// connects again after a break.
//
//	New, Cancel, Replace ──> ids ──> Session ══> server
//	Top, Position, ...                  │
//	Result, OpenOrder, ...  <── response ┤
//	Options.OnReport        <── reports ─┤  each as it arrives, also those that no request caused
//	Book, Trades            <── topics ──┘  of an instrument, of all accounts
//
// The client numbers the commands of its account, and nothing else may trade for the account at
// the same time. It never sends a command twice. A command whose response was lost fails with
// client.ErrUnknownOutcome: Outcome then says whether it was executed, OpenOrders and FillsSince
// what else was missed. A command that is sent again with its own id (Client.Send) is executed once at
// most, whatever became of the first one: the book rejects an id that is not above those used. So a
// rejection as a duplicate does not say that it was executed; Outcome does.
//
// In a cluster the client goes to the leader, as client.Session does. Ids and outcomes hold there too,
// because the books of a cluster are the same.
//
// Start reading at Client.Send.
package trade
