//go:build !unix

package main

import "os"

// keepOwner does nothing: files have no numeric owner here.
func keepOwner(*os.File, os.FileInfo) error { return nil }
