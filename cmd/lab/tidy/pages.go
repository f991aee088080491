package tidy

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
)

// pages checks what the Markdown pages name: verbs of make must be in the Makefile, and the targets
// of relative links must exist.
func pages(t *tree) (bad []string) {
	makefile, _ := fs.ReadFile(t.root, "Makefile")
	prose := regexp.MustCompile("`make ([a-z][a-z-]*)")
	code := regexp.MustCompile(`^ *make ([a-z][a-z-]*)`)
	link := regexp.MustCompile(`\]\(([^)#: ]+)(?:#[^)]*)?\)`)
	page := func(p, text string) {
		fenced := false
		for i, line := range strings.Split(text, "\n") {
			fenced = fenced != strings.HasPrefix(line, "```")
			verb := prose
			if fenced {
				verb = code
			}
			for _, m := range verb.FindAllStringSubmatch(line, -1) {
				if !strings.Contains("\n"+string(makefile), "\n"+m[1]+":") {
					bad = append(bad, fmt.Sprintf("%s:%d: make %s: not in the Makefile", p, i+1, m[1]))
				}
			}
			for _, m := range link.FindAllStringSubmatch(line, -1) {
				if _, err := fs.Stat(t.root, path.Join(path.Dir(p), m[1])); err != nil {
					bad = append(bad, fmt.Sprintf("%s:%d: link to %s, which does not exist", p, i+1, m[1]))
				}
			}
		}
	}
	_ = fs.WalkDir(t.root, ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || d.IsDir() && skipped(p):
			return fs.SkipDir
		case path.Ext(p) == ".md":
			text, err := fs.ReadFile(t.root, p)
			if err != nil {
				bad = append(bad, fmt.Sprintf("%s: %v", p, err))
			}
			page(p, string(text))
		}
		return nil
	})
	return bad
}
