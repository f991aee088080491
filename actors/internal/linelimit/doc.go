// Package linelimit limits log lines that any peer can cause by connecting.
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
