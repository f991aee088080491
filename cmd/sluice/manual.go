package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sluice"
	"sluice/cmd/internal/config"
	"sluice/cmd/internal/manual"
)

const completionHead = `usage: sluice completion bash|zsh|fish

Prints completions for a shell. The packages install them. By hand:

  bash    sluice completion bash > ~/.local/share/bash-completion/completions/sluice
  zsh     sluice completion zsh > a directory of $fpath, as _sluice
  fish    sluice completion fish > ~/.config/fish/completions/sluice.fish

Exit codes: 0 done, 64 usage error.`

const manHead = `usage: sluice man DIR

Writes the manual pages sluice.1, sluice-serve.1 and so on into a directory. The packages install them.

Exit codes: 0 done, 1 failed, 64 usage error.`

// complete is `sluice completion`.
func complete(e *env, args []string) error {
	rest, done, err := load(e, config.NewSet(""), args, completionHead)
	if done || err != nil {
		return err
	}
	if len(rest) == 1 {
		if text, ok := manual.Complete(rest[0], "sluice", described()); ok {
			_, err := fmt.Fprint(e.stdout, text)
			return err
		}
	}
	return config.Usagef("write sluice completion %s", strings.Join(manual.Shells(), ", or "))
}

// writeManual is `sluice man`.
func writeManual(e *env, args []string) error {
	rest, done, err := load(e, config.NewSet(""), args, manHead)
	if done || err != nil {
		return err
	}
	if len(rest) != 1 {
		return config.Usagef("write sluice man DIR")
	}
	all, version := described(), "sluice "+sluice.Version
	pages := map[string]string{"sluice": manual.Overview("sluice", version, about, overviewFoot, all)}
	for _, c := range all {
		pages["sluice-"+strings.ReplaceAll(c.Name, " ", "-")] = manual.Page("sluice", version, c)
	}
	var errs []error
	for name, text := range pages {
		errs = append(errs, os.WriteFile(filepath.Join(rest[0], name+".1"), []byte(text), 0o644))
	}
	return errors.Join(errs...)
}

// described returns all commands with their help texts, those of `sluice cluster` included.
func described() (all []manual.Command) {
	for _, c := range commands() {
		all = append(all, describe(c.name, c.about))
		if c.name != "cluster" {
			continue
		}
		for _, v := range clusterVerbs() {
			all = append(all, describe(c.name+" "+v.name, ""))
		}
	}
	return all
}

func describe(name, about string) manual.Command {
	var out, problems bytes.Buffer
	run(&env{stdin: &out, stdout: &out, stderr: &problems}, append(strings.Fields(name), "--help"))
	c := manual.Command{Name: name, About: about, Help: out.String()}
	c.Parse()
	return c
}
