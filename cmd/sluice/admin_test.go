package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"sluice/actors/node/observe"
)

// operated starts a server with keys and an admin socket. It returns the flags for the socket and
// for the client port.
func operated(t *testing.T) (p *process, socket, key []string, address string) {
	t.Helper()
	dir := t.TempDir()
	line, _, code := local("client", "keygen", filepath.Join(dir, "operator"), "operator")
	if code != 0 {
		t.Fatal(line)
	}
	trader, _, _ := local("client", "keygen", filepath.Join(dir, "trader"))
	if err := os.WriteFile(filepath.Join(dir, "keys"), []byte(line+trader), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "admin")
	p, address = serving(t, filepath.Join(dir, "data"), "--authorized-keys",
		filepath.Join(dir, "keys"), "--admin-socket", path, "--drain-spread", "1ms")
	return p, []string{"admin", "--admin-socket", path}, []string{"admin", "--address", address, "--key",
		filepath.Join(dir, "operator")}, address
}

func TestAdminCommandsOverSocketAndClientPort(t *testing.T) {
	p, socket, key, address := operated(t)
	ask := func(way []string, words ...string) string {
		t.Helper()
		out, problems, code := local(append(way, words...)...)
		if code != 0 {
			t.Fatalf("%v: exit code %d: %s", words, code, problems)
		}
		return out
	}
	for name, way := range map[string][]string{"socket": socket, "key": key} {
		for words, want := range map[string]string{
			"status": "ready; ", "ready": "ready\npolicy local", "live": "live\n",
			"connections --top 3 --by lag": "open connections", "topics --by gaps": "0 topics with subscribers\n",
			"closed": "ended connections: ", "policy": "policy local, persisted>=1\n",
		} {
			if out := ask(way, strings.Fields(words)...); !strings.Contains(out, want) {
				t.Errorf("%s: admin %s: %q, want %q", name, words, out, want)
			}
		}
		if out := ask(way, "policy",
			"in_memory>=1"); out != "policy in_memory>=1 is in force; it was persisted>=1\n" {
			t.Errorf("%s: %q", name, out)
		}
		if out := ask(way, "--json", "policy",
			"local"); out != `{"done":"policy persisted>=1 is in force; it was in_memory>=1"}`+"\n" {
			t.Errorf("%s: %q", name, out)
		}
		if _, problems, code := local(append(way, "policy", "two-disks")...); code != 1 ||
			!strings.Contains(problems, "force it") {
			t.Errorf("%s: exit code %d, %q", name, code, problems)
		}
		var page observe.Connections
		out := ask(way, "--json", "connections")
		if err := json.Unmarshal([]byte(out), &page); err != nil {
			t.Errorf("%s: %q: %v", name, out, err)
		}
		if _, problems, code := local(append(way, "kick", "12345")...); code != 1 ||
			!strings.Contains(problems, "no such connection") {
			t.Errorf("%s: exit code %d, %q", name, code, problems)
		}
	}
	trader := []string{"admin", "--address", address, "--key",
		strings.TrimSuffix(key[4], "operator") + "trader", "drain"}
	if _, problems, code := local(trader...); code != 1 ||
		!strings.Contains(problems, "needs the role operator") {
		t.Errorf("drain by a trader: exit code %d, %q", code, problems)
	}
	if out := ask(key, "drain", "--deadline", "5s"); out != "draining, for at most 5s\n" {
		t.Errorf("%q", out)
	}
	<-p.exited
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d after a drain by an operator:\n%s", code, p.err)
	}
}

