//go:build !linux

package transport

// readEnvironment has nothing to look at: io_uring is Linux.
func readEnvironment() environment { return environment{} }
