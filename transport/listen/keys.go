package listen

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
)

// Role is the rights of a client. The listener only carries it; the application checks requests
// against it.
type Role uint8

// Roles. The numbers are stored in journals and never change.
const (
	Readonly Role = 1
	Trader   Role = 2
	Operator Role = 3
)

// String returns the role's name as in the authorized-keys file.
func (r Role) String() string {
	switch r {
	case Readonly:
		return "readonly"
	case Trader:
		return "trader"
	case Operator:
		return "operator"
	}
	return fmt.Sprintf("role %d", uint8(r))
}

// ParseRole is the inverse of Role.String.
func ParseRole(text string) (Role, error) {
	for r := Readonly; r <= Operator; r++ {
		if r.String() == text {
			return r, nil
		}
	}
	return 0, fmt.Errorf("unknown role %q: want operator, trader or readonly", text)
}

// maxKeyLine is the maximum line length of an authorized-keys file, in bytes.
const maxKeyLine = 4096

// Keyring is the set of authorized public keys. It is immutable, so any goroutine may read it.
type Keyring struct {
	keys map[[ed25519.PublicKeySize]byte]authorized
}

type authorized struct {
	role Role
	key  Fingerprint
}

// Len is the number of keys.
func (k *Keyring) Len() int { return len(k.keys) }

// lookup finds a key; public must have exactly ed25519.PublicKeySize bytes.
func (k *Keyring) lookup(public []byte) (authorized, bool) {
	a, ok := k.keys[[ed25519.PublicKeySize]byte(public)]
	return a, ok
}

// ReadKeys reads an authorized-keys file. Its errors name the file and the line. As in sshd, a file
// that its group or others may write is an error: whoever writes it decides who has which role.
func ReadKeys(path string) (*Keyring, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("listen: authorized keys: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("listen: authorized keys: %w", err)
	}
	if m := info.Mode(); m.IsRegular() && m.Perm()&0o022 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("listen: authorized keys: other users may write %s (mode %v), and so "+
			"give themselves any role; run chmod go-w on it", path, m.Perm())
	}
	return ParseKeys(path, f)
}

// ParseKeys reads lines of the form `role base64(public key) comment`. `#` starts a comment, and
// blank lines are skipped. A duplicate key is an error, because its roles could differ. A file
// without a key is an error, because no client could connect. name is the name of the source in
// errors.
func ParseKeys(name string, r io.Reader) (*Keyring, error) {
	ring := &Keyring{keys: map[[ed25519.PublicKeySize]byte]authorized{}}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, maxKeyLine), maxKeyLine)
	number := 0
	for lines.Scan() {
		number++
		line := lines.Text()
		if number == 1 {
			line = strings.TrimPrefix(line, "\uFEFF") // some editors begin a file with a byte order mark
		}
		if err := ring.addLine(line); err != nil {
			return nil, fmt.Errorf("listen: %s:%d: %w", name, number, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("listen: %s:%d: %w", name, number+1, err)
	}
	if len(ring.keys) == 0 {
		return nil, fmt.Errorf("listen: %s: no key in it, so no client could connect; add a line "+
			"`role base64key comment`", name)
	}
	return ring, nil
}

func (k *Keyring) addLine(line string) error {
	line, _, _ = strings.Cut(line, "#")
	fields := strings.Fields(line)
	if len(fields) == 0 {
		return nil
	}
	role, err := ParseRole(fields[0])
	if err != nil {
		return err
	}
	if len(fields) < 2 {
		return fmt.Errorf("role %q without a key: want `role base64key comment`", fields[0])
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(fields[1])
	if err != nil {
		return fmt.Errorf("key %q is not base64: %w", fields[1], err)
	}
	if len(raw) != ed25519.PublicKeySize {
		return fmt.Errorf("key has %d bytes, want %d", len(raw), ed25519.PublicKeySize)
	}
	key := [ed25519.PublicKeySize]byte(raw)
	if _, ok := k.keys[key]; ok {
		return fmt.Errorf("key %q appears twice", fields[1])
	}
	k.keys[key] = authorized{role: role, key: FingerprintOf(raw)}
	return nil
}

// FingerprintOf returns the fingerprint of a public key.
func FingerprintOf(public ed25519.PublicKey) Fingerprint {
	sum := sha256.Sum256(public)
	return Fingerprint(sum[:len(Fingerprint{})])
}

// AppendKeyLine appends the line that authorizes a key, with its newline. Line breaks and # in the
// comment become spaces.
func AppendKeyLine(dst []byte, role Role, public ed25519.PublicKey, comment string) []byte {
	dst = append(dst, role.String()...)
	dst = append(dst, ' ')
	dst = base64.StdEncoding.AppendEncode(dst, public)
	if comment != "" {
		dst = append(dst, ' ')
		dst = append(dst, bytes.Map(commentRune, []byte(comment))...)
	}
	return append(dst, '\n')
}

func commentRune(r rune) rune {
	if r == '\n' || r == '\r' || r == '#' {
		return ' '
	}
	return r
}
