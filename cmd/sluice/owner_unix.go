//go:build unix

package main

import (
	"os"
	"syscall"
)

// keepOwner gives a new file the owner of the one that it replaces; nil for none.
func keepOwner(file *os.File, of os.FileInfo) error {
	if of == nil {
		return nil
	}
	was, ok := of.Sys().(*syscall.Stat_t)
	if !ok || int(was.Uid) == os.Geteuid() && int(was.Gid) == os.Getegid() {
		return nil
	}
	return file.Chown(int(was.Uid), int(was.Gid))
}
