// Package trials puts the whole server before hostile clients. It holds no code of its own, only tests: each takes the
// listener, the readers, the pipeline and real sockets together, lets clients do their worst, and checks what every other
// client received, byte by byte.
//
//	hostile:  never read, drip, reset, vanish, half-close, come and go by the thousand --+
//	healthy:  check every byte of every frame -------------------------------------------+--> listen --> rig --> pipeline
//	around:   signals, toxic proxies, exhausted descriptors, a shut gate, a stalled disk                  |          |
//	                                                                                                      +-- feed --+
//
// What every trial ends with (rig.end):
//
//   - Slots in = delivered + dropped, no permit is out, no completion was stray.
//   - No goroutine, descriptor or kernel request is left.
//   - Every healthy client received its frames whole, in order, once, and nothing of anyone else's.
//
// Sizes are small unless SLUICE_SOAK is set, and smaller still with -short. Each trial runs on both engines; io_uring is
// skipped, with the reason, where it cannot be had. Measurements are printed (go test -v), never judged, except where a
// requirement has a number.
//
// Start reading at rig_test.go (the server under trial), feed_test.go (its application) and reader_test.go (the checker),
// then any trial.
package trials
