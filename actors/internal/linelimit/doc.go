// Package linelimit limits log lines that anybody who connects can cause.
//
//	Log, Log, ... ──> Limiter ──10 a second──> slog.Logger
//	                     └──the rest is counted in the next line, or after a second without one
//
// Promises:
//
//   - No line is left out without being counted.
//
// Start reading at Limiter.
package linelimit
