package journal

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
)

// Identity is 16 random bytes that name a directory or a log. Zero is none.
type Identity [16]byte

// String is the identity in 32 hexadecimal digits.
func (i Identity) String() string { return hex.EncodeToString(i[:]) }

func newIdentity() (i Identity) {
	rand.Read(i[:]) // never fails
	return i
}

// ErrForeign marks a file that belongs to another directory or log, see ForeignError.
var ErrForeign = errors.New("journal: file of another journal")

// ForeignError reports a file that belongs to another directory or log. It is intact, so it is not
// damage, and nothing was changed. errors.Is finds ErrForeign.
type ForeignError struct {
	File  string   // full path
	Kind  string   // "directory" or "log"
	Found Identity // the one that the file belongs to
	Want  Identity // the one that it was found in
}

// Error names the file, both identities and the remedy.
func (e *ForeignError) Error() string {
	return fmt.Sprintf("%v: %s belongs to %s %s, not to %s; nothing was changed: move it back to "+
		"where it came from, and restore the file that belongs here from a backup",
		ErrForeign, e.File, e.Kind, e.Found, e.Want)
}

// Unwrap returns ErrForeign.
func (e *ForeignError) Unwrap() error { return ErrForeign }

// formatVersion is the version of the directory layout and of the batch encoding.
const formatVersion = 2

// header is the line that FORMAT contains, and the metadata record at the head of each segment:
//
//	sluice journal 2 directory 8f0c...32 digits log 8f0c...32 digits
type header struct{ directory, log Identity }

func (h header) String() string {
	return fmt.Sprintf("%s%d directory %s log %s", formatPrefix, formatVersion, h.directory, h.log)
}

// parseHeader reads a header; false if it is none of this version.
func parseHeader(line string) (h header, ok bool) {
	var directory, log []byte
	n, err := fmt.Sscanf(line, formatPrefix+strconv.Itoa(formatVersion)+" directory %x log %x",
		&directory, &log)
	if n != 2 || err != nil || len(directory) != len(h.directory) || len(log) != len(h.log) {
		return header{}, false
	}
	h = header{Identity(directory), Identity(log)}
	return h, h.String() == line
}

// readFormat returns the header in the FORMAT file, and the zero one if there is no such file: the
// directory is not initialised yet.
func (d *directory) readFormat() (header, error) {
	text, err := os.ReadFile(d.file(formatFile))
	if errors.Is(err, os.ErrNotExist) {
		return header{}, nil
	}
	if err != nil {
		return header{}, fmt.Errorf("journal: reading the format: %w", err)
	}
	line, ended := strings.CutSuffix(string(text), "\n")
	if h, ok := parseHeader(line); ok && ended {
		return h, nil
	}
	number, found := strings.CutPrefix(line, formatPrefix)
	number, _, _ = strings.Cut(number, " ")
	version, err := strconv.Atoi(number)
	switch {
	case found && err == nil && version > formatVersion:
		return header{}, fmt.Errorf("%w: %s has format %d, this program reads format %d; use the "+
			"version that wrote it, or a later one", ErrNewerFormat, d.path, version, formatVersion)
	case found && err == nil && version == 1:
		return header{}, fmt.Errorf("%w: %s has format 1, this program reads format %d; a program "+
			"built from revision efff271 reads it, and nothing takes it over: choose an empty "+
			"directory", ErrOlderFormat, d.path, formatVersion)
	}
	return header{}, &CorruptError{File: d.file(formatFile), Offset: -1,
		Why: fmt.Sprintf("not a format line: %.100q", text)}
}

func (d *directory) writeFormat(h header) error {
	return writeFileDurably(d.file(formatFile), []byte(h.String()+"\n"))
}

// checkLog compares the log that the directory belongs to with the one that the caller expects.
func (d *directory) checkLog(h header, want Identity) error {
	if want == (Identity{}) || h.log == want {
		return nil
	}
	return &ForeignError{File: d.file(formatFile), Kind: "log", Found: h.log, Want: want}
}

// checkOwners rejects a segment that belongs to another directory. A segment without a readable
// header is not judged here, but by scan, and neither is one without a known owner.
func checkOwners(segments []segment, owner header) error {
	if owner == (header{}) {
		return nil
	}
	for _, s := range segments {
		h, ok, err := segmentHeader(s.path)
		if err != nil {
			return err
		}
		switch {
		case ok && h.directory != owner.directory:
			return &ForeignError{s.path, "directory", h.directory, owner.directory}
		case ok && h.log != owner.log:
			return &ForeignError{s.path, "log", h.log, owner.log}
		}
	}
	return nil
}

// segmentHeader reads the header of a segment; false if it is damaged.
func segmentHeader(path string) (h header, ok bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return h, false, fmt.Errorf("journal: opening a segment: %w", err)
	}
	defer f.Close()
	decoder, err := newDecoder(f)
	if err != nil {
		return h, false, err
	}
	record := &walpb.Record{}
	for n := 0; n < 2 && err == nil; n++ {
		if err = decoder.Decode(record); n == 0 && err == nil {
			decoder.UpdateCRC(record.GetCrc())
		}
	}
	var refused *os.PathError
	if errors.As(err, &refused) {
		return h, false, fmt.Errorf("journal: reading a segment: %w", err)
	}
	if err == nil && record.GetType() == wal.MetadataType {
		h, ok = parseHeader(string(record.GetData()))
	}
	return h, ok, nil
}
