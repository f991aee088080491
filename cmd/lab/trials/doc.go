// Package trials exposes the whole server to hostile clients and a hostile system. It holds no code
// of its own, only tests: each combines listener, readers, pipeline and real sockets, lets some
// clients misbehave, and checks what every other client received, byte by byte.
//
//	hostile:  never read, drip, reset, vanish, half-close, come and go by the thousand --+
//	healthy:  check every byte of every frame -------------------------------------------+--> listen --> rig --> pipeline
//	around:   signals, toxic proxies, exhausted descriptors, a shut gate, a stalled disk                  |          |
//	                                                                                                      +-- feed --+
//
// Checks at the end of every trial (rig.end):
//
//   - Slots in = delivered + dropped, no permit is out, no completion was stray.
//   - No goroutine, descriptor or kernel request is left.
//   - Every healthy client received its frames whole, in order, once, and nothing of anyone else's.
//
// Sizes are small unless SLUICE_SOAK is set, and smaller still with -short. Each trial runs on both
// engines; io_uring is skipped, with the reason, where it is not available. Measurements are
// printed (go test -v) and judged only where a requirement has a number.
//
// Start reading at rig_test.go (the server under trial), feed_test.go (its application) and
// reader_test.go (the checker), then any trial.
package trials
