package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A file beside the journal, which belongs to it, begins with a line that has the identity of the
// directory and a checksum of that and of what follows:
//
//	sluice directory 8f0c...32 digits 1badf00d
const ownerPrefix = "sluice directory "

// AppendOwned appends the content of a file beside the journal, behind the line that ties it to a
// directory. ReadOwned reads it.
func AppendOwned(dst []byte, directory Identity, content []byte) []byte {
	dst = append(dst, ownerLine(directory, content)...)
	return append(dst, content...)
}

func ownerLine(directory Identity, content []byte) string {
	sum := checksum(append(directory[:], content...))
	return fmt.Sprintf("%s%s %08x\n", ownerPrefix, directory, sum)
}

// ReadOwned reads the content of a file that AppendOwned wrote. Errors: os.ErrNotExist, a ForeignError
// if the file belongs to another directory, a CorruptError if it was changed.
func ReadOwned(path string, directory Identity) (content []byte, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	line, rest, _ := strings.Cut(string(text), "\n")
	var found []byte
	var sum uint32
	if _, err := fmt.Sscanf(line, ownerPrefix+"%x %x", &found, &sum); err != nil ||
		len(found) != len(directory) {
		return nil, &CorruptError{File: path, Offset: -1, Why: fmt.Sprintf("it does not begin with the "+
			"identity of a directory: %.80q", line)}
	}
	id := Identity(found)
	if line+"\n" != ownerLine(id, []byte(rest)) {
		return nil, &CorruptError{File: path, Offset: -1, Why: "its checksum is wrong"}
	}
	if id != directory {
		return nil, &ForeignError{File: path, Kind: "directory", Found: id, Want: directory}
	}
	return []byte(rest), nil
}

// Exists reports whether dir holds a journal that was completely created.
func Exists(dir string) (bool, error) {
	_, err := os.Lstat(filepath.Join(dir, formatFile))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("journal: %w", err)
	}
	return true, nil
}
