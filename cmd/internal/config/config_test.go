package config

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/transport"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sluice.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFlagsWinOverEnvironmentOverFile(t *testing.T) {
	path := write(t, "shards: 3\n")
	for _, tt := range []struct {
		name         string
		args         []string
		env          []string
		want         int
		origin, last string
	}{
		{"nothing set", nil, nil, 0, "default", ""},
		{"file only", []string{"--config", path}, nil, 3, path + ":1", ""},
		{"file named in the environment", nil, []string{"SLUICE_CONFIG=" + path}, 3,
			path + ":1", ""},
		{"environment over file", []string{"--config=" + path},
			[]string{"SLUICE_SHARDS=4"}, 4, "SLUICE_SHARDS", ""},
		{"flag over all", []string{"--shards", "5", "--config=" + path},
			[]string{"SLUICE_SHARDS=4"}, 5, "--shards", ""},
		{"later of two flags", []string{"--shards=5", "--shards=6"}, nil, 6, "--shards", ""},
		{"flag resets the environment", []string{"--shards=auto"},
			[]string{"SLUICE_SHARDS=4"}, 0, "--shards", ""},
	} {
		c := DefaultServer()
		set := c.Set()
		if _, err := set.Load(tt.args, tt.env); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if c.Shards != tt.want || set.Origin("shards") != tt.origin {
			t.Errorf("%s: %d shards from %s, want %d from %s", tt.name, c.Shards,
				set.Origin("shards"), tt.want, tt.origin)
		}
	}
}

func TestUsageErrorsNamePlaceValueAndRemedy(t *testing.T) {
	for _, tt := range []struct {
		name, file string
		args, env  []string
		want       []string
	}{
		{name: "unknown flag", args: []string{"--shard=2"},
			want: []string{"--shard=2", "did you mean --shards?"}},
		{name: "unknown flag, nothing near", args: []string{"--frobnicate"},
			want: []string{"unknown flag --frobnicate; --help lists"}},
		{name: "flag without its value", args: []string{"--shards"},
			want: []string{"--shards needs a value: write --shards auto|N"}},
		{name: "unknown variable", env: []string{"SLUICE_SHARD=2"},
			want: []string{"SLUICE_SHARD", "did you mean SLUICE_SHARDS?"}},
		{name: "unknown key", file: "\n\nshard: 2\n",
			want: []string{"yaml:3: ", `unknown key "shard"`, "did you mean shards?"}},
		{name: "duplicate key", file: "shards: 1\nshards: 2\n",
			want: []string{"yaml:2: shards is already set in line 1"}},
		{name: "key for flags only", file: "config: x\n",
			want: []string{"config cannot be set in a file; use --config or SLUICE_CONFIG"}},
		{name: "not a mapping", file: "- a\n",
			want: []string{"yaml:1: write lines of the form name: value"}},
		{name: "not YAML", file: "a: [\n", want: []string{"yaml: ", "line"}},
		{name: "mapping as a value", file: "shards: {a: 1}\n",
			want: []string{"yaml:1: shards: write one value, auto|N"}},
		{name: "bad count", args: []string{"--shards=65"},
			want: []string{`--shards is "65": write auto or a whole number from 1 to 64`}},
		{name: "bad count in the file", file: "shards: many\n",
			want: []string{`yaml:1: shards is "many": write auto or`}},
		{name: "empty value", file: "shards:\n", want: []string{`shards is "": write`}},
		{name: "bad size", env: []string{"SLUICE_HARD_LIMIT=1XB"},
			want: []string{`SLUICE_HARD_LIMIT is "1XB": write a number of bytes, such as`}},
		{name: "bad unit", args: []string{"--hard-limit=1MB"},
			want: []string{"unit MB is unknown; write B, KiB, MiB, GiB or TiB"}},
		{name: "size out of range", args: []string{"--hard-limit=1GiB"},
			want: []string{"from 512B to 64MiB"}},
		{name: "half a byte", args: []string{"--hard-limit=1000.5"},
			want: []string{"write a number of bytes"}},
		{name: "a time without unit", args: []string{"--drain=10"},
			want: []string{`--drain is "10": write a time with its unit, such as 250ms`}},
		{name: "a negative time", args: []string{"--drain=-1s"}, want: []string{"from 1ms to 1h"}},
		{name: "bad choice", args: []string{"--io", "epoll"},
			want: []string{`--io is "epoll": write auto, uring or poll`}},
		{name: "bad boolean", args: []string{"--insecure=maybe"},
			want: []string{`--insecure is "maybe": write true or false`}},
		{name: "bad policy", args: []string{"--policy", "persisted>=9"},
			want: []string{"--policy", "persisted>=9"}},
		{name: "missing file", args: []string{"--config=/nonexistent.yaml"},
			want: []string{"/nonexistent.yaml"}},
	} {
		if tt.file != "" {
			tt.args = append(tt.args, "--config", write(t, tt.file))
		}
		c := DefaultServer()
		_, err := c.Set().Load(tt.args, tt.env)
		var usage *UsageError
		if !errors.As(err, &usage) {
			t.Errorf("%s: error %v, want a usage error", tt.name, err)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q does not say %q", tt.name, err, want)
			}
		}
	}
}

