// Package powerloss watches the system calls of a child process of a test, and derives from them what a power
// loss may leave of its files. See docs/decisions/0018-power-loss.md. Nothing but tests imports it.
//
//	child: program --> write(2) --|filter|--> parent: hook(Call) --> continue, fail, or kill
//	                                             |
//	                                             +--> Disk.Operation ... Disk.Crash --> Put: a directory
//
// Programs write through package os, so the system call is the narrowest interface that all writes pass. The child
// installs a seccomp filter that reports chosen calls to its parent (seccomp_unotify(2)); it is stopped until the
// parent answers. No product code is involved, no tracer is attached, and the bytes are those that are really written.
//
// Promises:
//
//   - A Disk keeps what was synced, and of the rest any part that a file system may keep. See Disk.
//   - Calls and messages of a child are reported one at a time, in the order in which they are made.
//
// Start reading at Disk, then Watch.
package powerloss
