package journal

import (
	"errors"
	"fmt"
	"syscall"

	"sluice/durability"
)

var (
	// ErrPoisoned marks a journal in which a write or a sync failed. Nothing is retried: the kernel
	// may have dropped the dirty pages and report success the second time. Only a restart, which
	// reads back the disk, can find out.
	ErrPoisoned = errors.New("journal: poisoned")
	// ErrLocked marks a directory that another process has open.
	ErrLocked = errors.New("journal: directory is in use")
	// ErrCorrupt marks a log or a set of snapshots that cannot be trusted. Open changes nothing
	// when it returns it.
	ErrCorrupt = errors.New("journal: damaged")
	// ErrNewerFormat marks a directory that a newer version wrote.
	ErrNewerFormat = errors.New("journal: newer format")
	// ErrOlderFormat marks a directory of a format that this version no longer reads.
	ErrOlderFormat = errors.New("journal: older format")
	// ErrTooLarge marks a payload above MaxPayloadBytes; the journal stays usable.
	ErrTooLarge = errors.New("journal: payload too large")
)

// PoisonError is the one error of a poisoned journal: the first failure, returned unchanged by
// every later call. errors.Is finds ErrPoisoned and the cause, for example syscall.ENOSPC.
type PoisonError struct {
	Dir       string         // the journal's directory
	File      string         // the file or directory concerned; the segment being written if the error names none
	Op        string         // the operation that failed
	Persisted durability.Seq // the last event known to be on disk; nothing after it may be acknowledged
	Cause     error
}

// Error names the file, the operation, the last persisted event and, for a full disk, the remedy.
func (e *PoisonError) Error() string {
	advice := "the journal stays closed until a restart reads back what is on disk"
	if errors.Is(e.Cause, syscall.ENOSPC) || errors.Is(e.Cause, syscall.EDQUOT) {
		advice = "the disk that holds " + e.Dir + " is full: free space, then restart"
	}
	if errors.Is(e.Cause, ErrMoved) {
		advice = "the events before are where the directory was moved to: move it back, then restart"
	}
	return fmt.Sprintf("journal: poisoned: %s in %s failed: %v; events after %d are not "+
		"acknowledged; %s",
		e.Op, e.File, e.Cause, e.Persisted, advice)
}

// Unwrap returns ErrPoisoned and the cause.
func (e *PoisonError) Unwrap() []error { return []error{ErrPoisoned, e.Cause} }

// CorruptError reports the place at which the log or a snapshot is damaged. errors.Is finds
// ErrCorrupt.
type CorruptError struct {
	File   string         // full path
	Offset int64          // bytes from the start of the file; -1 if it concerns the file as a whole
	Good   durability.Seq // events up to here are intact; 0 if the file has none, or none is
	Why    string
	Backup bool   // the file is one of a backup
	Remedy string // instead of the usual one, from an owner whose events are not those of the journal
}

// Error names the file, the place, the intact events and the remedy.
func (e *CorruptError) Error() string {
	place := e.File
	if e.Offset >= 0 {
		place = fmt.Sprintf("%s at byte %d", e.File, e.Offset)
	}
	if e.Backup {
		return fmt.Sprintf("journal: damaged: %s: %s; this backup is damaged: use another one", place, e.Why)
	}
	if e.Remedy != "" {
		return fmt.Sprintf("journal: damaged: %s: %s; records up to %d are intact; nothing was changed: %s",
			place, e.Why,
			e.Good, e.Remedy)
	}
	if e.Good == 0 {
		return fmt.Sprintf("journal: damaged: %s: %s; nothing was changed: restore it from a backup of "+
			"this directory, or start with an empty directory if losing its events is acceptable", place,
			e.Why)
	}
	return fmt.Sprintf("journal: damaged: %s: %s; events up to %d are intact; nothing was "+
		"changed: restore the directory from a backup, or start with an empty directory "+
		"if losing these events is acceptable", place, e.Why, e.Good)
}

// Unwrap returns ErrCorrupt.
func (e *CorruptError) Unwrap() error { return ErrCorrupt }
