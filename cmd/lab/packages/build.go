package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// settings returns the environment and the flags of go for a target. They do not depend on the
// directory, the user or the environment.
func settings(t target) (environ, flags []string) {
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		switch name {
		case "GOFLAGS", "GOOS", "GOARCH", "CGO_ENABLED", "GOAMD64", "GOARM64", "GOEXPERIMENT", "GODEBUG", "GOWORK":
		default:
			environ = append(environ, v)
		}
	}
	environ = append(environ, "GOFLAGS=", "GOOS="+t.os, "GOARCH="+t.arch, "CGO_ENABLED=0", "GOAMD64=v1",
		"GOARM64=v8.0", "GOWORK=off",
		// git tells the commit to go build, with any owner of the checkout.
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*")
	if t.os == "linux" {
		flags = []string{"-tags", "giouring"}
	}
	return environ, flags
}

// build compiles the program for a target.
func (r *release) build(t target, to string) error {
	environ, flags := settings(t)
	args := append([]string{"build", "-trimpath", "-buildvcs=auto", "-ldflags=-checklinkname=0 -s -w -buildid="}, flags...)
	c := exec.Command("go", append(args, "-o", to, "./cmd/sluice")...)
	c.Dir, c.Env = r.source, environ
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("go build for %s: %w\n%s", t, err, out)
	}
	return nil
}

// host builds the program for this machine. It prints completions and manual pages.
func (r *release) host() (string, error) {
	path := filepath.Join(r.work, "host")
	return path, r.build(target{runtime.GOOS, runtime.GOARCH}, path)
}

// goList runs `go list` for a target.
func (r *release) goList(t target, args ...string) (string, error) {
	environ, flags := settings(t)
	c := exec.Command("go", append(append([]string{"list"}, flags...), args...)...)
	c.Dir, c.Env = r.source, environ
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("go list for %s: %w", t, err)
	}
	return string(out), nil
}
