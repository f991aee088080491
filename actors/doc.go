// Package actors is the pipeline: it takes an application's output slots, holds each one back until
// the durability policy is met for it, encodes it and sends it to its client.
//
//	                   durability cursors
//	                           |
//	                           v
//	producer => [ slot ring ] => gate =(position)=> encoder => [ frames 0 ] => shard 0 => sockets
//	                               \                  ^  \ ==> [ frames 1 ] => shard 1 => sockets
//	                                \ (lane: slots    |                         ^
//	                                   that overtake) +                         |
//	Connect, Kick -> [ events ] -> control -> [ events 0 .. K-1 ] --------------+
//
// Each stage is an actor: a struct that owns its data and whose Step does one bounded batch and
// never waits. The runner owns goroutines, clock, idling, panics and the end; which actors share a
// goroutine is configuration (Placement). Every line in the picture is a bounded mailbox with one
// reader, so backpressure travels from the sockets' buffers no further than the connection they
// belong to, and from a shut gate to the producer.
//
// What it promises (the numbers are those of docs/architecture.md):
//
//   - I1: no byte of a slot is sent before the policy in force holds for its wire seq. I2: nothing
//     is released under an older policy once a swap was acknowledged.
//   - I3, I4: a connection receives a prefix of its frames in slot order, and nothing of another's,
//     whatever is reused.
//   - I6: what one client does, or fails to do, delays no other. No send ever waits; see
//     internal/shard.
//   - I8: Drain, Stop and Fence end within their deadline and leave no goroutine, descriptor or
//     kernel request; a DrainError says what they waited for if they could not.
//   - I9: slots in = delivered + dropped by reason, exactly.
//   - I11: an error or panic of the application's encoder costs one connection; any other panic
//     ends the pipeline and names the actor.
//
// docs/embedding.md shows a whole program and says what belongs to whom.
//
// Start reading at Pipeline (pipeline.go, connect.go, lifecycle.go), then gate, encoder and control,
// each in the file of its name, and internal/shard for what sends. internal/run owns the goroutines.
// The transcripts in testdata/gate_*.txt show the gate at work, command by command.
package actors
