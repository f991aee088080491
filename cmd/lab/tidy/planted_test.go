package tidy

import (
	"path"
	"strings"
	"testing"
	"testing/fstest"
)

// planted returns a tree that keeps every rule, changed by pairs of path and text. An empty text
// removes the file.
func planted(change ...string) fstest.MapFS {
	m := fstest.MapFS{}
	put := func(name, text string) { m[name] = &fstest.MapFile{Data: []byte(text)} }
	for _, name := range strings.Fields("go.mod go.sum README.md Makefile CHANGELOG.md LICENSE .ci/run deploy/unit") {
		put(name, "package sluice\n")
	}
	for _, dir := range strings.Fields("mailbox durability durability/journal encode transport " +
		"transport/wire telemetry telemetry/otel actors actors/internal/run actors/sequencer actors/node actors/node/cluster actors/node/observe cmd/tool") {
		name := path.Base(dir)
		put(dir+"/doc.go", "// Package "+name+" is there.\npackage "+name+"\n")
		put(dir+"/example_test.go", "package "+name+"\nfunc Example() {\n// Output:\n}\n")
	}
	put("go.mod", "module sluice\n\nrequire (\n\texample.org/log v1.2.0\n\texample.org/more v1.0.0 // indirect\n)\n")
	put("durability/journal/log.go", "package journal\nimport _ \"example.org/log/wal\"\n")
	put("docs/dependencies.md", "| `example.org/log` | `durability/journal` | the log | it is there |\n")
	put("cmd/lab/go.mod", "module sluice/cmd/lab\n\nrequire example.org/log v1.2.0\n")
	put("cmd/lab/peers/go.mod", "module sluice/cmd/lab/peers\n\nrequire example.org/log v1.3.0\n")
	put("doc.go", "// Package sluice is the map.\npackage sluice\n")
	put("docs/decisions/README.md", "[one](0001-one.md) [two](0002-two.md)")
	put("docs/decisions/0001-one.md", "# 0001: one")
	put("docs/decisions/0002-two.md", "# 0002: two")
	for i := 0; i < len(change); i += 2 {
		put(change[i], change[i+1])
		if change[i+1] == "" {
			delete(m, change[i])
		}
	}
	return m
}

