package journal

import (
	"os"

	"golang.org/x/sys/unix"
)

// forget drops the kernel's copy of a file's clean pages, so that reading it reads the disk:
// posix_fadvise(2). It is advice, which a file system in memory ignores; nothing depends on it as
// long as every sync succeeds.
func forget(f *os.File) { _ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) }
