// Package logqueue lets a program log without ever waiting for what reads its log: a pipe, a
// journal daemon, a terminal, a file system that hangs.
//
//	any goroutine              Queue                         its own goroutine
//	-------------              -----                         -----------------
//	slog.Logger --Handler--+
//	                       +--> bounded buffer of lines --> write(2) --> pipe, file, terminal
//	text --------Write-----+        full? drop, count           may block for ever
//
// Promises:
//
//   - Handle of a Handler and Write never wait, whatever the writer does. A line is formatted on the
//     goroutine that logs it, so its values may change afterwards.
//   - A line is written whole or not at all, in the order of the calls.
//   - Memory is bounded: two buffers of Config.Bytes.
//   - A line that finds no room is dropped and counted by kind. Errors have room when warnings have
//     none left, and warnings when information has none left. As soon as lines are written again, a
//     line reports how many are missing and since when.
//   - Close writes what is queued until its context ends.
//
// Start reading at Queue.put, then Queue.run. docs/decisions/0027 has the measurements.
package logqueue