func TestReloadAppliesListenerLimits(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "conf")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("request-rate: 1000/1000\n")
	p, _ := serving(t, filepath.Join(dir, "data"), "--config", file, "--listen-unix",
		filepath.Join(dir, "s"))
	write("request-rate: 5/2\nlistener-limits: " + filepath.Join(dir, "s") + "=64KiB/32KiB/1s/2s\n")
	_ = p.cmd.Process.Signal(syscall.SIGHUP)
	p.err.await(t, "request_rate=5/2")
	write("request-rate: 5/2\nlistener-limits: /elsewhere=64KiB/32KiB/1s/2s\n")
	_ = p.cmd.Process.Signal(syscall.SIGHUP)
	p.err.await(t, "reload of limits rejected; limits unchanged")
	p.err.await(t, "not an address of --listen-tcp, --listen-tls or --listen-unix")
}

func TestAdminUsageErrors(t *testing.T) {
	for _, v := range []struct{ args, want string }{
		{"admin", "name a command"}, {"admin statsu", "did you mean status?"},
		{"admin frob", `unknown admin command "frob"; the commands are status,`},
		{"admin kick", "name a connection or a key"}, {"admin kick 0", `ID is "0"`},
		{"admin trace x 1", `ID is "x"`}, {"admin trace 1", "write the number of responses"},
		{"admin trace 1 many", `N is "many"`}, {"admin trace 1 -- -1", `N is "-1"`},
		{"admin trace 1 2 3", `unexpected argument "3"`},
		{"admin policy a b", `unexpected argument "b"`},
		{"admin --by name connections", "write buffered, age or lag"},
		{"admin --by lag topics", "write subscribers, rate, behind, gaps or memory"},
		{"admin --address x status", "belong together"},
		{"admin --admin-socket a --address b --key c status", "use one of them"},
		{"admin --top 0 closed", `--top is "0"`},
		{"admin --addr x status", "the flag --addr is now --address"},
		{"admin --socket x status", "the flag --socket is now --admin-socket"},
		{"admin --admin-addr=x status", "the flag --admin-addr is now --admin-address"},
		{"top --admin-addr x", "the flag --admin-addr is now --admin-address"},
		{"top --socket x", "the flag --socket is now --admin-socket"},
		{"serve --admin-addr x", "the flag --admin-addr is now --admin-address"},
	} {
		if _, problems, code := local(strings.Fields(v.args)...); code != exitUsage ||
			!strings.Contains(problems, v.want) {
			t.Errorf("sluice %s: exit code %d, %q, want %q", v.args, code, problems, v.want)
		}
	}
	for _, v := range []struct{ flag, address string }{
		{"--admin-socket", "/nowhere/s"}, {"--admin-address", "127.0.0.1:1"},
	} {
		_, problems, code := local("admin", v.flag, v.address, "status")
		if code != 1 || !strings.Contains(problems, "no server answers: ") ||
			!strings.Contains(problems, v.address) {
			t.Errorf("no server at %s: exit code %d, %q", v.address, code, problems)
		}
	}
}

// The variables of `sluice client` name no endpoint of the admin.
func TestVariablesOfTheClientDoNotStopTheAdmin(t *testing.T) {
	for _, v := range []struct {
		args, environ string
		want          observe.Client
	}{
		{"", "", observe.Client{HTTP: observe.DefaultAddress}},
		{"", "SLUICE_ADDRESS=a SLUICE_ADMIN_SOCKET=s", observe.Client{Socket: "s"}},
		{"", "SLUICE_ADDRESS=a", observe.Client{HTTP: observe.DefaultAddress}},
		{"", "SLUICE_KEY=/nowhere/k", observe.Client{HTTP: observe.DefaultAddress}},
		{"--admin-socket s", "SLUICE_ADDRESS=a SLUICE_KEY=/nowhere/k", observe.Client{Socket: "s"}},
	} {
		c := &adminConfig{HTTP: observe.DefaultAddress}
		set := c.set()
		if _, err := set.Load(strings.Fields(v.args), strings.Fields(v.environ)); err != nil {
			t.Fatal(err)
		}
		if got, err := c.client(set); err != nil || !reflect.DeepEqual(*got, v.want) {
			t.Errorf("%q with %q: %+v, %v", v.args, v.environ, got, err)
		}
	}
}
