//go:build !linux

package transport

// readEnvironment returns nothing: io_uring exists on Linux only.
func readEnvironment() environment { return environment{} }