func TestRulesReportViolations(t *testing.T) {
	many := func(n int) string { return strings.Repeat("\n", n) }
	use := func(pkg string) string { return "package p\nimport _ \"" + pkg + "\"\n" }
	const sleep = "package p\nfunc Test() { time.Sleep(1) }\n"
	for _, tt := range []struct{ rule, path, text, want string }{
		{"imports", "mailbox/a.go", use("sluice/telemetry"), "a.go:2:8 imports " + "sluice/telemetry" + ": the leaves import neither one another"},
		{"imports", "mailbox/a_test.go", use("sluice/encode"), "the leaves import neither one another"},
		{"imports", "encode/a.go", use("sluice/actors"), "nor their users"},
		{"imports", "transport/a.go", use("sluice/transport/wire"), "never the other way"},
		{"imports", "transport/wire/a.go", use("sluice/durability/journal"), "import neither one another"},
		{"imports", "actors/a.go", use("sluice/transport/wire"), "subpackages of leaves are for the subpackages of actors"},
		{"imports", "actors/a.go", use("sluice/actors/sequencer"), "actors lies below actors/sequencer"},
		{"imports", "actors/internal/run/a.go", use("sluice/actors"), "actors/internal lies below actors"},
		{"imports", "actors/internal/run/a.go", use("sluice/transport/wire"), "subpackages of leaves are for the subpackages of actors"},
		{"imports", "actors/sequencer/a.go", use("sluice/actors/node"), "actors/sequencer lies below"},
		{"imports", "actors/node/a.go", use("sluice/actors/node/observe"), "actors/node lies below"},
		{"imports", "actors/node/a.go", use("sluice/cmd/orderbook"), "only cmd imports from cmd"},
		{"imports", "actors/node/a.go", use("go.opentelemetry.io/otel"), "only telemetry/otel"},
		{"imports", "actors/a_test.go", use("sluice/cmd/tool"), "only cmd imports from cmd"},
		{"imports", "doc.go", use("sluice/mailbox"), "import neither one another"},
		{"imports", "transport/wire/a.go", use("github.com/pawelgaczynski/giouring"), "only package transport"},
		{"imports", "telemetry/a.go", use("go.opentelemetry.io/otel"), "only telemetry/otel"},
		{"imports", "telemetry/otel/a.go", use("go.opentelemetry.io/otel/exporters/otlp/x"), "only telemetry/otel/otlp"},
		{"imports", "actors/node/observe/a.go", use("sluice/telemetry/otel/otlp"), "does not link gRPC"},
		{"imports", "transport/wire/a.go", use("github.com/prometheus/client_golang/prometheus"), "only telemetry/otel"},
		{"imports", "mailbox/a.go", use("go.uber.org/zap"), "the core imports"},
		{"imports", "transport/peer/a.go", use("go.etcd.io/raft/v3"), "the core imports"},
		{"imports", "cmd/tool/a_test.go", use("sluice/cmd/lab/program"), "which must not import them"},
		{"modules", "cmd/tool/go.mod", "module tool", "cmd/tool/go.mod: a module of its own"},
		{"modules", "cmd/lab/go.mod", "require (\n\texample.org/log v1.2.1\n)\n", "requires example.org/log v1.2.1, the main module v1.2.0"},
		{"dependencies", "docs/dependencies.md", "", "no row for example.org/log"},
		{"dependencies", "docs/dependencies.md", "| `example.org/log` | | the log | it is there |\n", "no row for example.org/log"},
		{"dependencies", "durability/journal/log.go", "package journal\n", "durability/journal does not import example.org/log"},
		{"dependencies", "go.mod", "module sluice\n", "example.org/log is not a direct requirement"},
		{"dependencies", "go.mod", "require (\n" + strings.Repeat("\texample.org/log v1.2.0\n", 30) + ")\n", "30 direct requirements"},
		{"docs", "encode/doc.go", "", "encode: no doc.go"},
		{"docs", "encode/doc.go", "package encode\n", "no package comment"},
		{"examples", "actors/example_test.go", "package p\nfunc TestX() {}\n", "actors: no Example"},
		{"examples", "actors/example_test.go", "package p\nfunc Example() {}\n", "actors: no Example"},
		{"lengths", "encode/a.go", "package p" + many(401), "a.go: 401 lines"},
		{"lengths", "encode/a_test.go", "package p" + many(401), "401 lines"},
		{"lengths", "encode/a.go", "package p\nfunc f() {" + many(70) + "}\n", "f has 71 lines"},
		{"lengths", "encode/a_test.go", "package p\nfunc (t T) f() {" + many(120) + "}\n", "f has 121 lines"},
		{"fields", "encode/a.go", structure("A thing.", 21), "t has 21 fields and methods"},
		{"fields", "encode/a.go", structure("A thing.", 13), "t has 13 fields; above 12"},
		{"state", "encode/a.go", "package p\nvar n int\n", "a.go:2:5: package variable n"},
		{"state", "encode/a.go", "package p\nvar cache = map[string]int{}\nfunc f() { cache[\"a\"] = 1 }\n", "variable cache"},
		{"state", "encode/a.go", "package p\nvar t = [2]int{}\nfunc f() { t[0]++ }\n", "variable t"},
		{"state", "encode/a.go", "package p\nvar t = [2]int{}\nfunc f() { g(&t) }\n", "variable t"},
		{"state", "encode/a.go", "package p\nvar ErrX = errors.New(\"x\")\nfunc f() { ErrX = nil }\n", "variable ErrX"},
		{"state", "encode/a.go", "package p\nvar mu = new(sync.Mutex)\n", "variable mu"},
		{"names", "encode/util.go", "package encode\n", "encode/util.go: name it"},
		{"names", "encode/helpers_test.go", "package encode\n", "name it"},
		{"names", "actors/common/a.go", "package common\n", "name it"},
		{"words", "encode/a.go", "package p\n// TODO: later\n", "a.go:2:1: a comment says TODO"},
		{"top", "scratch.txt", "x", "scratch.txt: does not belong"},
		{"top", "internal/a.go", "package internal\n", "internal: does not belong"},
		{"top", "LICENSE", "", "LICENSE: missing"},
		{"sleeps", "encode/a_test.go", sleep, "a_test.go:2:15: a test sleeps"},
		{"clocks", "durability/raftlog/a.go", "package p\nimport \"time\"\nfunc f() { time.Now() }\n",
			"a.go:3:17 reads a clock by Now"},
		{"clocks", "transport/peer/a.go",
			"package p\nimport \"time\"\nfunc f() { time.Now().UnixNano() }\n", "by UnixNano"},
		{"atomics", "encode/a.go", "package p\nfunc f() { atomic.AddUint64(&n, 1) }\n", "atomic.AddUint64: use the typed"},
		{"decisions", "docs/decisions/0004-four.md", "# 0004", "the next number is 0003"},
		{"decisions", "docs/decisions/0002-again.md", "# 0002", "the next number is 0003"},
		{"decisions", "docs/decisions/0003-three.md", "# 0003", "0003-three.md: not in the index"},
		{"decisions", "docs/decisions/0002-two.md", "# 0003", "does not begin with"},
		{"pages", "docs/page.md", "see `make trails`", "docs/page.md:1: make trails: not in the Makefile"},
		{"pages", "docs/page.md", "```\nmake\nmake trails # all\n```", "docs/page.md:3: make trails"},
		{"pages", "docs/page.md", "[a](../README.md) [b](../READ.md#top)", "link to ../READ.md, which"},
		{"decisions", "docs/decisions/notes.md", "x", "named NNNN-title.md"},
	} {
		src, err := load(planted(tt.path, tt.text))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(rules()[tt.rule](src), "\n"); !strings.Contains(got, tt.want) {
			t.Errorf("%s does not report %q in %s; got %q, want %q", tt.rule, tt.text, tt.path, got, tt.want)
		}
	}
}

