package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"strings"

	"sluice/cmd/internal/config"
	"sluice/transport/listen"
)

// keygen makes a private key and prints the line that authorizes it.
func keygen(e *env, words []string) error {
	if len(words) == 0 {
		return config.Usagef("keygen: name the file for the private key")
	}
	role := listen.Trader
	if len(words) > 1 {
		var err error
		if role, err = listen.ParseRole(words[1]); err != nil {
			return config.Usagef("keygen: ROLE is %q; write operator, trader or readonly", words[1])
		}
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("keygen: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return fmt.Errorf("keygen: %w", err)
	}
	// An existing key is never replaced, because it may be the only one that a server knows.
	f, err := os.OpenFile(words[0], os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("keygen: %w", err)
	}
	err = pem.Encode(f, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("keygen: %w", err)
	}
	fmt.Fprintf(e.stderr,
		"the private key is in %s; keep it secret. Add this line to the authorized keys of the "+
			"server:\n", words[0])
	comment := ""
	if len(words) > 2 {
		comment = strings.Join(words[2:], " ")
	}
	_, err = e.stdout.Write(listen.AppendKeyLine(nil, role, public, comment))
	return err
}

// readKey reads a private key as written by keygen: PKCS #8 in PEM.
func readKey(path string) (ed25519.PrivateKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the private key: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s is not a private key in PEM form; make one with `sluice "+
			"client keygen FILE`", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	private, ok := key.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, fmt.Errorf("%s has no Ed25519 private key; make one with `sluice client keygen FILE`", path)
	}
	return private, nil
}
