package listen

import (
	"bufio"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"sluice/transport/secure"
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

// Keyring is the set of authorized identities. It is immutable, so any goroutine may read it.
type Keyring struct {
	keys  map[[ed25519.PublicKeySize]byte]*Identity
	certs map[secure.Fingerprint]*Identity
	prove map[Fingerprint]*Identity
	names map[string]*Identity
	lines []*Identity // in the order of the file
}

// Len is the number of keys. All methods take a nil Keyring as one without keys.
func (k *Keyring) Len() int { return len(k.All()) }

// All returns the identities in the order of the file. The slice is shared.
func (k *Keyring) All() []*Identity {
	if k == nil {
		return nil
	}
	return k.lines
}

// Find returns the identity of a fingerprint, whether it has expired or not; nil if there is none.
func (k *Keyring) Find(key Fingerprint) *Identity {
	if k == nil {
		return nil
	}
	return k.prove[key]
}

// Named returns the identity that has a name, or a fingerprint in hexadecimal; nil if there is none.
func (k *Keyring) Named(name string) *Identity {
	if k == nil {
		return nil
	}
	if id := k.names[name]; id != nil {
		return id
	}
	at := slices.IndexFunc(k.lines, func(id *Identity) bool { return id.Key.String() == name })
	if at < 0 {
		return nil
	}
	return k.lines[at]
}

// lookup finds the identity of a public key, which must have exactly ed25519.PublicKeySize bytes; nil if
// there is none.
func (k *Keyring) lookup(public []byte) *Identity {
	return k.keys[[ed25519.PublicKeySize]byte(public)]
}

// Certified finds the identity of a certificate that its owner has proved; nil if there is none, or it is not
// valid now.
func (k *Keyring) Certified(c *x509.Certificate, now time.Time) *Identity {
	if k == nil || c == nil || now.Before(c.NotBefore) || now.After(c.NotAfter) {
		return nil
	}
	return k.certs[secure.FingerprintOf(c)]
}

// Changes are the differences between two keyrings, each as text that names the key.
type Changes struct{ Added, Removed, Changed []string }

// Since returns what is different from an earlier keyring.
func (k *Keyring) Since(earlier *Keyring) (c Changes) {
	for _, id := range k.All() {
		before := earlier.Find(id.Key)
		if before == nil {
			c.Added = append(c.Added, id.String())
		} else if d := before.differences(id); d != "" {
			c.Changed = append(c.Changed, fmt.Sprintf("%s (%s)", id, d))
		}
	}
	for _, id := range earlier.All() {
		if k.Find(id.Key) == nil {
			c.Removed = append(c.Removed, id.String())
		}
	}
	return c
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

// ParseKeys reads lines of the form `role base64(public key) [option=value ...] # comment`, see
// Identity and docs/wire.md. Blank lines are skipped. A duplicate key is an error, because its rights
// could differ; so is a duplicate name. A file without a key is an error, because no client could
// connect. name is the name of the source in errors.
func ParseKeys(name string, r io.Reader) (*Keyring, error) {
	ring := &Keyring{certs: map[secure.Fingerprint]*Identity{},
		keys: map[[ed25519.PublicKeySize]byte]*Identity{}, prove: map[Fingerprint]*Identity{},
		names: map[string]*Identity{}}
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
	if len(ring.lines) == 0 {
		return nil, fmt.Errorf("listen: %s: no key in it, so no client could connect; add a line "+
			"`role base64key # comment`", name)
	}
	return ring, nil
}

func (k *Keyring) addLine(line string) error {
	id, public, err := ParseKeyLine(line)
	if id == nil || err != nil {
		return err
	}
	key, isKey := [ed25519.PublicKeySize]byte(public), id.Certificate == (secure.Fingerprint{})
	switch {
	case isKey && k.keys[key] != nil, !isKey && k.certs[id.Certificate] != nil:
		return fmt.Errorf("key %q appears twice", strings.Fields(line)[1])
	case k.prove[id.Key] != nil:
		return fmt.Errorf("key %q has the fingerprint of another one", strings.Fields(line)[1])
	case id.Name != "" && k.names[id.Name] != nil:
		return fmt.Errorf("name %q appears twice", id.Name)
	}
	if k.prove[id.Key] = id; isKey {
		k.keys[key] = id
	} else {
		k.certs[id.Certificate] = id
	}
	if id.Name != "" {
		k.names[id.Name] = id
	}
	k.lines = append(k.lines, id)
	return nil
}

// FingerprintOf returns the fingerprint of a public key.
func FingerprintOf(public ed25519.PublicKey) Fingerprint {
	sum := sha256.Sum256(public)
	return Fingerprint(sum[:len(Fingerprint{})])
}
