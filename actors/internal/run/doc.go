// Package run owns the goroutines of a pipeline. It loops, reads the clock, idles, parks, recovers
// panics and stops; actors only step.
//
//	          +---- Group: one goroutine, one Idle, one Signal -----------+
//	          |                                                           |
//	Runner -> | round: Step or Gather of each actor ... flush             |
//	          |   no work?  Pause, another round                          |
//	          |   still no work?  set the flag, one more round, Sleep     |
//	          +-----------------------------------------------------------+
//	              ^ Wake: a producer that published and saw the flag,
//	                Runner.Wake, or the kernel
//
// Promises:
//
//   - An actor is called on one goroutine, its group's, and never again after Close.
//   - A group that sleeps is woken by whatever makes work for it: the flag is set before the last
//     round, and producers publish before they read the flag.
//   - A panic or a failed Close ends every group, and the error names the actor.
//
// Start reading at Actor, then Runner.Round.
package run
