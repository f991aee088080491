// Package auditfile writes the audit file of a server: one JSON object a line, which says who did what and
// when. It never delays what it reports.
//
//	any goroutine            File                      its goroutines
//	-------------            ----                      --------------
//	Logger().Info/Warn ----> bounded queue of lines --> write(2), O_APPEND --> file
//	                              full? count               fsync(2) ten times a second at most
//	                                                    Reopen: close, open again by name
//
//	{"time":"2026-11-29T13:00:00.1Z","what":"login","name":"desk4","role":"trader","from":"10.0.0.7:4711"}
//
//	{"time":"2026-11-29T13:00:07.2Z","what":"command","command":"/kick","status":200,"done":"connection 7 is being closed"}
//	{"time":"2026-11-29T13:00:09.3Z","what":"lines lost","since":"2026-11-29T13:00:08.9Z","info":12}
//
// Promises:
//
//   - A call of the Logger never waits for the disk.
//   - A line is written whole or counted as lost. The count is a line itself, as soon as lines are written
//     again. What a torn write or a crash has left of a line is closed with a line break.
//   - Warn has room in the queue when Info has none left: what clients can cause does not keep out what
//     operators do. The level itself is not written.
//   - An error of the file ends nothing: it is counted, and the program's log has the first one and its end.
//
// Start reading at Open, then File.Write. docs/operations.md has the lines of a server.
package auditfile
