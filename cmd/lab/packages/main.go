package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// target is an operating system and an architecture.
type target struct{ os, arch string }

func (t target) String() string { return t.os + "-" + t.arch }

// targets lists what is built if nothing else is asked for. A server runs on Linux only.
func targets() []target {
	return []target{{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"}, {"windows", "amd64"}}
}

// release is one run of the program.
type release struct {
	source  string    // top of the repository
	out     string    // directory of the results; emptied before
	work    string    // temporary directory
	version string    // of the packages
	commit  string    // empty if it is not known
	when    time.Time // of every file: the time of the commit
	targets []target
	formats []string

	modules []module // linked into any target
	made    []string // files in out
}

func main() {
	r := &release{}
	var only, formats string
	flag.StringVar(&r.source, "source", "../../..", "build the repository in this `directory`")
	flag.StringVar(&r.out, "out", "../../../dist", "write the packages into this `directory`, which is emptied before")
	flag.StringVar(&r.version, "version", "", "give the packages this `version` instead of that of the source")
	flag.StringVar(&only, "targets", "", "build only these `targets`, such as linux-amd64,linux-arm64")
	flag.StringVar(&formats, "formats", "archive,deb,rpm,image", "make only these `formats`")
	flag.Parse()
	r.formats = strings.Split(formats, ",")
	if err := r.choose(only); err != nil {
		fmt.Fprintln(os.Stderr, "packages:", err)
		os.Exit(64)
	}
	began := time.Now()
	if err := r.run(); err != nil {
		fmt.Fprintln(os.Stderr, "packages:", err)
		os.Exit(1)
	}
	fmt.Printf("%d files in %s after %s\n", len(r.made), r.out, time.Since(began).Round(time.Second))
}

// choose sets the targets.
func (r *release) choose(only string) error {
	r.targets = targets()
	if only == "" {
		return nil
	}
	var names, known []string
	for _, t := range r.targets {
		known = append(known, t.String())
	}
	for name := range strings.SplitSeq(only, ",") {
		if !slices.Contains(known, name) {
			return fmt.Errorf("unknown target %q; the targets are %s", name, strings.Join(known, ", "))
		}
		names = append(names, name)
	}
	r.targets = slices.DeleteFunc(r.targets, func(t target) bool { return !slices.Contains(names, t.String()) })
	return nil
}

// run makes everything.
func (r *release) run() (err error) {
	if r.source, err = filepath.Abs(r.source); err != nil {
		return err
	}
	if r.out, err = filepath.Abs(r.out); err != nil {
		return err
	}
	if r.work, err = os.MkdirTemp("", "packages"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.work)) }()
	if err := r.identify(); err != nil {
		return err
	}
	if err := os.RemoveAll(r.out); err != nil {
		return err
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	if err := r.readModules(); err != nil {
		return err
	}
	if err := r.writeBill(); err != nil {
		return err
	}
	host, err := r.host()
	if err != nil {
		return err
	}
	for _, t := range r.targets {
		before, began := len(r.made), time.Now()
		if err := r.packageFor(t, host); err != nil {
			return fmt.Errorf("%s: %w", t, err)
		}
		for _, file := range r.made[before:] {
			fmt.Println(file)
		}
		fmt.Printf("%s took %s\n", t, time.Since(began).Round(time.Second))
	}
	return r.writeSums()
}

// packageFor makes the packages of a target. host is a program of this machine.
func (r *release) packageFor(t target, host string) error {
	s, err := r.stage(t, host)
	if err != nil {
		return err
	}
	for _, format := range r.formats {
		switch {
		case format == "archive":
			err = r.writeArchive(t, s)
		case t.os != "linux":
		case format == "image":
			err = r.writeImage(t, s)
		default:
			err = r.writePackage(t, format, s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// identify reads version, commit and time from the source.
func (r *release) identify() error {
	text, err := os.ReadFile(filepath.Join(r.source, "version.go"))
	if err != nil {
		return err
	}
	m := regexp.MustCompile(`const Version = "([^"]+)"`).FindSubmatch(text)
	if m == nil {
		return errors.New("version.go: no line with const Version")
	}
	if r.version == "" {
		r.version = string(m[1])
	}
	r.when = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	line, err := r.git("log", "-1", "--format=%H %ct")
	if commit, seconds, ok := strings.Cut(line, " "); err == nil && ok {
		n, err := strconv.ParseInt(seconds, 10, 64)
		if err != nil {
			return fmt.Errorf("git log: %q: %w", line, err)
		}
		r.commit, r.when = commit, time.Unix(n, 0).UTC()
	} else {
		fmt.Println("packages: no git history here: the program does not know its commit, and files are of",
			r.when.Format(time.DateOnly))
	}
	fmt.Printf("sluice %s, commit %s, %s\n", r.version, r.commit, r.when.Format(time.RFC3339))
	return nil
}

// git runs git in the source, with any owner.
func (r *release) git(args ...string) (string, error) {
	c := exec.Command("git", append([]string{"-c", "safe.directory=*", "-C", r.source}, args...)...)
	out, err := c.Output()
	return strings.TrimSpace(string(out)), err
}

// path is the path of a result, which is noted.
func (r *release) path(name string) string {
	r.made = append(r.made, name)
	return filepath.Join(r.out, name)
}
