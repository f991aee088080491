package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sluice/durability"
)

// ErrBackup marks a directory that is a backup. It can be verified and restored, not opened.
var ErrBackup = errors.New("journal: is a backup")

const (
	openTries    = 1000        // to open all files of a journal that is being purged
	copyTries    = 5           // of a backup, if the directory is opened or closed meanwhile
	unchangedFor = time.Second // after which bytes that cannot be read are not those of a write under way
)

// Copied describes a backup, or a directory that was restored from one.
type Copied struct {
	Directory   Identity       // of the directory; a backup has that of its source
	Source      Identity       // of the directory that was copied
	Log         Identity       // of the log
	First, Last durability.Seq // oldest and newest event; 0 and 0 if there are none
	Snapshot    durability.Seq // last event of the newest snapshot, 0 if there is none
	Bytes       int64          // of segments and snapshots
	Taken       time.Time      // when the backup began
	Notes       []string       // what was left out: damaged snapshots
}

// Backup copies the journal in dir to target, which must not exist, and verifies the copy. A process may
// have the journal open and write to it: everything that Writer.Commit returned before Backup began is in
// the copy. It takes no lock and needs only the right to read.
//
// It holds every file open while it copies, so the writer may remove segments meanwhile, at the price of
// a descriptor for each and of disk space until the end. target gets its name once everything is on
// disk; after an error nothing is left.
//
// Errors: those of Open that concern the contents of a directory, ErrBackup if dir is a backup, that of
// ctx, and those of the file system.
func Backup(ctx context.Context, dir, target string) (c Copied, err error) {
	source := &directory{path: dir}
	switch {
	case source.has(backupFile):
		return c, fmt.Errorf("%w: %s; copy it as any other directory", ErrBackup, dir)
	case !source.has(formatFile):
		return c, fmt.Errorf("journal: %s is not a journal: it has no %s file", dir, formatFile)
	}
	if err := Outside(dir, target); err != nil {
		return c, err
	}
	for try := 1; ; try++ {
		before, markErr := source.readIncarnation()
		s, err := stage(target)
		if err != nil {
			return c, err
		}
		b := &backup{ctx: ctx, source: source, to: &s.directory}
		if c, err = b.run(); err == nil {
			return c, s.commit()
		}
		err = errors.Join(err, s.discard())
		after, _ := source.readIncarnation()
		if markErr != nil || !after.reopened(before) || try == copyTries || ctx.Err() != nil {
			return c, err
		}
	}
}

// reopened reports whether the directory was opened or closed after it had the mark before. Until it is
// open, its newest segment may be shorter than a mark said.
func (i incarnation) reopened(before incarnation) bool {
	return i.number != before.number || i.state != before.state || i.least != before.least
}

// backup is one attempt to copy a directory.
type backup struct {
	ctx        context.Context
	source, to *directory
	snapshots  []snapshotFile // of the source
	segments   []segment      // of the source
	files      []*os.File     // of snapshots and segments
}

func (b *backup) run() (c Copied, err error) {
	c.Taken = time.Now().UTC().Truncate(time.Second)
	head, err := b.source.readFormat()
	if err != nil {
		return c, err
	}
	// A running server only adds to what the files said before, so each is read before those that must
	// not be behind it.
	mark, err := b.source.readIncarnation()
	if err == nil {
		err = b.open()
	}
	defer b.close()
	if err == nil {
		err = (&contents{segments: b.segments}).checkLength(mark.least)
	}
	if err == nil {
		err = b.room()
	}
	if err != nil {
		return c, err
	}
	x := findings{previous: mark}
	if mark.directory != head.directory {
		return c, &ForeignError{b.source.file(incarnationFile), "directory", mark.directory, head.directory}
	}
	if x.snapshots, err = b.copySnapshots(head.log, &c); err == nil {
		x.contents, err = b.copyLog(head)
	}
	if err == nil {
		err = mark.check(b.source.file(incarnationFile), &x.contents)
	}
	if err != nil {
		return c, b.named(err)
	}
	if err := b.cut(&x); err != nil {
		return c, err
	}
	if err := errors.Join(b.to.writeIncarnation(x.previous), b.to.writeFormat(head)); err != nil {
		return c, err
	}
	if err := x.agree(b.to); err != nil {
		return c, b.named(err)
	}
	c.describe(head, &x)
	return c, b.to.writeBackup(c)
}

