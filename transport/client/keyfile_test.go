package client

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKeyFileIsReadBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	public, err := GenerateKey(path)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ReadKey(path)
	if err != nil || !key.Public().(ed25519.PublicKey).Equal(public) {
		t.Fatalf("%v, error %v", key, err)
	}
	if _, err := GenerateKey(path); !errors.Is(err, os.ErrExist) {
		t.Errorf("an existing key was replaced: %v", err)
	}
	if again, err := ReadKey(path); err != nil || !again.Equal(key) {
		t.Errorf("the existing key changed: %v", err)
	}
}

func TestKeyFileErrorsNameFileCauseAndRemedy(t *testing.T) {
	dir := t.TempDir()
	encoded := func(kind string, der []byte, err error) []byte {
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	public, private, _ := ed25519.GenerateKey(rand.Reader)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	otherDER, otherErr := x509.MarshalPKCS8PrivateKey(other)
	publicDER, publicErr := x509.MarshalPKIXPublicKey(public)
	good, goodErr := x509.MarshalPKCS8PrivateKey(private)
	for name, v := range map[string]struct {
		text []byte
		want string
	}{
		"empty":     {nil, "not in PEM form"},
		"public":    {encoded("PUBLIC KEY", publicDER, publicErr), "it is a public key"},
		"encrypted": {encoded("ENCRYPTED PRIVATE KEY", []byte("x"), nil), `type "ENCRYPTED PRIVATE KEY"`},
		"other":     {encoded("PRIVATE KEY", otherDER, otherErr), "*ecdsa.PrivateKey, want Ed25519"},
		"cut":       {encoded("PRIVATE KEY", good[:len(good)-3], goodErr), "it is damaged"},
		"large":     {make([]byte, maxKeyFile+1), "more than 65536 bytes"},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, v.text, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := ReadKey(path)
		if err == nil || !strings.Contains(err.Error(), v.want) || !strings.Contains(err.Error(), path) ||
			!strings.Contains(err.Error(), "keygen") {
			t.Errorf("%s: %v, want %q", name, err, v.want)
		}
	}
	if _, err := ReadKey(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) ||
		!strings.Contains(err.Error(), "keygen") {
		t.Error(err)
	}
	if _, err := ReadKey(dir); err == nil || !strings.Contains(err.Error(), dir) {
		t.Error(err)
	}
}