func TestFailedLoadLeavesFieldsUnchanged(t *testing.T) {
	c := DefaultServer()
	set := c.Set()
	if _, err := set.Load([]string{"--shards=7"}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := set.Load([]string{"--shards=8", "--drain=1"}, nil); err == nil {
		t.Fatal("a time without a unit is accepted")
	}
	if c.Shards != 7 || set.Origin("shards") != "--shards" {
		t.Errorf("%d shards from %s, want 7 from --shards", c.Shards, set.Origin("shards"))
	}
	if _, err := set.Load([]string{"--drain=1s"}, nil); err != nil || c.Shards != 0 ||
		set.Origin("shards") != "default" {
		t.Errorf("a value of an earlier Load is still there: %d shards from %s, %v", c.Shards,
			set.Origin("shards"), err)
	}
}

func TestForeignVariablesAreIgnored(t *testing.T) {
	env := []string{"SLUICE_SERVICE_HOST=10.0.0.1", "SLUICE_PORT=tcp://10.0.0.1:9876",
		"SLUICE_PORT_9876_TCP_ADDR=10.0.0.1", "SLUICE_ID=7", "SLUICE_KEY=k",
		"SLUICE_ADDRESS=x", "SLUICE_SOAK=1", "SLUICE_TIMEOUT=1s", "HOME=/"}
	if _, err := DefaultServer().Set().Load(nil, env); err != nil {
		t.Error(err)
	}
}

func TestArgumentsMixWithFlagsAndMayBeNegative(t *testing.T) {
	c := DefaultServer()
	rest, err := c.Set().Load([]string{"buy", "--insecure", "3", "--shards", "2", "@", "-5", "--",
		"--drain"}, nil)
	if got := strings.Join(rest, " "); err != nil || got != "buy 3 @ -5 --drain" || !c.Insecure ||
		c.Shards != 2 {
		t.Errorf("rest %q, insecure %v, shards %d, %v", got, c.Insecure, c.Shards, err)
	}
	for _, help := range []string{"--help", "-h", "-help"} {
		if _, err := c.Set().Load([]string{"x", help}, nil); !errors.Is(err, ErrHelp) {
			t.Errorf("%s: %v", help, err)
		}
	}
}

func TestValidateRejectsConflictingSettings(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"--listen-tcp=", "no address to listen on"},
		{"--listen-tcp=9876", `--listen-tcp is "9876": write host:port`},
		{"--listen-tcp=127.0.0.1:http", "a port from 0 to 65535"},
		{"--listen-tcp=0.0.0.0:9876", "--authorized-keys"},
		{"--listen-tcp=:9876", "accept it with --insecure"},
		{"--listen-tcp=[2001:db8::1]:9876", "accept it with --insecure"},
		{"--listen-tcp=example.com:9876", "accept it with --insecure"},
		{"--listen-unix=@", "--listen-unix: "},
		{"--data-dir=", "--data-dir is empty"},
		{"--admin-address=9464", `--admin-address is "9464": write host:port`},
		{"--admin-address=127.0.0.1:70000", "a port from 0 to 65535"},
		{"--admin-address=0.0.0.0:9464", "accept it with --admin-insecure"},
		{"--admin-address=:9464 --insecure", "accept it with --admin-insecure"},
		{"--admin-address=example.com:9464", "accept it with --admin-insecure"},
		{"--soft-limit=2MiB", "--hard-limit is 1MiB and --soft-limit 2MiB"},
		{"--frame-max=1MiB", "--frame-max 1MiB"},
		{"--listen-tcp=127.0.0.1:1,127.0.0.1:01", "are one address"},
		{"--listen-tcp=127.0.0.1:9464", "--listen-tcp 127.0.0.1:9464 and --admin-address 127.0.0.1:9464"},
		{"--listen-tcp=localhost:9464", "are one address"},
		{"--listen-tcp=:9464 --insecure", "are one address"},
		{"--listen-tcp=0.0.0.0:9464 --insecure", "are one address"},
		{"--listen-tcp=[::]:9464 --insecure", "are one address"},
		{"--listen-unix=@a,@a", "are one address"},
		{"--listen-unix=/tmp/s --admin-socket=/tmp/../tmp/s", "are one address"},
		{"--policy=hybrid", `--policy is "hybrid", which this node alone can never meet`},
		{"--shard-budget=1MiB --hard-limit=2MiB", "raise the budget"},
		{"--peer-listen=127.0.0.1:1", "add --cluster, or leave it out"},
		{"--peer-ca=f", "add --cluster, or leave it out"},
		{"--cluster --peer-ca=f", `--peer-ca is "f", and --peer-cert ""`},
		{"--cluster --peer-cert=c --peer-key=k", `--peer-ca is "", and --peer-cert "c"`},
		{"--cluster --peer-listen=10.0.0.1", "write host:port"},
		{"--cluster --peer-listen=10.0.0.1:0", "a port from 1 to 65535"},
		{"--cluster --peer-listen=localhost:9464", "--admin-address 127.0.0.1:9464 and --peer-listen localhost:9464"},
	} {
		c := DefaultServer()
		if _, err := c.Set().Load(strings.Fields(tt.args), nil); err != nil {
			t.Errorf("%s: %v", tt.args, err)
			continue
		}
		var usage *UsageError
		if err := c.Validate(); !errors.As(err, &usage) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v; want %q", tt.args, err, tt.want)
		}
	}
	for _, good := range []string{"", "--listen-tcp=[::1]:9464", "--listen-tcp=127.0.0.2:9464",
		"--listen-tcp=127.0.0.1:0,127.0.0.1:0", "--listen-unix=@a,@b,/tmp/@a",
		"--listen-tcp=0.0.0.0:1,[::1]:1 --insecure", "--policy=hybrid --force-policy", "--listen-tcp=localhost:1",
		"--listen-tcp=[::1]:1", "--listen-tcp= --listen-unix=/tmp/x",
		"--admin-address=", "--admin-address=localhost:0", "--admin-address=[::1]:1",
		"--admin-address=:1 --admin-insecure", "--listen-tcp=0.0.0.0:1 --insecure",
		"--listen-tcp=0.0.0.0:1 --authorized-keys=k", "--cluster --policy=persisted>=2",
		"--cluster --peer-listen=:1 --peer-cert=c --peer-key=k --peer-ca=a --election=40ms --disk-stall=50ms"} {
		c := DefaultServer()
		if _, err := c.Set().Load(strings.Fields(good), nil); err != nil || c.Validate() != nil {
			t.Errorf("%q: %v, %v", good, err, c.Validate())
		}
	}
}

