package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/transport/secure"
)

// certificate makes a certificate with its key, as the files NAME.crt and NAME.key.
func certificate(t *testing.T, dir, name string) tls.Certificate {
	t.Helper()
	pair, err := secure.SelfSigned(time.Now().Add(-time.Hour), time.Now().Add(time.Hour), "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{name + ".crt": {Type: "CERTIFICATE", Bytes: pair.Certificate[0]},
		name + ".key": {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return pair
}

// The admin address with TLS serves operators with the token, browsers with the token as password for reading, and no
// one else; what it refuses is counted and in the audit. A reload replaces the token.
func TestAdminOverTLS(t *testing.T) {
	r := newTrailRig(t)
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(r.path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("config", "")
	good, other := strings.Repeat("good", 8), strings.Repeat("evil", 8)
	put("token", good+"\n")
	put("other", other)
	pair := certificate(t, r.dir, "server")
	certificate(t, r.dir, "foreign")
	p, _ := r.serve("--admin-tls", "127.0.0.1:0", "--admin-token-file", r.path("token"),
		"--tls-cert", r.path("server.crt"),
		"--tls-key", r.path("server.key"))
	_, rest, _ := strings.Cut(p.out.String(), "https://")
	at, _, _ := strings.Cut(rest, "/")
	ca, token := []string{"--admin-tls", at, "--ca", r.path("server.crt")}, []string{"--token-file", r.path("token")}
	run := func(want int, words string, args ...[]string) {
		t.Helper()
		all := strings.Fields(words)
		for _, more := range args {
			all = append(all, more...)
		}
		if out, problems, code := local(all...); code != want {
			t.Errorf("%q: exit code %d, want %d: %s%s", all, code, want, out, problems)
		}
	}
	run(0, "admin status", ca, token)
	run(0, "top --once", ca, token)
	run(0, "admin policy in_memory>=1", ca, token)
	run(0, "admin status --pin "+secure.FingerprintOf(pair.Leaf).String()+" --admin-tls "+at, token)
	run(1, "admin status", ca)
	run(1, "admin drain --token-file "+r.path("other"), ca)
	run(1, "cluster status", ca, token) // it is no member
	run(1, "admin status --admin-tls "+at+" --ca "+r.path("foreign.crt"), token)
	run(1, "admin status --admin-address "+at) // without TLS
	run(exitUsage, "admin status --admin-socket x", ca, token)

	roots := x509.NewCertPool()
	roots.AddCert(pair.Leaf)
	browser := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	visit := func(method, path, password string, want int) (page string) {
		t.Helper()
		q, err := http.NewRequestWithContext(t.Context(), method, "https://"+at+path, strings.NewReader(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Accept", "text/html")
		if password != "" {
			q.SetBasicAuth("anyone", password)
		}
		answer, err := browser.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != want || answer.Close != (want == 401) ||
			want == 401 && len(answer.Header.Values("WWW-Authenticate")) != 2 {
			t.Errorf("%s %s: %s %v, want %d: %s", method, path, answer.Status, answer.Header, want, text)
		}
		return string(text)
	}
	if page := visit("GET", "/", good, 200); !strings.Contains(page, "<html") {
		t.Errorf("no page for a browser: %s", page)
	}
	visit("GET", "/live.json", good, 200)
	visit("GET", "/", "", 401)
	visit("GET", "/metrics", other, 401)
	visit("POST", "/drain", good, 403) // another page could make a browser send it
	browser.CloseIdleConnections()
	if got := p.scraped("sluice_admin_unauthorized_total"); got != "4" {
		t.Errorf("%q unauthorized requests were counted, want 4", got)
	}
	put("token", other)
	p.signal(syscall.SIGHUP)
	until(t, "the new token", func() error {
		words := append([]string{"admin", "live", "--token-file", r.path("token")}, ca...)
		if out, problems, code := local(words...); code != 0 {
			return fmt.Errorf("%s%s", out, problems)
		}
		return nil
	})
	visit("GET", "/", good, 401)
	run(0, "admin drain", ca, token)
	p.ends(0)
	all := r.read("audit")
	if got := find(all, "what", "command refused", "status", "401", "from", "https 127.0.0.1:"); len(got) < 5 {
		t.Errorf("%d refused requests in the audit", len(got))
	}
	if len(find(all, "what", "command", "command", "/policy", "from", "token, https 127.0.0.1:",
		"status", "200")) != 1 ||
		len(find(all, "what", "command", "command", "/drain", "from", "token, https", "status", "202")) != 1 {
		t.Errorf("commands with the token are not in the audit: %v", all)
	}
}

// A certificate is an identity of its own: its client needs no key, is journaled, may send commands to the admin
// address if its role is operator, and is gone once its line is.
func TestCertificateIsAnIdentity(t *testing.T) {
	r := newTrailRig(t)
	if err := os.WriteFile(r.path("config"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	server := certificate(t, r.dir, "server")
	edit := func(words ...string) {
		t.Helper()
		words = append([]string{"keys", "--authorized-keys", r.path("keys"),
			"--admin-socket", r.path("admin")}, words...)
		if out, problems, code := local(words...); code != 0 {
			t.Fatalf("%q: %s%s", words, out, problems)
		}
	}
	for _, name := range []string{"desk", "chief", "foreign"} {
		certificate(t, r.dir, name)
	}
	p, _ := r.serve("--admin-tls", "127.0.0.1:0", "--listen-tls", "127.0.0.1:0", "--tls-cert", r.path("server.crt"),
		"--tls-key", r.path("server.key"))
	between := func(before, after string) string {
		_, rest, _ := strings.Cut(p.out.String(), before)
		text, _, _ := strings.Cut(rest, after)
		return strings.TrimSpace(text)
	}
	address, _, _ := strings.Cut(between(" tls ", "\n"), ",")
	admin := between("https://", "/")
	pin := " --pin " + secure.FingerprintOf(server.Leaf).String()
	with := func(name string) string {
		return pin + " --client-cert " + r.path(name+".crt") + " --client-key " + r.path(name+".key")
	}
	expect(t, address, 1, "top 1 --tls"+with("desk"), "key")
	edit("add", "--cert", r.path("desk.crt"), "trader", "name=desk", "accounts=7")
	edit("add", "--cert", r.path("chief.crt"), "operator", "name=chief")
	expect(t, address, 0, "buy 1 1 @ 5 --account 7 --tls"+with("desk"), "accepted")
	expect(t, address, 1, "buy 1 1 @ 5 --account 8 --tls"+with("desk"), "account 8 was used")
	expect(t, address, 1, "top 1 --tls"+with("foreign"), "key")
	expect(t, address, 1, "top 1 --tls"+pin, "key")
	expect(t, address, 0, "top 1 --tls --key "+r.path("anna")+with("desk"), "bid") // a signature counts before it
	reach := func(want int, words, name string) {
		t.Helper()
		all := strings.Fields("admin " + words + " --admin-tls " + admin + with(name))
		if out, problems, code := local(all...); code != want {
			t.Errorf("admin %s as %s: exit code %d: %s%s", words, name, code, out, problems)
		}
	}
	reach(0, "status", "desk")
	reach(1, "status", "foreign")
	reach(1, "policy in_memory>=1", "desk")
	reach(0, "policy in_memory>=1", "chief")
	edit("revoke", "desk")
	expect(t, address, 1, "top 1 --tls"+with("desk"), "key")
	p.signal(syscall.SIGTERM)
	p.ends(0)
	leaf, err := secure.ReadCertificate(r.path("desk.crt"))
	if err != nil {
		t.Fatal(err)
	}
	print := secure.FingerprintOf(leaf).String()[:16]
	all := r.read("audit")
	for _, want := range [][]string{
		{"what", "login", "name", "desk", "key", print, "role", "trader"}, {"what", "login", "name", "anna"},
		{"what", "command", "from", "chief, https 127.0.0.1:", "command", "/policy", "status", "200"},
		{"what", "command refused", "from", "desk, https 127.0.0.1:", "status", "403"},
		{"what", "login refused", "reason", "missing_signature"},
	} {
		if len(find(all, want...)) == 0 {
			t.Errorf("no line of the audit has %q", want)
		}
	}
	if out, problems, code := local("journal", "list", "--json", "--data-dir", r.path("data")); code != 0 ||
		!strings.Contains(out, `"key":"`+print+`"`) {
		t.Errorf("the journal does not name the certificate %s: %s%s", print, out, problems)
	}
}
