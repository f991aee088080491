package main

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// local runs a short command in this process.
func local(args ...string) (out, problems string, code int) {
	var o, p bytes.Buffer
	code = run(&env{stdin: strings.NewReader(""), stdout: &o, stderr: &p}, args)
	return o.String(), p.String(), code
}

func TestUsageErrorsExit64WithARemedy(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"", "name a command"},
		{"srve", "did you mean serve? the commands are serve, client,"},
		{"serve --shard 3", "did you mean --shards?"},
		{"serve --shards 99", `--shards is "99": write auto or a whole number from 1 to 64`},
		{"serve --policy persisted>=2", "--force-policy"},
		{"serve --policy hybrid", "this node alone"},
		{"serve now", `serve takes no arguments, but got "now"`},
		{"serve --listen-tcp 0.0.0.0:1", "--insecure"},
		{"serve --admin-address 0.0.0.0:1", "--admin-insecure"},
		{"config check --admin-address 0.0.0.0:1", "--admin-insecure"},
		{"config", "config check or sluice config print"},
		{"config chek", "config check or sluice config print"},
		{"config check --soft-limit 2MiB", "--hard-limit is 1MiB and --soft-limit 2MiB"},
		{"version 2", "takes no arguments"},
		{"client", "name a request"},
		{"client by 1 1", `unknown request "by"; did you mean buy?`},
		{"client buy 1", "QUANTITY is missing"},
		{"client buy x 1", `INSTRUMENT is "x"`},
		{"client buy 4294967296 1", "0 to 4294967295"},
		{"client buy 1 1 @ 1.5", `PRICE is "1.5"; write a whole number of ticks`},
		{"client buy 1 1 2", `unexpected argument "2"; write a price after @`},
		{"client buy 1 1 @ 2 fok", `unexpected argument "fok"`},
		{"client replace 1 5", "write the new price after @"},
		{"client --acount 3 top 1", "did you mean --account?"},
		{"client keygen", "name the file"},
		{"client keygen /tmp/k admin", `ROLE is "admin"; write operator, trader or readonly`},
		{"journal", "journal list, sluice journal verify or sluice journal skip N"},
		{"journal verfy", `unknown journal command "verfy"; did you mean verify?`},
		{"journal verify data", `journal verify: unexpected argument "data"; name a directory with --data-dir`},
		{"journal skip", "sluice journal skip N"},
		{"demo --clients 1", `--clients is "1"`},
		{"cluster", "name a command: init, status"},
		{"cluster start", `unknown cluster command "start"; the commands are init`},
		{"cluster init now", `takes no arguments, but got "now"`},
		{"cluster init --member 1=h:1,h:2", "--node is missing"},
		{"cluster ini", `unknown cluster command "ini"; did you mean init?`},
		{"cluster init --node 1", "--member is missing: write one as N=PEER,CLIENT"},
		{"cluster init --node 1 --member 1=h:1", `--member is "1=h:1": `},
		{"cluster init --node 1 --member 1=h:1,h:2 --member 2=g:1,g:2", "use one node, or three"},
		{"cluster init --node 1 --member 1=h:1,h:2 --cluster-id 12", "write 32 hexadecimal digits"},
	} {
		out, problems, code := local(strings.Fields(tt.args)...)
		if code != exitUsage || !strings.Contains(problems, tt.want) || out != "" {
			t.Errorf("sluice %s: exit code %d, want 64 with %q:\n%s%s", tt.args, code, tt.want,
				problems, out)
		}
	}
}

func TestEveryCommandHasAHelpText(t *testing.T) {
	for _, c := range commands() {
		if c.name == "version" {
			continue
		}
		for _, args := range [][]string{{c.name, "--help"}, {"help", c.name}} {
			if out, problems, code := local(args...); code != 0 || problems != "" ||
				!strings.HasPrefix(out, "usage: sluice "+c.name) {
				t.Errorf("%v: exit code %d:\n%s%s", args, code, problems, out)
			}
		}
	}
	if out, _, code := local("--help"); code != 0 || !strings.Contains(out, "sluice COMMAND --help") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	if out, _, code := local("version"); code != 0 || !strings.Contains(out, "go1.") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}