func TestFormerNamesAreErrorsThatNameTheNewOnes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sluice.yaml")
	if err := os.WriteFile(path, []byte("admin-addr: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args, environ []string
		want          string
	}{
		{[]string{"--admin-addr", "x"}, nil, "the flag --admin-addr is now --admin-address"},
		{nil, []string{"SLUICE_ADMIN_ADDR=x"},
			"the variable SLUICE_ADMIN_ADDR is now SLUICE_ADMIN_ADDRESS"},
		{[]string{"--config", path}, nil, path + ":1: the key admin-addr is now admin-address"},
	} {
		c := DefaultServer()
		var usage *UsageError
		if _, err := c.Set().Load(tt.args, tt.environ); !errors.As(err, &usage) ||
			err.Error() != tt.want {
			t.Errorf("%v; want %q", err, tt.want)
		}
	}
}

func TestPrintedFileLoadsBack(t *testing.T) {
	args := []string{"--listen-unix", "/tmp/a b,@c", "--policy", "persisted>=1 && in_memory>=2",
		"--hard-limit=1.5MiB", "--drain=90s", "--insecure",
		"--authorized-keys", "key: #1", "--io=poll", "--log-level=debug", "--log-format=json",
		"--stats-file=-"}
	c := DefaultServer()
	set := c.Set()
	if _, err := set.Load(args, nil); err != nil {
		t.Fatal(err)
	}
	var printed bytes.Buffer
	if err := set.Print(&printed); err != nil {
		t.Fatal(err)
	}
	again := DefaultServer()
	set2 := again.Set()
	if _, err := set2.Load([]string{"--config", write(t, printed.String())}, nil); err != nil {
		t.Fatalf("%v\n%s", err, &printed)
	}
	for i, s := range set.Settings {
		if got := set2.Settings[i].Value.String(); s.Name != "config" && got != s.Value.String() {
			t.Errorf("%s: %q became %q\n%s", s.Name, s.Value, got, &printed)
		}
	}
	if again.DrainFor != 90*time.Second || again.Limits.HardBytes != 3<<19 ||
		again.IO != transport.ModePoll {
		t.Errorf("%+v", again)
	}
}