func TestRulesAcceptConformingTree(t *testing.T) {
	const sleep = "package p\nfunc Test() { synctest.Test(t, func() { time.Sleep(1) }) }\n"
	src, err := load(planted(
		"Makefile", "run: build ## start\nbuild: ## compile\n",
		"docs/page.md", "`make run X=1`, then\nmake room; [a](decisions/0001-one.md#top) [b](#below) [c](https://example.org/x)\n"+
			"```\nmake build # all\n```\n",
		"encode/parts.go", structure("A thing. Its parts are these.", 20),
		"encode/groups.go", structure("A thing. Its groups of fields have a line each.", 30),
		"encode/a_test.go", sleep,
		"encode/a.go", "package p\nvar ErrX = errors.New(\"x\")\nvar names = [2]string{}\n//go:embed x\nvar page string\nvar _ I = (*T)(nil)\n",
		"durability/journal/a.go", "package p\nimport _ \"sluice/durability\"\nimport _ \"go.uber.org/zap\"\n",
		"actors/a.go", "package p\nimport _ \"sluice/transport\"\n",
		"actors/a_test.go", "package p\nimport _ \"sluice/transport/wire\"\nimport _ \"sluice/actors\"\n",
		"actors/internal/run/a.go", "package p\nimport _ \"sluice/actors/internal/shard\"\n",
		"actors/sequencer/a.go", "package p\nimport _ \"sluice/actors\"\nimport _ \"sluice/durability/journal\"\n",
		"actors/node/a.go", "package p\nimport _ \"sluice/actors/sequencer\"\nimport _ \"sluice/transport/wire\"\n",
		"actors/node/a_test.go", "package p\nimport _ \"sluice/cmd/orderbook\"\n",
		"actors/node/cluster/a.go", "package p\nimport \"time\"\nfunc f() { time.Since(time.Now()) }\n",
		"actors/node/observe/a.go", "package p\nimport _ \"sluice/actors/node\"\nimport _ \"sluice/telemetry/otel\"\nimport _ \"go.opentelemetry.io/otel\"\n",
		"transport/a.go", "package p\nimport _ \"github.com/pawelgaczynski/giouring\"\nimport _ \"golang.org/x/sys/unix\"\n",
		"telemetry/otel/a.go", "package p\nimport _ \"go.opentelemetry.io/otel\"\nimport _ \"sluice/telemetry\"\n",
		"cmd/lab/trials/a.go", "// Package trials is there.\npackage trials\nimport _ \"sluice/cmd/lab/program\"\n",
		"cmd/lab/trials/doc.go", "// Package trials is there.\npackage trials\n",
		"cmd/lab/trials/example_test.go", "package trials\nfunc Example() {\n// Output:\n}\n",
		"cmd/tool/a.go", "package p\nimport _ \"sluice/actors\"\nimport _ \"sluice/transport/wire\"\n",
	))
	if err != nil {
		t.Fatal(err)
	}
	for name, rule := range rules() {
		if name == "sleeps" {
			rule = func(t *tree) []string { return sleeps(t, nil) }
		}
		for _, complaint := range rule(src) {
			t.Errorf("%s: %s", name, complaint)
		}
	}
	if got := sleeps(src, map[string]string{"encode/a_test.go": "no longer"}); len(got) != 1 {
		t.Errorf("an exception that is no longer needed is not reported: %q", got)
	}
}

// structure is a file with a struct that has a comment, a method and n fields.
func structure(comment string, n int) string {
	return "package encode\n// " + comment + "\ntype t struct {\n" + strings.Repeat("f int\n", n) + "}\nfunc (t) m() {}\n"
}