func TestConfigAgreesWithServe(t *testing.T) {
	out, _, code := local("config", "print", "--shards=3", "--io", "poll")
	if code != 0 || !strings.Contains(out, "shards: 3 ") || !strings.Contains(out, "# --shards") ||
		!strings.Contains(out, "data-dir: ") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	if out, _, code := local("config", "check", "--shards=3"); code != 0 ||
		!strings.Contains(out, "is valid; set: 1, defaults: ") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}

// `serve` and `config check` say the same, with the same exit code. A port, a directory or a mount may
// come later, so a restart may help; other mistakes stay.
func TestFailedStartNamesTheCause(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	newer := t.TempDir()
	if err := os.MkdirAll(filepath.Join(newer, "journal"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(newer, "journal", "FORMAT"), []byte("sluice journal 3\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("trader not-a-key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	locked := t.TempDir()
	serving(t, locked)
	writable := filepath.Join(t.TempDir(), "keys")
	everybody := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := errors.Join(os.WriteFile(writable, nil, 0o600), os.Chmod(writable, 0o666),
		os.Chmod(everybody, 0o777), os.Symlink("/nonexistent/data", link)); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	one := free.Addr().String()
	for _, tt := range []struct {
		name string
		code int
		args []string
		want []string
	}{
		{"address in use", exitFailure, []string{"--listen-tcp", busy.Addr().String()},
			[]string{busy.Addr().String(), "in use"}},
		{"admin address in use", exitFailure, []string{"--admin-address", busy.Addr().String()},
			[]string{busy.Addr().String(), "in use", "--admin-address"}},
		{"address of no interface", exitFailure, []string{"--listen-tcp", "192.0.2.1:1", "--insecure"},
			[]string{"192.0.2.1:1", "no interface"}},
		{"missing directory of a socket", exitFailure, []string{"--listen-unix", "/nonexistent/s"},
			[]string{"/nonexistent/s", "directory does not exist"}},
		{"missing directory of the admin socket", exitFailure,
			[]string{"--admin-socket", "/nonexistent/s"},
			[]string{"/nonexistent/s", "create its directory"}},
		{"data directory is a link to nothing", exitFailure, []string{"--data-dir", link},
			[]string{link, "symbolic link to /nonexistent/data", "does not exist"}},
		{"data directory that must exist", exitFailure,
			[]string{"--data-dir-must-exist", "--data-dir", "/nonexistent/data"},
			[]string{"--data-dir-must-exist: there is no journal in /nonexistent/data/journal", "mount its volume"}},
		{"missing directory of the stats file", exitFailure, []string{"--stats-file", "/nonexistent/stats"},
			[]string{"--stats-file: /nonexistent", "create the directory"}},
		{"directory of recordings is a file", exitUsage, []string{"--flight-recorder", "--trace-dir", file},
			[]string{"--trace-dir: ", file, "not a directory"}},
		{"directory of recordings in a file", exitUsage,
			[]string{"--flight-recorder", "--trace-dir", file + "/a/b"},
			[]string{"--trace-dir: ", file, "not a directory"}},
		{"directory of recordings is a link to nothing", exitFailure,
			[]string{"--flight-recorder", "--trace-dir", link}, []string{"--trace-dir: ", link}},
		{"one address twice", exitUsage, []string{"--listen-tcp", one, "--admin-address", one},
			[]string{"--listen-tcp " + one + " and --admin-address " + one + " are one address"}},
		{"one path twice", exitUsage, []string{"--listen-unix", "/tmp/s", "--admin-socket", "/tmp//s"},
			[]string{"are one address"}},
		{"a path that is a file", exitUsage, []string{"--listen-unix", file}, []string{"not a socket"}},
		{"an admin path that is a file", exitUsage, []string{"--admin-socket", file},
			[]string{"not a socket"}},
		{"a long path", exitUsage, []string{"--listen-unix", "/" + strings.Repeat("s", 107)},
			[]string{"--listen-unix", "at most 107"}},
		{"data directory is a file", exitUsage, []string{"--data-dir", file},
			[]string{file, "not a directory"}},
		{"data directory of everybody", exitUsage, []string{"--data-dir", everybody},
			[]string{everybody, "chmod o-w"}},
		{"malformed keys", exitUsage, []string{"--authorized-keys", file}, []string{file, "1"}},
		{"missing keys", exitUsage, []string{"--authorized-keys", "/nonexistent/keys"},
			[]string{"--authorized-keys", "/nonexistent/keys"}},
		{"keys of everybody", exitUsage, []string{"--authorized-keys", writable},
			[]string{writable, "chmod go-w"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, command := range [][]string{{"config", "check"}, {"serve"}} {
				p := start(t, append(append(command, "--listen-tcp", "127.0.0.1:0", "--admin-address",
					"127.0.0.1:0", "--data-dir", filepath.Join(t.TempDir(), "data")), tt.args...)...)
				p.ends(tt.code, tt.want...)
				if command[0] == "config" && tt.code == exitFailure {
					p.ends(tt.code, "the configuration is valid, but sluice serve would not start now")
				}
				if p.out.String() != "" {
					t.Errorf("%s printed that all is well:\n%s", command[0], p.out)
				}
			}
		})
	}
	for _, tt := range []struct{ name, dir, want string }{ // found when the directory is opened
		{"data directory of a newer version", newer, "newer"},
		{"data directory of another server", locked, "in use"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := start(t, "serve", "--listen-tcp", "127.0.0.1:0", "--admin-address", "127.0.0.1:0",
				"--data-dir", tt.dir)
			p.ends(exitFailure, tt.dir, tt.want)
		})
	}
}

func TestJournalOfMissingDirectoryNamesTheFlag(t *testing.T) {
	_, problems, code := local("journal", "verify", "--data-dir", "/nonexistent")
	if code != 1 || !strings.Contains(problems, "/nonexistent/journal: no such file") ||
		!strings.Contains(problems, "--data-dir") {
		t.Errorf("exit code %d, %q", code, problems)
	}
	out, problems, code := local("backup", "--json", "--data-dir", "/nonexistent", filepath.Join(t.TempDir(), "b"))
	if code != 1 || !strings.Contains(problems, "name the data directory of a server with --data-dir") ||
		!strings.HasPrefix(out, `{"error":"`) {
		t.Errorf("backup: exit code %d, %s%s", code, out, problems)
	}
}

// Environment and admin endpoints are checked before anything is opened, and by `config check` as
// well.
func TestBadObservationSettingsAreRejectedBeforeServing(t *testing.T) {
	for _, tt := range []struct {
		name, variable, value string
		args                  []string
		want                  string
	}{
		{"address that other machines can reach", "OTEL_EXPORTER_PROMETHEUS_HOST", "0.0.0.0", nil,
			"--admin-insecure"},
		{"invalid port", "OTEL_EXPORTER_PROMETHEUS_PORT", "web", nil, "from 0 to 65535"},
		{"attributes without values", "OTEL_RESOURCE_ATTRIBUTES", "region", nil,
			"OTEL_RESOURCE_ATTRIBUTES"},
		{"unknown protocol", "OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", nil, "http/json"},
		{"a queue of negative size", "OTEL_BSP_MAX_QUEUE_SIZE", "-1", nil,
			"OTEL_BSP_MAX_QUEUE_SIZE: the value is \"-1\"; write a whole number"},
		{"a misspelled variable", "OTEL_EXPORTER_OTLP_ENDPOINTS", "http://x:4318", nil,
			"did you mean OTEL_EXPORTER_OTLP_ENDPOINT?"},
		{"long socket path", "", "", []string{"--admin-socket", "/" + strings.Repeat("s", 107)},
			"at most 107"},
		{"a stats file that is no file", "", "", []string{"--stats-file", "/"}, "not a regular file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.variable != "" {
				t.Setenv(tt.variable, tt.value)
			}
			dir := filepath.Join(t.TempDir(), "data")
			for _, command := range [][]string{{"config", "check"},
				{"serve", "--listen-tcp", "127.0.0.1:0"}} {
				p := start(t, append(append(command, "--data-dir", dir), tt.args...)...)
				p.ends(exitUsage, tt.want)
			}
			if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the server started nevertheless: %v", err)
			}
		})
	}
}

