package cluster

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"sluice/actors/node/inspect"
	"sluice/durability/journal"
)

const membersFile = inspect.MembershipFile // in a data directory

// maxMembersFile is more than a membership file can have, in bytes.
const maxMembersFile = 64 << 10

// Init makes a data directory that of a member: it writes the membership file, durably or not at all.
// The directory is created if it is missing. One that has anything in it is refused, because it
// belongs to a single node, to another cluster, or to something else.
func Init(dir string, m Membership) error {
	return initWith(dir, &m, nil, func() error { return nil })
}

// initWith is Init, of a node that was added later if t is not nil. fill makes what is in the directory besides: it
// is that of a member once all is there.
func initWith(dir string, m *Membership, t *table, fill func() error) error {
	if err := m.Check(); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cluster: creating the data directory: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("cluster: data directory: %w", err)
	}
	var left []string // by an Init or a Join that was killed; the table can be that of another cluster
	for _, e := range entries {
		switch e.Name() {
		case "lost+found": // of the file system
		case membersFile + ".tmp", tableFile, tableFile + ".tmp":
			left = append(left, filepath.Join(dir, e.Name()))
		case membersFile:
			return fmt.Errorf("cluster: %s is the data directory of a member already; name an empty directory", dir)
		default:
			return fmt.Errorf("cluster: %s is not empty, it has %s; name an empty directory", dir, e.Name())
		}
	}
	for _, path := range left {
		if err := errors.Join(os.Remove(path), syncDirectory(dir)); err != nil {
			return fmt.Errorf("cluster: removing what a killed init or join left: %w", err)
		}
	}
	if err := fill(); err != nil {
		return err
	}
	if t != nil {
		if err := write(dir, tableFile, t.encode()); err != nil {
			return fmt.Errorf("cluster: writing the table of members: %w", err)
		}
	}
	if err := write(dir, membersFile, m.encode()); err != nil {
		return fmt.Errorf("cluster: writing the membership file: %w", err)
	}
	return nil
}

// write makes a file appear with all its bytes or not at all, including after a crash.
func write(dir, name string, data []byte) error {
	path := filepath.Join(dir, name)
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.Write(data)
		if err == nil {
			err = f.Sync()
		}
		err = errors.Join(err, f.Close())
	}
	if err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err != nil {
		return journal.Short(err, dir, name, max(int64(len(data)), 4<<10))
	}
	for _, path := range []string{dir, filepath.Dir(filepath.Clean(dir))} { // the file's name, the directory's name
		if err := syncDirectory(path); err != nil {
			return err
		}
	}
	return nil
}

// syncDirectory makes names in a directory durable.
func syncDirectory(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// IsMember reports whether a data directory is that of a member. One that is missing, or a file, is not.
func IsMember(dir string) (bool, error) {
	_, err := os.Lstat(filepath.Join(dir, membersFile))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return false, nil
	}
	return err == nil, err
}

// ReadMembership reads the membership file of a data directory. If there is none, the error is an
// os.ErrNotExist and names the remedy.
func ReadMembership(dir string) (*Membership, error) {
	path := filepath.Join(dir, membersFile)
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("cluster: %s is not the data directory of a member: make it one with sluice "+
			"cluster init, or mount its volume: %w", dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("cluster: membership file: %w", err)
	}
	defer f.Close()
	file, err := io.ReadAll(io.LimitReader(f, maxMembersFile))
	if err != nil {
		return nil, fmt.Errorf("cluster: membership file: %w", err)
	}
	m, err := decode(file)
	if err != nil {
		return nil, fmt.Errorf("cluster: membership file %s: %w", path, err)
	}
	return m, nil
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli()) }
