//go:build !unix

package main

// kernel returns the version of the kernel; empty if unknown.
func kernel() string { return "" }
