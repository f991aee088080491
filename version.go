package sluice

import (
	"embed"
	"reflect"
	"runtime"
	"runtime/debug"
)

// Version is the version of this source, by semantic versioning. A release is a commit that changes
// it, with a heading of CHANGELOG.md.
const Version = "0.2.0"

// Unknown stands for a commit or date that is not known.
const Unknown = "unknown"

// Build is what a program was built from.
type Build struct {
	Version  string // of sluice, the constant Version
	Commit   string // of this repository, all digits; Unknown if the build has no stamp of it
	Modified bool   // the sources had changes that were not in Commit
	Date     string // of Commit, RFC 3339; Unknown like Commit
	Go       string // version of Go that compiled it
}

// ReadBuild reads what this program was built from. The commit is stamped by `go build` in a
// checkout; it is Unknown in tests, under -buildvcs=false, and in a program of another module.
func ReadBuild() Build {
	b := Build{Version: Version, Commit: Unknown, Date: Unknown, Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Path != reflect.TypeFor[Build]().PkgPath() {
		return b // the stamps are those of another repository
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.Date = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

// String is the version with the commit as build metadata: 0.2.0+d6e1b27f4e1c. Without a known
// commit it is the version alone.
func (b Build) String() string {
	if b.Commit == Unknown {
		return b.Version
	}
	text := b.Version + "+" + b.Commit[:min(len(b.Commit), 12)]
	if b.Modified {
		text += ".changed"
	}
	return text
}

// pages has the documentation of this version.
//
//go:embed CHANGELOG.md CONTRIBUTING.md LICENSE README.md SECURITY.md docs/*.md docs/decisions/*.md
var pages embed.FS

// Pages is the documentation of this version, as in the repository: README.md, CHANGELOG.md, LICENSE
// and docs. A program that does not call it does not contain it.
func Pages() embed.FS { return pages }
