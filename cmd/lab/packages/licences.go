package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// module is a Go module that is linked into the program, or the standard library.
type module struct {
	Path, Version, Sum string
	Dir                string   // of its files
	licence            string   // SPDX identifiers, joined by AND
	texts              []string // names of its licences and notices in Dir
}

// standard is the name of the standard library in lists of modules.
const standard = "std"

// readModules finds the modules of all targets and their licences.
func (r *release) readModules() error {
	seen := make(map[string]bool)
	for _, t := range r.targets {
		text, err := r.goList(t, "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}", "./cmd/sluice")
		if err != nil {
			return err
		}
		for path := range strings.FieldsSeq(text) {
			seen[path] = true
		}
	}
	text, err := r.goList(r.targets[0], "-m", "-json", "all")
	if err != nil {
		return err
	}
	for d := json.NewDecoder(strings.NewReader(text)); d.More(); {
		var m module
		if err := d.Decode(&m); err != nil {
			return fmt.Errorf("go list -m -json: %w", err)
		}
		if seen[m.Path] {
			r.modules = append(r.modules, m)
		}
	}
	root, err := exec.Command("go", "env", "GOROOT", "GOVERSION").Output()
	if err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	dir, version, _ := strings.Cut(strings.TrimSpace(string(root)), "\n")
	r.modules = append(r.modules, module{Path: standard, Version: strings.TrimPrefix(version, "go"), Dir: dir})
	slices.SortFunc(r.modules, func(a, b module) int { return strings.Compare(a.Path, b.Path) })
	var errs []error
	for i := range r.modules {
		errs = append(errs, r.modules[i].readLicence())
	}
	return errors.Join(errs...)
}

// legal matches names of files that must go with a program.
var legal = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents|copyright)([._-].*)?$`)

// readLicence finds the licences of a module.
func (m *module) readLicence() error {
	entries, err := os.ReadDir(m.Dir)
	if err != nil {
		return fmt.Errorf("licence of %s: %w", m.Path, err)
	}
	var found []string
	for _, e := range entries {
		if e.IsDir() || !legal.MatchString(e.Name()) || strings.HasSuffix(e.Name(), ".go") {
			continue
		}
		m.texts = append(m.texts, e.Name())
		text, err := os.ReadFile(filepath.Join(m.Dir, e.Name()))
		if err != nil {
			return err
		}
		for _, id := range identify(text) {
			if !slices.Contains(found, id) {
				found = append(found, id)
			}
		}
	}
	if len(found) == 0 {
		return fmt.Errorf("%s %s: none of its files %q is a licence that is known here; read it, and add it to cmd/lab/packages/licences.go",
			m.Path, m.Version, m.texts)
	}
	slices.Sort(found)
	m.licence = strings.Join(found, " AND ")
	return nil
}

// identify returns the SPDX identifiers of a text.
func identify(text []byte) (ids []string) {
	plain := string(bytes.Join(bytes.Fields(bytes.ToLower(text)), []byte(" ")))
	has := func(words string) bool { return strings.Contains(plain, words) }
	if has("apache license version 2.0") || has("apache license, version 2.0") {
		ids = append(ids, "Apache-2.0")
	}
	if has("permission is hereby granted, free of charge, to any person obtaining a copy") {
		ids = append(ids, "MIT")
	}
	if has("redistribution and use in source and binary forms") {
		if has("neither the name") || has("the names of its contributors may not") {
			ids = append(ids, "BSD-3-Clause")
		} else {
			ids = append(ids, "BSD-2-Clause")
		}
	}
	if has("mozilla public license version 2.0") || has("mozilla public license, version 2.0") {
		ids = append(ids, "MPL-2.0")
	}
	if has("permission to use, copy, modify, and/or distribute this software for any purpose") {
		ids = append(ids, "ISC")
	}
	return ids
}

// notice is the text that lists all modules with their licences.
func (r *release) notice() string {
	var b strings.Builder
	fmt.Fprintf(&b, "sluice %s is licensed under Apache-2.0; see LICENSE. The program contains these modules. Their\n"+
		"licences and notices are in licences/, by path.\n\n", r.version)
	for _, m := range r.modules {
		fmt.Fprintf(&b, "%s %s: %s\n", m.Path, m.Version, m.licence)
	}
	b.WriteString("\nThe OCI image also has the certificate authorities of Mozilla's NSS (MPL-2.0), as they are in\n" +
		"golang.org/x/crypto/x509roots/fallback (BSD-3-Clause).\n")
	return b.String()
}
