package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"sluice/actors/node/observe"
	"sluice/cmd/internal/config"
	"sluice/transport/listen"
	"sluice/transport/secure"
)

const keysHead = `usage: sluice keys [flags] COMMAND

  list                       list the authorized keys
  add ROLE KEY [OPTION ...]  authorize a key: operator, trader or readonly, the public key in base64, and
                             options such as name=desk4 accounts=7,100-199 expires=2027-01-31, then
                             '# COMMENT'; "add -" reads such a line, which client keygen prints, from
                             standard input
  add --cert FILE ROLE [OPTION ...]
                             authorize the clients that show the certificate in this PEM file over TLS
  revoke KEY                 remove a key, by its name, its fingerprint or the public key

add and revoke edit the file of --authorized-keys: other lines and its mode stay, and a result that the
server would reject is not written. With --admin-socket, or --address and --key, the server then puts it
in force and closes the connections of keys that may do less than before.

Exit codes: 0 done, 1 failed, 64 usage error.`

// manageKeys is `sluice keys`.
func manageKeys(e *env, args []string) error {
	c, file, cert := newAdminConfig(), "", ""
	set := config.NewSet("", append([]config.Setting{adminFlag("authorized-keys", config.Text(&file, "FILE"),
		"edit this file, the --authorized-keys of the server"), adminFlag("cert", config.Text(&cert, "FILE"),
		"authorize the certificate in this PEM file, in place of a key")}, c.endpoints()...)...)
	words, done, err := load(e, set, args, keysHead)
	if done || err != nil {
		return err
	}
	e.json = c.JSON
	switch {
	case len(words) == 0:
		return config.Usagef("name a command: list, add or revoke")
	case file == "":
		return config.Usagef("name the keys file with --authorized-keys")
	case words[0] == "list" && len(words) == 1:
		return c.listKeys(file, e.stdout)
	case words[0] == "add" && len(words) > 1:
		if cert != "" {
			leaf, err := secure.ReadCertificate(cert)
			if err != nil {
				return fmt.Errorf("keys add: %w", err)
			}
			words = slices.Insert(words, 2, "cert:"+secure.FingerprintOf(leaf).String())
		}
		line := strings.Join(words[1:], " ")
		if line == "-" {
			text, err := io.ReadAll(io.LimitReader(e.stdin, 1<<16))
			if err != nil {
				return fmt.Errorf("keys add: standard input: %w", err)
			}
			line = strings.TrimSpace(string(text))
		}
		err = editKeys(file, func(text []byte) ([]byte, error) { return addKey(text, line) })
	case words[0] == "revoke" && len(words) == 2:
		err = editKeys(file, func(text []byte) ([]byte, error) { return revokeKey(text, words[1]) })
	default:
		return config.Usagef("keys: got %q; write list, add ROLE KEY [OPTION ...], or revoke KEY", words)
	}
	if err != nil {
		return err
	}
	return c.reloadKeys(e, set)
}

// reloadKeys has the server put the file in force, if one is named.
func (c *adminConfig) reloadKeys(e *env, set *config.Set) error {
	if c.Socket == "" && c.Addr == "" {
		fmt.Fprintln(e.stderr, "the file is written; a running server reads it after `sluice admin reload` or SIGHUP")
		return nil
	}
	api, err := c.client(set)
	if err != nil {
		return err
	}
	err = c.carryOut(api, c.change(func(ctx context.Context, client *observe.Client) (string, error) {
		return client.Reload(ctx)
	}), e.stdout)
	if err != nil {
		return fmt.Errorf("the file is written, and the server has not put it in force: %w", err)
	}
	return nil
}

// listKeys prints the keys of a file.
func (c *adminConfig) listKeys(file string, w io.Writer) error {
	ring, err := listen.ReadKeys(file)
	if err != nil {
		return err
	}
	page := &observe.Keys{Keys: []observe.Key{}}
	for _, id := range ring.All() {
		page.Keys = append(page.Keys, observe.KeyOf(id, time.Now()))
	}
	if c.JSON {
		return c.write(w, page)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, k := range page.Keys {
		state := ""
		if k.Expired {
			state = "(expired)"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", k.Role, k.Key, k.Options, state)
	}
	return t.Flush()
}

// addKey appends a line.
func addKey(text []byte, line string) ([]byte, error) {
	id, _, err := listen.ParseKeyLine(line)
	switch {
	case err != nil:
		return nil, fmt.Errorf("keys add: %w", err)
	case id == nil || strings.ContainsAny(line, "\r\n"):
		return nil, config.Usagef("keys add: %q is no line with one key", line)
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	return append(append(text, line...), '\n'), nil
}

// revokeKey removes the line of a key.
func revokeKey(text []byte, key string) ([]byte, error) {
	var rest []byte
	found := false
	for i, line := range bytes.SplitAfter(text, []byte("\n")) {
		content := line
		if i == 0 {
			content = bytes.TrimPrefix(line, []byte("\uFEFF"))
		}
		id, public, err := listen.ParseKeyLine(strings.TrimRight(string(content), "\r\n"))
		if err != nil {
			return nil, fmt.Errorf("keys revoke: line %d: %w", i+1, err)
		}
		if id != nil && (key == id.Name || key == id.Key.String() || key == base64.StdEncoding.EncodeToString(public) ||
			key == "cert:"+id.Certificate.String()) {
			found = true
			rest = append(rest, line[:len(line)-len(content)]...)
			continue
		}
		rest = append(rest, line...)
	}
	if !found {
		return nil, fmt.Errorf("keys revoke: no key has the name or fingerprint %q", key)
	}
	return rest, nil
}

// editKeys replaces the content of a keys file. A crash leaves the old file or the new one. Of two that
// edit at the same time, one fails.
func editKeys(file string, edit func(text []byte) ([]byte, error)) (err error) {
	if to, err := filepath.EvalSymlinks(file); err == nil {
		file = to // the file that the link names is replaced, not the link
	}
	mode := os.FileMode(0o600)
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return fmt.Errorf("keys: %w", err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("keys: %s is not a regular file (%s)", file, info.Mode())
	default:
		mode = info.Mode().Perm()
	}
	next := filepath.Join(filepath.Dir(file), "."+filepath.Base(file)+".new")
	out, err := os.OpenFile(next, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("keys: %s exists: another command edits the keys, or has crashed; if none "+
			"runs, remove it", next)
	}
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	defer func() {
		if err != nil {
			os.Remove(next)
		}
	}()
	defer out.Close()
	text, err := os.ReadFile(file) // only now: no other command edits
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("keys: %w", err)
	}
	if text, err = edit(text); err != nil {
		return err
	}
	if _, err := out.Write(text); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	if err := keepOwner(out, info); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	if err := errors.Join(out.Chmod(mode), out.Sync()); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	if mode&0o022 != 0 {
		return fmt.Errorf("keys: other users may write %s (mode %v), so the server would reject it; run "+
			"chmod go-w on it", file, mode)
	}
	if _, err := listen.ParseKeys(file, bytes.NewReader(text)); err != nil {
		return fmt.Errorf("keys: the server would reject the result, so nothing is changed: %w", err)
	}
	if err := os.Rename(next, file); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	return syncDir(filepath.Dir(file))
}

// syncDir makes a rename durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("keys: the file is written, and may be lost if the power fails: %w", err)
	}
	defer d.Close()
	_ = d.Sync() // not every platform can; the rename is done
	return nil
}
