package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// staged is a file of a package.
type staged struct {
	to     string // absolute path on the user's machine
	from   string // path of its content here
	mode   fs.FileMode
	config bool // an upgrade keeps the user's changes
}

// stager collects the files of a target.
type stager struct {
	*release
	dir   string // of files that are made here
	files []staged
	errs  []error
}

const docs = "/usr/share/doc/sluice"

// stage builds the program for a target and collects its files, sorted by path.
func (r *release) stage(t target, host string) ([]staged, error) {
	s := &stager{release: r, dir: filepath.Join(r.work, t.String())}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return nil, err
	}
	program := filepath.Join(s.dir, "sluice")
	if err := r.build(t, program); err != nil {
		return nil, err
	}
	s.add("/usr/bin/sluice", program, 0o755)
	s.manual(host)
	if t.os == "linux" {
		s.service()
	}
	s.documents()
	if err := s.err(); err != nil {
		return nil, err
	}
	slices.SortFunc(s.files, func(a, b staged) int { return strings.Compare(a.to, b.to) })
	return s.files, nil
}

func (s *stager) err() error {
	for _, err := range s.errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *stager) add(to, from string, mode fs.FileMode) {
	s.files = append(s.files, staged{to: to, from: from, mode: mode})
}

// make adds a file with a text.
func (s *stager) make(to, text string) {
	from := filepath.Join(s.dir, strings.ReplaceAll(strings.TrimPrefix(to, "/"), "/", "_"))
	s.errs = append(s.errs, os.WriteFile(from, []byte(text), 0o644))
	s.add(to, from, 0o644)
}

// source adds a file of the repository.
func (s *stager) from(to, name string) {
	s.add(to, filepath.Join(s.release.source, filepath.FromSlash(name)), 0o644)
}

// manual adds what the program prints about itself.
func (s *stager) manual(host string) {
	for shell, to := range map[string]string{
		"bash": "/usr/share/bash-completion/completions/sluice",
		"zsh":  "/usr/share/zsh/vendor-completions/_sluice",
		"fish": "/usr/share/fish/vendor_completions.d/sluice.fish",
	} {
		text, err := output(s.dir, nil, host, "completion", shell)
		s.errs = append(s.errs, err)
		s.make(to, text)
	}
	pages := filepath.Join(s.dir, "man")
	s.errs = append(s.errs, os.MkdirAll(pages, 0o755))
	_, err := output(s.dir, nil, host, "man", pages)
	s.errs = append(s.errs, err)
	entries, err := os.ReadDir(pages)
	s.errs = append(s.errs, err)
	for _, e := range entries {
		s.add("/usr/share/man/man1/"+e.Name(), filepath.Join(pages, e.Name()), 0o644)
	}
}

// service adds what a server needs.
func (s *stager) service() {
	s.from("/usr/lib/systemd/system/sluice.service", "deploy/sluice.service")
	s.from("/usr/lib/sysusers.d/sluice.conf", "deploy/package/sysusers.conf")
	s.from("/etc/sluice/sluice.yaml", "deploy/sluice.yaml")
	s.files[len(s.files)-1].config = true
	s.folder("/usr/share/sluice", "deploy", func(name string) bool {
		return !strings.HasPrefix(name, "package/") && name != "sluice.service" && name != "sluice.yaml" &&
			name != "Containerfile"
	})
}

// documents adds documentation, licences and notices.
func (s *stager) documents() {
	for _, name := range []string{"LICENSE", "README.md", "CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md"} {
		s.from(docs+"/"+name, name)
	}
	s.make(docs+"/NOTICE", s.notice())
	s.add(docs+"/sbom.cdx.json", filepath.Join(s.out, "sluice-"+s.version+".cdx.json"), 0o644)
	s.folder(docs+"/docs", "docs", func(name string) bool {
		ext := path.Ext(name)
		return ext == ".md" || ext == ".svg" || ext == ".png"
	})
	for _, m := range s.modules {
		for _, name := range m.texts {
			s.add(docs+"/licences/"+m.Path+"/"+name, filepath.Join(m.Dir, name), 0o644)
		}
	}
}

// folder adds the files below a folder of the repository for which keep holds.
func (s *stager) folder(to, name string, keep func(string) bool) {
	top := filepath.Join(s.release.source, name)
	s.errs = append(s.errs, filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(top, p)
		if rel = filepath.ToSlash(rel); err == nil && keep(rel) {
			s.add(path.Join(to, rel), p, 0o644)
		}
		return err
	}))
}

// output runs a program and returns what it prints.
func output(dir string, environ []string, name string, args ...string) (string, error) {
	c := exec.Command(name, args...)
	c.Dir, c.Env = dir, environ
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return string(out), nil
}
