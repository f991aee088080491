//go:build unix

package main

import "golang.org/x/sys/unix"

// kernel returns the version of the kernel; empty if unknown.
func kernel() string {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return ""
	}
	return unix.ByteSliceToString(name.Release[:])
}
