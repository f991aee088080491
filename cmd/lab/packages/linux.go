package main

import (
	"os"
	"path/filepath"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb" // registers the format
	"github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/rpm" // registers the format
)

const description = `order book behind a durable response pipeline
 A server that journals every request with group commit, applies it to an order book, holds each
 response back until its event is as durable as the policy asks, and sends it through io_uring to
 thousands of clients, none of which can delay another.`

// writePackage writes a deb or an rpm.
func (r *release) writePackage(t target, format string, all []staged) error {
	script := func(name string) string { return filepath.Join(r.source, "deploy", "package", name) }
	info := nfpm.WithDefaults(&nfpm.Info{
		Name: "sluice", Arch: t.arch, Platform: "linux", Version: r.version, Release: "1", Section: "net",
		Priority:   "optional",
		Maintainer: "sluice maintainers <maintainers@sluice.invalid>", Description: description,
		License: "Apache-2.0", MTime: r.when, DisableGlobbing: true,
		Overridables: nfpm.Overridables{
			Recommends: []string{"ca-certificates"}, // for OTLP over TLS
			Scripts: nfpm.Scripts{PostInstall: script("postinstall.sh"), PreRemove: script("preremove.sh"),
				PostRemove: script("postremove.sh")},
			RPM: nfpm.RPM{BuildHost: "localhost", Summary: "order book behind a durable response pipeline"},
		},
	})
	info.Contents = append(info.Contents, &files.Content{Destination: "/etc/sluice", Type: files.TypeDir,
		FileInfo: &files.ContentFileInfo{Mode: 0o750, MTime: r.when}})
	for _, f := range all {
		c := &files.Content{Source: f.from, Destination: f.to, FileInfo: &files.ContentFileInfo{
			Owner: "root", Group: "root", Mode: f.mode, MTime: r.when}}
		if f.config {
			c.Type = files.TypeConfigNoReplace
		}
		info.Contents = append(info.Contents, c)
	}
	if err := nfpm.PrepareForPackager(info, format); err != nil {
		return err
	}
	p, err := nfpm.Get(format)
	if err != nil {
		return err
	}
	out, err := os.Create(r.path(p.ConventionalFileName(info)))
	if err != nil {
		return err
	}
	if err := p.Package(info, out); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}
