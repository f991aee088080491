package tidy

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

// mostRequirements is the limit for direct requirements of the main module.
const mostRequirements = 29

// requirement is a line of a go.mod file.
type requirement struct {
	module, version string
	indirect        bool
}

// requirements reads the requirements of a go.mod file.
func requirements(text string) (list []requirement) {
	line := regexp.MustCompile(`(?m)^(?:require |\t)([^\s()]+) (v\S+)(.*)$`)
	for _, m := range line.FindAllStringSubmatch(text, -1) {
		list = append(list, requirement{m[1], m[2], strings.Contains(m[3], "// indirect")})
	}
	return list
}

// modules allows go.mod files at the top and below cmd/lab only. The lab runs parts of the main
// module in its own tests, so it takes them with the versions of the main module.
func modules(t *tree) (bad []string) {
	err := fs.WalkDir(t.root, ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && skipped(p):
			return fs.SkipDir
		case d.Name() == "go.mod" && p != "go.mod" && !below(p, "cmd/lab"):
			bad = append(bad, p+": a module of its own; only those below cmd/lab are")
		}
		return nil
	})
	if err != nil {
		bad = append(bad, err.Error())
	}
	own := make(map[string]string)
	for _, r := range requirements(t.text("go.mod")) {
		own[r.module] = r.version
	}
	for _, r := range requirements(t.text("cmd/lab/go.mod")) {
		if v := own[r.module]; v != "" && v != r.version {
			bad = append(bad, fmt.Sprintf("cmd/lab/go.mod: requires %s %s, the main module %s: they must agree", r.module, r.version, v))
		}
	}
	return bad
}

// dependencies asks for a table row for each direct requirement of the main module: what needs it,
// and why it is this one.
func dependencies(t *tree) (bad []string) {
	const page = "docs/dependencies.md"
	users := make(map[string][]string)
	row := regexp.MustCompile("(?m)^\\| `([^`]*\\.[^`]*/[^`]*)` \\| (`[^|]*`) \\| [^|]+ \\| [^|]+ \\|$")
	for _, m := range row.FindAllStringSubmatch(t.text(page), -1) {
		for user := range strings.SplitSeq(m[2], ", ") {
			users[m[1]] = append(users[m[1]], strings.Trim(user, "`"))
		}
	}
	direct := 0
	for _, r := range requirements(t.text("go.mod")) {
		if r.indirect {
			continue
		}
		direct++
		if len(users[r.module]) == 0 {
			bad = append(bad, fmt.Sprintf("%s: no row for %s: module, the packages that need it, for what, why this one", page, r.module))
		}
		for _, dir := range users[r.module] {
			if !t.uses(dir, r.module) {
				bad = append(bad, fmt.Sprintf("%s: %s does not import %s", page, dir, r.module))
			}
		}
		delete(users, r.module)
	}
	if direct > mostRequirements {
		bad = append(bad, fmt.Sprintf("go.mod: %d direct requirements, at most %d", direct, mostRequirements))
	}
	for _, module := range slices.Sorted(maps.Keys(users)) {
		bad = append(bad, fmt.Sprintf("%s: %s is not a direct requirement of go.mod", page, module))
	}
	return bad
}

// uses reports whether a file of a package imports from a module.
func (t *tree) uses(dir, module string) bool {
	return slices.ContainsFunc(t.files, func(f *source) bool {
		return f.dir == dir && slices.ContainsFunc(f.imports(), func(p string) bool { return below(p, module) })
	})
}

// text is the content of a file, or empty.
func (t *tree) text(name string) string {
	text, _ := fs.ReadFile(t.root, name) // rule top complains about files that are missing
	return string(text)
}

// below reports whether a slash-separated path is another one or lies below it.
func below(p, top string) bool { return p == top || strings.HasPrefix(p, top+"/") }

// skipped reports whether a directory is not looked at.
func skipped(dir string) bool {
	base := path.Base(dir)
	return dir != "." && (strings.HasPrefix(base, ".") || base == "testdata" || dir == "bin" || dir == "data")
}
