// Package audit compares what clients were told with the journals of a cluster, or of a single node.
//
//	journals ──> log: one row of events, compared over all nodes ──> check ──> Result
//	histories ──> claims: requests by event, frames by connection ──^  |
//	                                                     order book: replay
//
// What is a fault:
//
//   - A loss: a request was answered as event N, and the log does not have it there, or too few nodes have
//     it. So is the response to a query that takes an event into account which the log does not have.
//   - A double: a request is in the log more often than it was sent.
//   - A contradiction: two nodes know other events under one number to be in the log; two requests were
//     answered as one event; a client received a frame, or a response to a query, that the replay of the log
//     does not have, or did not receive one that it must have received; a request was refused and is in
//     the log; a connection has a request in the log that its client did not send; a response was
//     complete before a request was sent that comes before it in the log, or a query that does not know of
//     it.
//
// The log is what the voter with the newest last entry has: of a majority of the voters, it has
// everything that was committed. An event that was answered must be on as many of the given journals
// as a majority of the voters needs if all others have it. Who votes is what the directory says that knows of the
// last change. The promise that is checked is that of policies
// of the class committed. Under another policy, losses after a crash are what was chosen.
//
// What is not checked is counted: events before the oldest one kept, clients without a history.
//
// Start reading at Run, then log.events and checker.event.
package audit