func TestKeysDeterminePermissions(t *testing.T) {
	dir := t.TempDir()
	name := func(n string) string { return filepath.Join(dir, n) }
	lines := ""
	for _, k := range [][]string{{"anna", "trader", "Anna of desk 4"}, {"ben", "readonly"}} {
		out, problems, code := local(append([]string{"client", "keygen", name(k[0])}, k[1:]...)...)
		if code != 0 || !strings.HasPrefix(out, k[1]+" ") {
			t.Fatalf("exit code %d:\n%s%s", code, out, problems)
		}
		lines += out
	}
	if _, problems, code := local("client", "keygen", name("anna")); code != 1 ||
		!strings.Contains(problems, "exists") {
		t.Errorf("keygen replaced a key: %d %s", code, problems)
	}
	if _, _, code := local("client", "keygen", name("unknown")); code != 0 {
		t.Fatal("no key for the unknown client")
	}
	if err := os.WriteFile(name("keys"), []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	p, address := serving(t, name("data"), "--authorized-keys", name("keys"))
	if !strings.Contains(p.out.String(), "keys in "+name("keys")) {
		t.Errorf("the block does not name the keys:\n%s", p.out)
	}
	expect(t, address, 0, "buy 1 1 @ 5 --key "+name("anna"), "accepted")
	expect(t, address, 0, "top 1 --key "+name("ben"), "bid 1 @ 5")
	expect(t, address, 1, "buy 1 1 @ 5 --key "+name("ben"), "the role of the key may not send it")
	expect(t, address, 1, "top 1 --key "+name("unknown"), "does not know the key "+name("unknown"))
	added, _, _ := local("client", "keygen", name("late"), "trader")
	if err := os.WriteFile(name("keys"), []byte(lines+added), 0o600); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGHUP)
	p.err.await(t, "keys reloaded")
	expect(t, address, 0, "top 1 --key "+name("late"), "bid 1 @ 5")
	expect(t, address, 1, "top 1", "asks for a key", "keygen")
	expect(t, address, 1, "top 1 --key "+name("keys"), "not in PEM form")
	expect(t, address, 1, "top 1 --key "+name("missing"), "private key: open "+name("missing"), "client keygen FILE")
}

func TestClientWithoutServerNamesARemedy(t *testing.T) {
	address := freeAddress(t)
	expect(t, address, 1, "top 1", "no server at "+address, "start one with `sluice serve`")
	expect(t, "/nonexistent/s", 1, "top 1", "dial unix /nonexistent/s")
	expect(t, "socket", 64, "top 1", "write host:port, or the path of a unix-domain socket with a slash", "./socket")
}

func TestDemoRunsFromTheCommandLine(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()) // a failed run keeps its directory
	p := start(t, "demo", "--seconds", "1", "--clients", "4", "--", "--io", "poll")
	p.ends(0)
	for _, want := range []string{"4 clients", "kill -9", "asked for",
		"Nothing acknowledged is missing."} {
		if !strings.Contains(p.out.String(), want) {
			t.Errorf("%q is missing:\n%s", want, p.out)
		}
	}
	bad := start(t, "demo", "--seconds", "1", "--", "--io", "epoll")
	bad.ends(1, `--io is "epoll"`)
}
