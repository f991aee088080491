// Package history records what a client of a server sent and was told, as a file that `sluice audit`
// compares with the journals.
//
//	client ── Sent, Frame, Answered, Asked, Told, ... ──> Recorder ──> NAME.jsonl ──> Read ──> audit
//
// A history is a file of JSON objects, one a line, of one client. The first line is its Head. Each
// further one is a Line: a request and what became of it, or frames that arrived. Requests of the log and
// frames are known by a hash of their bytes, so that a history stays small.
//
//	{"history":1,"client":"trader 1","clock":"b64c9d31f0a2e587"}
//	{"conn":1099511627777,"request":1,"hash":"06d0e6a8…","sent":52100,"outcome":"answered","answered":911300,
//	 "event":4,"frames":["5ac1…"]}
//	{"conn":1099511627777,"request":2,"hash":"91be77c0…","sent":60300,"outcome":"unknown"}
//	{"conn":1099511627777,"request":3,"query":"2001000000","sent":60500,"outcome":"answered","answered":980100,
//	 "as_of":5,"answer":["77ab…"]}
//
// Promises:
//
//   - A request is sent after its time in sent, and its response was here before that in answered. Both
//     are ns of a Clock, which all clients of a process share: so the order of a response of one client
//     and a request of another one is known.
//   - The frames of a connection are in the order of arrival, over all its lines, and none is left out
//     before the last one.
//   - A client that is killed leaves a history that can be read: its Head is in the file from the start, and
//     a last line that is not whole is ignored. What is missing at its end are up to 64 KiB of lines, the
//     requests under way, and frames that waited for a line.
//
// Start reading at Recorder, then Line.
package history
