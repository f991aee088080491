package main

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// keyLine is a line with a key.
func keyLine(n byte, rest string) string {
	key := make([]byte, 32)
	key[0] = n
	return strings.TrimSpace("trader "+base64.StdEncoding.EncodeToString(key)+" "+rest) + "\n"
}

// An edit changes the line that it names and nothing else, and keeps mode, links, comments and line ends.
func TestKeysEditOneLine(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "keys"), filepath.Join(dir, "link")
	before := "\uFEFF" + strings.TrimSuffix(keyLine(1, "name=anna # first"), "\n") + "\r\n\n# desks\n" +
		keyLine(2, "name=ben accounts=2") + "# end"
	if err := os.WriteFile(file, []byte(before), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("keys", link); err != nil {
		t.Fatal(err)
	}
	added := keyLine(3, "name=carl accounts=7,100-199 # Carl")
	for _, v := range []struct {
		words []string
		stdin string
		want  string
	}{
		{strings.Fields("add " + added), "", before + "\n" + added},
		{[]string{"revoke", "carl"}, "", before + "\n"},
		{[]string{"add", "-"}, added, before + "\n" + added},
		{[]string{"revoke", strings.Fields(added)[1]}, "", before + "\n"},
		{[]string{"revoke", "ben"}, "", strings.Replace(before, keyLine(2, "name=ben accounts=2"), "", 1) + "\n"},
		{strings.Fields("add " + keyLine(2, "")), "",
			strings.Replace(before, keyLine(2, "name=ben accounts=2"), "", 1) + "\n" + keyLine(2, "")},
		{[]string{"revoke", "anna"}, "", "\uFEFF\n# desks\n# end\n" + keyLine(2, "")},
	} {
		var problems strings.Builder
		e := &env{stdin: strings.NewReader(v.stdin), stdout: &problems, stderr: &problems}
		if code := run(e, append([]string{"keys", "--authorized-keys", link}, v.words...)); code != exitOK {
			t.Fatalf("%q: exit code %d: %s", v.words, code, &problems)
		}
		text, err := os.ReadFile(file)
		if err != nil || string(text) != v.want {
			t.Errorf("%q: the file is\n%q, want\n%q (%v)", v.words, text, v.want, err)
		}
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o640 {
			t.Errorf("%q: mode %v, %v", v.words, info.Mode(), err)
		}
		if to, err := os.Readlink(link); to != "keys" {
			t.Errorf("%q: the link is %q, %v", v.words, to, err)
		}
	}
}

// What the server would reject is not written.
func TestKeysRejectedByServerAreNotWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys")
	good := keyLine(1, "name=anna")
	for _, v := range []struct {
		name, text string
		mode       os.FileMode
		words      string
		code       int
		want       string
	}{
		{"key twice", good, 0o600, "add " + good, exitFailure, "keys:2: key"},
		{"name twice", good, 0o600, "add " + keyLine(2, "name=anna"), exitFailure, `name "anna" appears twice`},
		{"unknown option", good, 0o600, "add " + keyLine(2, "acounts=7"), exitFailure, `"acounts=7": unknown option`},
		{"no key", good, 0o600, "add trader", exitFailure, "without a key"},
		{"only a comment", good, 0o600, "add # key", exitUsage, "no line with one key"},
		{"last key", good, 0o600, "revoke anna", exitFailure, "no key in it"},
		{"unknown name", good, 0o600, "revoke ben", exitFailure, `no key has the name or fingerprint "ben"`},
		{"others may write", good, 0o620, "add " + keyLine(2, ""), exitFailure, "chmod go-w"},
		{"malformed before", "trader x\n", 0o600, "add " + good, exitFailure, "keys:1: key"},
		{"no command", good, 0o600, "", exitUsage, "name a command"},
		{"another command", good, 0o600, "remove anna", exitUsage, "write list, add ROLE KEY"},
	} {
		t.Run(v.name, func(t *testing.T) {
			if err := os.WriteFile(file, []byte(v.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(file, v.mode); err != nil {
				t.Fatal(err)
			}
			_, problems, code := local(append([]string{"keys", "--authorized-keys", file},
				strings.Fields(v.words)...)...)
			if code != v.code || !strings.Contains(problems, v.want) {
				t.Errorf("exit code %d: %s; want %d: %s", code, problems, v.code, v.want)
			}
			if text, err := os.ReadFile(file); err != nil || string(text) != v.text {
				t.Errorf("the file is %q, %v", text, err)
			}
			if entries, err := os.ReadDir(filepath.Dir(file)); err != nil || len(entries) != 1 {
				t.Errorf("files %v, %v", entries, err)
			}
		})
	}
	next := filepath.Join(filepath.Dir(file), ".keys.new")
	if err := os.WriteFile(next, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, problems, code := local("keys", "--authorized-keys", file, "revoke", "anna"); code != exitFailure ||
		!strings.Contains(problems, next+" exists") {
		t.Errorf("beside another edit: exit code %d: %s", code, problems)
	}
}

// A key that is added can connect at once; one that is revoked loses its connection.
func TestKeysCommandReloadsServer(t *testing.T) {
	dir := t.TempDir()
	name := func(n string) string { return filepath.Join(dir, n) }
	edit := func(stdin string, words ...string) string {
		t.Helper()
		var out strings.Builder
		e := &env{stdin: strings.NewReader(stdin), stdout: &out, stderr: &out}
		words = append([]string{"keys", "--authorized-keys", name("keys"), "--admin-socket", name("admin")}, words...)
		if code := run(e, words); code != exitOK {
			t.Fatalf("%q: exit code %d: %s", words, code, &out)
		}
		return out.String()
	}
	made := func(key string) string {
		t.Helper()
		line, problems, code := local("client", "keygen", name(key))
		if code != exitOK {
			t.Fatal(problems)
		}
		return strings.TrimSpace(line) + " name=" + key
	}
	if err := os.WriteFile(name("keys"), []byte(made("anna")+" accounts=1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, address := serving(t, name("data"), "--authorized-keys", name("keys"), "--admin-socket", name("admin"))
	line := made("ben")
	if out := edit(line, "add", "-"); !strings.Contains(out, "added: ben") {
		t.Errorf("after add: %s", out)
	}
	expect(t, address, 0, "buy 1 1 @ 5 --key "+name("ben"), "accepted")
	if out, _, _ := local("keys", "--authorized-keys", name("keys"), "list"); !strings.Contains(out, "name=ben") {
		t.Errorf("list prints %s", out)
	}
	if out := edit("", "revoke", "ben"); !strings.Contains(out, "removed: ben") {
		t.Errorf("after revoke: %s", out)
	}
	expect(t, address, 1, "top 1 --key "+name("ben"), "does not know the key")
}