func TestPrintedTextsLoadBack(t *testing.T) {
	for _, text := range []string{"", "null", "NULL", "Null", "~", "true", "0x1f", "1:30", "<<", "a\u0085b",
		"a\u2028b", "a\x01b", "a\x7fb", "a\x00b", "a\rb", "a\n\nb", "a\tb", " a", "a ", "--- x", "- x", "k: ",
		"a:", "k: v", "\u00a0x", "\ufeffx", "x\ufeff", "\ufffd", "a #b", "a#b", "#a", "&a", "*a", "!!str a",
		"| a", "'a'", `"a"`, "{a", "[a]", "a, b", "%a", "@a", "`a`", "?", "? a", "\\n", "\U0010ffff"} {
		field := "another"
		set := NewSet("config", Setting{Name: "greeting", Value: Text(&field, "TEXT")},
			Setting{Name: "config", Value: Text(new(string), "FILE"), NotInFile: true})
		load := func(args ...string) {
			if _, err := set.Load(args, nil); err != nil || field != text {
				t.Errorf("%q of %q is read as %q, %v", text, args, field, err)
			}
		}
		load("--greeting=" + text)
		var printed bytes.Buffer
		if err := set.Print(&printed); err != nil {
			t.Fatal(err)
		}
		field = "another"
		load("--config=" + write(t, printed.String()))
		set.origins["greeting"] = "a\nb\x01\u0085.yaml:1" // the name of a file can have any characters
		printed.Reset()
		if err := set.Print(&printed); err != nil {
			t.Fatal(err)
		}
		load("--config=" + write(t, printed.String()))
	}
	var usage *UsageError
	field := "a\xff"
	set := NewSet("", Setting{Name: "greeting", Value: Text(&field, "TEXT")})
	err := set.Print(io.Discard)
	if !errors.As(err, &usage) || !strings.Contains(err.Error(), `--greeting is "a\xff"`) {
		t.Errorf("a text that is not UTF-8: %v", err)
	}
}

func TestUsageListsEverySettingWithItsDefault(t *testing.T) {
	var b bytes.Buffer
	set := DefaultServer().Set()
	if err := set.Usage(&b); err != nil {
		t.Fatal(err)
	}
	for _, s := range set.Settings {
		if !strings.Contains(b.String(), "  --"+s.Name+" ") || s.Help == "" {
			t.Errorf("--%s has no help", s.Name)
		}
	}
	if n := strings.Count(b.String(), "[default "); n != len(set.Settings) {
		t.Errorf("%d defaults for %d settings", n, len(set.Settings))
	}
	for line := range strings.Lines(b.String()) {
		if len(line) > 102 {
			t.Errorf("a line of %d characters: %s", len(line), line)
		}
	}
}

func TestSizesAndDurationsRoundTrip(t *testing.T) {
	for _, n := range []uint64{0, 1, 1023, 1024, 1536, 1 << 20, 3 << 19, 1<<30 + 1, 1 << 40} {
		if got, err := ParseSize(FormatSize(n)); err != nil || got != n {
			t.Errorf("%d is formatted as %s and parsed as %d, %v", n, FormatSize(n), got, err)
		}
	}
	for _, bad := range []string{"", "KiB", "-1", "1.5B", "NaN", "Inf", "1e40", "0x10KiB", "1 2"} {
		if n, err := ParseSize(bad); err == nil {
			t.Errorf("%q is parsed as %d", bad, n)
		}
	}
	for d, want := range map[time.Duration]string{time.Minute: "1m", time.Hour: "1h",
		90 * time.Second: "1m30s", 250 * time.Millisecond: "250ms"} {
		if got := FormatDuration(d); got != want {
			t.Errorf("%v is formatted as %s, want %s", d, got, want)
		}
	}
}

func TestNearestFindsTheClosestName(t *testing.T) {
	for _, tt := range []struct{ name, want string }{{"srever", "server"}, {"shrads", "shards"},
		{"shard", "shards"}, {"x", "shards"}} {
		if got, _ := Nearest(tt.name, []string{"shards", "server", "placement"}); got != tt.want {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
	if got, edits := Nearest("ab", []string{"ba"}); got != "ba" || edits != 1 {
		t.Errorf("swapped letters are %d edits", edits)
	}
	if got := DidYouMean("frobnicate", []string{"serve", "client"}); got != "" {
		t.Errorf("frobnicate: %s", got)
	}
}