// open opens all files of the source. A purge removes segments before snapshots, so the files belong
// together if none has vanished and the snapshots are still the same afterwards.
func (b *backup) open() error {
	for range openTries {
		again, err := b.tryOpen()
		if err != nil || !again {
			return err
		}
		b.close()
		if err := b.ctx.Err(); err != nil {
			return err
		}
	}
	return fmt.Errorf("journal: the files of %s change too quickly to be opened", b.source.path)
}

func (b *backup) tryOpen() (again bool, err error) {
	if b.snapshots, err = listSnapshots(b.source.snap()); err != nil {
		return false, err
	}
	if b.segments, err = listSegments(b.source.wal()); err != nil {
		return false, err
	}
	if len(b.segments) == 0 {
		return false, &CorruptError{File: b.source.wal(), Offset: -1, Why: "the log is missing"}
	}
	for _, path := range b.paths() {
		f, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			return true, nil
		}
		if err != nil {
			return false, fmt.Errorf("journal: %w", err)
		}
		b.files = append(b.files, f)
	}
	now, err := listSnapshots(b.source.snap())
	return !slices.Equal(now, b.snapshots), err
}

// room checks that the files have room on the disk of the copy. The newest segment is not counted: how
// much of it is used is not known yet.
func (b *backup) room() error {
	var needed int64
	for _, f := range b.files[:len(b.files)-1] {
		if info, err := f.Stat(); err == nil {
			needed += info.Size()
		}
	}
	if err := room(b.to.path, "the backup", needed); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// paths returns the names of the files, in their order.
func (b *backup) paths() (paths []string) {
	for _, s := range b.snapshots {
		paths = append(paths, s.path)
	}
	for _, s := range b.segments {
		paths = append(paths, s.path)
	}
	return paths
}

func (b *backup) close() {
	for _, f := range b.files {
		f.Close() // read only
	}
	b.files = nil
}

// copySnapshots copies the snapshots and leaves out the damaged ones.
func (b *backup) copySnapshots(owner Identity, c *Copied) (intact []snapshotFound, err error) {
	for i, s := range b.snapshots {
		if _, err := b.copyFile(b.files[i], snapshotPath(b.to.snap(), s.seq), 0); err != nil {
			return nil, err
		}
	}
	all, err := readSnapshots(b.to.snap(), owner)
	for _, s := range all {
		if !s.damaged {
			intact = append(intact, s)
			continue
		}
		c.Notes = append(c.Notes, fmt.Sprintf("snapshot %s is damaged and was left out",
			snapshotPath(b.source.snap(), s.seq)))
		if err := os.Remove(s.path); err != nil {
			return nil, fmt.Errorf("journal: leaving out a damaged snapshot: %w", err)
		}
	}
	return intact, err
}

// copyLog copies the segments and verifies the copy. A write that is under way in the newest segment may
// be copied in part, in any order of its pages, and so look like damage. It was not acknowledged when
// the backup began, and what was is before it. So its place is copied again until it can be read, or
// has not changed for a while, which is damage.
func (b *backup) copyLog(head header) (contents, error) {
	var copied []segment
	files := b.files[len(b.snapshots):]
	for i, s := range b.segments {
		s.path = filepath.Join(b.to.wal(), filepath.Base(s.path))
		if _, err := b.copyFile(files[i], s.path, 0); err != nil {
			return contents{}, err
		}
		copied = append(copied, s)
	}
	if err := checkOwners(copied, head); err != nil {
		return contents{}, err
	}
	newest := len(copied) - 1
	for changed := time.Now(); ; time.Sleep(time.Millisecond) {
		found, err := scan(copied, nil)
		var damage *CorruptError
		if !errors.As(err, &damage) || damage.File != copied[newest].path || damage.Offset < 0 ||
			time.Since(changed) > unchangedFor {
			return found, err
		}
		differs, err := b.copyFile(files[newest], copied[newest].path, damage.Offset)
		if err != nil {
			return found, err
		}
		if differs {
			changed = time.Now()
		}
	}
}

// cut ends the copy's newest segment after its last whole record, syncs all segments, and makes the end
// mark of the copy.
func (b *backup) cut(x *findings) error {
	newest := x.segments[len(x.segments)-1]
	if err := os.Truncate(newest.path, x.end); err != nil {
		return fmt.Errorf("journal: cutting the copy after its last event: %w", err)
	}
	x.torn = nil
	m := &x.previous
	m.least, m.segment, m.last, m.state = x.end, newest.number, x.last, closedInOrder
	return syncFile(newest.path)
}

// copyFile copies what follows offset, without the zeroes, to the file at path, and syncs it. It reports
// whether something differed there.
func (b *backup) copyFile(from *os.File, path string, offset int64) (differs bool, err error) {
	to, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, privateFile)
	if err != nil {
		return false, fmt.Errorf("journal: copying: %w", err)
	}
	info, err := from.Stat()
	if err != nil {
		return false, errors.Join(fmt.Errorf("journal: copying: %w", err), to.Close())
	}
	if err = to.Truncate(info.Size()); err == nil {
		differs, err = b.copyRange(from, to, offset, info.Size())
	}
	if err == nil {
		err = to.Sync()
	}
	if err = errors.Join(err, to.Close()); err != nil {
		err = Short(err, b.to.path, "the copy of "+from.Name(), info.Size())
		return false, fmt.Errorf("journal: copying %s: %w", from.Name(), err)
	}
	return differs, nil
}

