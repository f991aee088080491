package tidy

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// everything is what a node with its pages may link.
var everything = []string{"go.etcd.io", "go.opentelemetry.io", "go.uber.org", "google.golang.org", "github.com", "golang.org/x"}

func TestEmbeddersLinkWhatIsDocumented(t *testing.T) {
	list := func(args ...string) string {
		cmd := exec.Command("go", append([]string{"list"}, args...)...)
		cmd.Dir, cmd.Stderr = "../../..", os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	own := list("-m") // a fork may have renamed it
	for pkg, allowed := range map[string][]string{
		"./actors":              {"golang.org/x/sys", "github.com/pawelgaczynski/giouring"},
		"./transport/client":    {"golang.org/x/sys"},
		"./transport/peer":      {"golang.org/x/sys"},
		"./actors/node":         {"go.etcd.io", "go.uber.org", "google.golang.org", "github.com", "golang.org/x"},
		"./actors/node/observe": everything,
	} {
		program := readLinked(list("-tags", "giouring", "-deps", "-f", linkedFormat, pkg))
		if len(program) < 50 {
			t.Fatalf("%s links %d packages", pkg, len(program))
		}
		for _, complaint := range links(program, append(allowed, own)...) {
			t.Errorf("a program that imports %s: %s", pkg, complaint)
		}
	}
}

func TestLinksReportsGRPCAndOTLP(t *testing.T) {
	const good = "net/http net vendor/golang.org/x/net\n" +
		"go.etcd.io/etcd/api/v3/etcdserverpb google.golang.org/grpc google.golang.org/grpc/codes\n" +
		"google.golang.org/grpc google.golang.org/grpc/codes\n"
	for line, want := range map[string]string{
		"": "",
		"go.etcd.io/etcd/api/v3/other google.golang.org/grpc":                  "other imports google.golang.org/grpc",
		"sluice/actors/node go.opentelemetry.io/otel/exporters/otlp/otlptrace": "imports go.opentelemetry.io/otel/exporters/otlp/otlptrace",
		"go.opentelemetry.io/x fmt go.opentelemetry.io/proto/otlp/trace/v1":    "imports go.opentelemetry.io/proto/otlp",
		"example.org/surprise fmt":                                             "example.org/surprise is linked",
	} {
		got := strings.Join(links(readLinked(good+line), everything...), "\n")
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}
