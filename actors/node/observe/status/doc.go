// Package status shows a running server to people: a page for browsers and the same picture for terminals.
//
//	Collector --once a second--> tally --minus the one before--> Point --> ring of 300
//	                                                                          |
//	gauges, gate, cursors, slow clients: asked only while somebody looks --> Snapshot --> /live.json --+--> page at /
//	                                                                                                   +--> sluice top
//
//	GET /            the page, for who accepts HTML
//	GET /live.json   a Snapshot; ?after=N leaves out points up to number N
//	GET /live/...    style, script and icon of the page
//
// Promises:
//
//   - Nobody looking costs one pass over the collector a second, and memory that does not grow: 5 minutes of points and 10
//     seconds of histograms, about 1.1 MB.
//   - However many look, the clients are listed at most once a second.
//   - A percentile is of its own second (or its own 10 seconds) and of nothing before it.
//   - The page asks for nothing but these paths: it works without a network, and its content security policy says so.
//   - A gate that does not open shows within a second, although no histogram knows of it.
//
// Start reading at Point and history.take in history.go, then Snapshot; WriteFrame draws it with characters.
package status