func (b *backup) copyRange(from, to *os.File, offset, end int64) (differs bool, err error) {
	chunk, old := make([]byte, 256<<10), make([]byte, 256<<10)
	for offset < end && err == nil {
		n, readErr := from.ReadAt(chunk[:min(int64(len(chunk)), end-offset)], offset)
		switch {
		case n == 0 && errors.Is(readErr, io.EOF): // its writer has cut the unused part off
			return differs, nil
		case n == 0:
			return differs, readErr
		}
		if _, err = to.ReadAt(old[:n], offset); err == nil && !bytes.Equal(old[:n], chunk[:n]) {
			differs = true
			_, err = to.WriteAt(chunk[:n], offset)
		}
		offset += int64(n)
		err = errors.Join(err, b.ctx.Err())
	}
	return differs, err
}

// named has an error name the file of the source, not that of the copy.
func (b *backup) named(err error) error {
	var damage *CorruptError
	if errors.As(err, &damage) {
		if name, ok := strings.CutPrefix(damage.File, b.to.path); ok {
			damage.File = b.source.path + name
		}
	}
	var foreign *ForeignError
	if errors.As(err, &foreign) {
		if name, ok := strings.CutPrefix(foreign.File, b.to.path); ok {
			foreign.File = b.source.path + name
		}
	}
	return err
}

// describe fills in what the copy has.
func (c *Copied) describe(head header, x *findings) {
	c.Directory, c.Source, c.Log = head.directory, head.directory, head.log
	c.First, c.Last, c.Snapshot = x.first, x.last, x.chosen.seq
	for _, s := range x.snapshots {
		c.Bytes += s.bytes
	}
	for _, s := range x.segments {
		if info, err := os.Stat(s.path); err == nil {
			c.Bytes += info.Size()
		}
	}
}
