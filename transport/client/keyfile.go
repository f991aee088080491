package client

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// maxKeyFile is the largest size of a key file in bytes. One of WriteKey has 119.
const maxKeyFile = 64 << 10

const keyAdvice = "; `sluice client keygen FILE` makes a key"

// ReadKey reads a private key: Ed25519, PKCS #8 in PEM, as WriteKey writes it and `openssl genpkey
// -algorithm ed25519` does. Its errors name the file, what is wrong with it and the remedy.
//
// As with ssh, a file that belongs to the user of this process must not be accessible to its group
// or to others; otherwise the error matches ErrKeyExposed. A file of another user, such as a
// mounted secret, may be. On Windows permissions are not checked.
func ReadKey(path string) (ed25519.PrivateKey, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("client: private key: %w%s", err, keyAdvice)
	}
	if err != nil {
		return nil, fmt.Errorf("client: private key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("client: private key: %w", err)
	}
	if exposed(info) {
		return nil, fmt.Errorf("client: %w: %s has permissions %#o, so other users may use it; "+
			"chmod 600 %s", ErrKeyExposed, path, info.Mode().Perm(), path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, fmt.Errorf("client: private key: %w", err)
	}
	key, err := parseKey(text)
	if err != nil {
		return nil, fmt.Errorf("client: private key %s: %w%s", path, err, keyAdvice)
	}
	return key, nil
}

// ErrKeyExposed is the error of a key file that other users of this machine may read.
var ErrKeyExposed = errors.New("private key is not private")

func parseKey(text []byte) (ed25519.PrivateKey, error) {
	if len(text) > maxKeyFile {
		return nil, fmt.Errorf("it has more than %d bytes", maxKeyFile)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("it is not in PEM form (no -----BEGIN PRIVATE KEY-----)")
	}
	switch block.Type {
	case "PRIVATE KEY":
	case "PUBLIC KEY":
		return nil, errors.New("it is a public key; name the file of the private one")
	default:
		return nil, fmt.Errorf("its PEM block is of type %q, want an unencrypted PRIVATE KEY (PKCS #8)",
			block.Type)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("it is damaged: %w", err)
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("it is a key of type %T, want Ed25519", key)
	}
	return private, nil
}

// WriteKey writes a private key to a new file that only its owner may read. It never replaces a
// file, because an existing key may be the only one that a server knows.
func WriteKey(path string, key ed25519.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("client: private key: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("client: private key: %w; it is not replaced: name another file", err)
	}
	if err != nil {
		return fmt.Errorf("client: private key: %w", err)
	}
	err = pem.Encode(f, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("client: private key: %w", errors.Join(err, os.Remove(path)))
	}
	return nil
}

// GenerateKey makes a key, writes it as WriteKey does, and returns the public half for the
// authorized keys of a server.
func GenerateKey(path string) (ed25519.PublicKey, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("client: private key: %w", err)
	}
	if err := WriteKey(path, private); err != nil {
		return nil, err
	}
	return public, nil
}
