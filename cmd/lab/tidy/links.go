package tidy

import (
	"fmt"
	"slices"
	"strings"
)

// linked is a package that a program links, and what it imports.
type linked struct {
	path    string
	imports []string
}

// readLinked reads the output of linkedFormat: a package and its imports on each line.
func readLinked(text string) (list []linked) {
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) > 0 {
			list = append(list, linked{words[0], words[1:]})
		}
	}
	return list
}

// linkedFormat is for `go list -deps -f`.
const linkedFormat = "{{.ImportPath}} {{join .Imports \" \"}}"

// links checks what a program links that embeds a package: foreign packages are below one of
// allowed, and exporters of OTLP are not linked. gRPC comes with etcd's log, whose file version.go,
// which the journal never calls, imports etcdserverpb; nothing else may import it (decision 0026).
func links(program []linked, allowed ...string) (bad []string) {
	for _, p := range program {
		if strings.Contains(strings.SplitN(p.path, "/", 2)[0], ".") &&
			!slices.ContainsFunc(allowed, func(top string) bool { return below(p.path, top) }) {
			bad = append(bad, p.path+" is linked")
		}
		for _, to := range p.imports {
			switch {
			case below(to, "go.opentelemetry.io/otel/exporters/otlp"), below(to, "go.opentelemetry.io/proto/otlp"):
				bad = append(bad, fmt.Sprintf("%s imports %s", p.path, to))
			case below(to, "google.golang.org/grpc") && !below(p.path, "google.golang.org/grpc") &&
				p.path != "go.etcd.io/etcd/api/v3/etcdserverpb":
				bad = append(bad, fmt.Sprintf("%s imports %s", p.path, to))
			}
		}
	}
	return bad
}
