package journal

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"sluice/durability"
)

// A backup is a copy of a journal's directory whose end mark says that it was closed after the last
// event, with one file more, BACKUP:
//
//	sluice backup 1 directory 8f0c... events 1 to 4711 snapshot 4096 taken 2026-11-28T21:53:48Z 1badf00d
//
// Open refuses it, because two servers could then continue one log, and Restore makes a directory with
// an identity of its own from it.
const (
	backupFile   = "BACKUP"
	backupFormat = "sluice backup 1 directory %s events %d to %d snapshot %d taken %s"
)

func (c Copied) backupLine() string {
	text := fmt.Sprintf(backupFormat, c.Directory, c.First, c.Last, c.Snapshot, c.Taken.Format(time.RFC3339))
	return fmt.Sprintf("%s %08x\n", text, checksum([]byte(text)))
}

func (d *directory) writeBackup(c Copied) error {
	return writeFileDurably(d.file(backupFile), []byte(c.backupLine()))
}

// readBackup returns what the BACKUP file says.
func (d *directory) readBackup() (c Copied, err error) {
	text, err := os.ReadFile(d.file(backupFile))
	if errors.Is(err, os.ErrNotExist) {
		return c, fmt.Errorf("journal: %s is not a complete backup: it has no %s file; take a backup of it, "+
			"also if it is a copy that was made by other means, and restore that", d.path, backupFile)
	}
	if err != nil {
		return c, fmt.Errorf("journal: reading the backup: %w", err)
	}
	var owner []byte
	var taken string
	_, err = fmt.Sscanf(string(text), strings.Replace(backupFormat, "%s", "%x", 1), &owner, &c.First,
		&c.Last, &c.Snapshot, &taken)
	if err == nil && len(owner) == len(c.Directory) {
		c.Directory = Identity(owner)
		c.Taken, err = time.Parse(time.RFC3339, taken)
	}
	if err != nil || string(text) != c.backupLine() {
		return c, &CorruptError{File: d.file(backupFile), Offset: -1,
			Why: fmt.Sprintf("not the description of a backup: %.120q", text)}
	}
	return c, nil
}

// examineBackup verifies a backup: as a directory that Open would read, and against its BACKUP file.
func examineBackup(d *directory) (manifest Copied, head header, x findings, err error) {
	if manifest, err = d.readBackup(); err == nil {
		head, err = d.readFormat()
	}
	if err == nil {
		x, err = examine(d, head)
	}
	if err == nil {
		err = manifest.compare(d, head, &x)
	}
	var damage *CorruptError
	if errors.As(err, &damage) {
		damage.Backup = true
	}
	return manifest, head, x, err
}

// compare returns an error if a backup does not have what its BACKUP file says. A damaged snapshot is
// accepted: examine found that an older one and the log have every event.
func (c *Copied) compare(d *directory, head header, x *findings) error {
	newest := durability.Seq(0)
	if len(x.snapshots) > 0 {
		newest = x.snapshots[0].seq
	}
	switch {
	case c.Directory != head.directory:
		return &ForeignError{d.file(backupFile), "directory", c.Directory, head.directory}
	case c.First != x.first || c.Last != x.last || x.previous.state != closedInOrder || newest < c.Snapshot:
		return &CorruptError{File: d.path, Offset: -1, Good: x.last, Why: fmt.Sprintf("the backup had "+
			"events %d to %d and a snapshot of event %d, now it has %d to %d and %d", c.First, c.Last,
			c.Snapshot, x.first, x.last, newest)}
	}
	return nil
}
