package journal

import "fmt"

// Lock takes the lock of a journal without opening it: no process can open it before unlock is
// called. It is for tools that change what stands beside a journal. Errors: ErrLocked, ErrBackup, that
// dir is not a journal, and those of the file system.
func Lock(dir string) (unlock func() error, err error) {
	if d := (&directory{path: dir}); !d.has(formatFile) {
		return nil, fmt.Errorf("journal: %s is not a journal: it has no %s file", dir, formatFile)
	}
	d, err := lockDirectory(dir)
	if err != nil {
		return nil, err
	}
	return d.unlock, nil
}
