//go:build unix

package client

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKeyFileThatOthersMayReadIsRejected(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if _, err := GenerateKey(path); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[os.FileMode]bool{
		0o600: true, 0o400: true, 0o640: false, 0o604: false, 0o660: false, 0o601: false,
	} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		switch _, err := ReadKey(path); {
		case want && err != nil:
			t.Errorf("mode %#o: %v", mode, err)
		case !want && (!errors.Is(err, ErrKeyExposed) ||
			!strings.Contains(err.Error(), "chmod 600 "+path)):
			t.Errorf("mode %#o: %v", mode, err)
		}
	}
}

func TestKeyFileOfAnotherUserMayBeReadable(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give a file to another user")
	}
	path := filepath.Join(t.TempDir(), "key")
	if _, err := GenerateKey(path); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(path, 0o644), os.Chown(path, 65534, -1)); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadKey(path); err != nil {
		t.Error(err)
	}
}
