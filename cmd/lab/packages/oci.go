package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// user is that of the image.
const user = 65532

// descriptor is a reference to a blob of an OCI layout.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    *platform         `json:"platform,omitempty"`
}

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

const ociTypes = "application/vnd.oci.image."

// writeImage writes an OCI layout in a tar, with one image of one layer.
func (r *release) writeImage(t target, all []staged) error {
	plain, err := r.layer(all)
	if err != nil {
		return err
	}
	var zipped bytes.Buffer
	z, err := gzip.NewWriterLevel(&zipped, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := z.Write(plain); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	blobs := make(map[string][]byte)
	put := func(kind string, b []byte) descriptor {
		h := sha256.Sum256(b)
		name := hex.EncodeToString(h[:])
		blobs[name] = b
		return descriptor{MediaType: ociTypes + kind, Digest: "sha256:" + name, Size: len(b)}
	}
	var bad error
	text := func(v any) []byte {
		b, err := json.Marshal(v)
		if err != nil {
			bad = err
		}
		return b
	}
	diff := sha256.Sum256(plain)
	layer := put("layer.v1.tar+gzip", zipped.Bytes())
	config := put("config.v1+json", text(r.imageConfig(t, "sha256:"+hex.EncodeToString(diff[:]))))
	manifest := put("manifest.v1+json", text(map[string]any{"schemaVersion": 2, "mediaType": ociTypes + "manifest.v1+json",
		"config": config, "layers": []descriptor{layer}}))
	manifest.Platform = &platform{t.arch, "linux"}
	manifest.Annotations = map[string]string{"org.opencontainers.image.ref.name": r.version,
		"io.containerd.image.name": "docker.io/library/sluice:" + r.version}
	index := text(map[string]any{"schemaVersion": 2, "mediaType": ociTypes + "index.v1+json",
		"manifests": []descriptor{manifest}})
	if bad != nil {
		return bad
	}
	return r.writeLayout(r.path("sluice-"+r.version+"-"+t.String()+".oci.tar"), index, blobs,
		config.Digest, manifest.Digest, layer.Digest)
}

// writeLayout writes the files of an OCI layout.
func (r *release) writeLayout(to string, index []byte, blobs map[string][]byte, digests ...string) error {
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	w := &tape{Writer: tar.NewWriter(out), when: r.when}
	if err := w.bytes("oci-layout", 0o644, []byte(`{"imageLayoutVersion":"1.0.0"}`)); err != nil {
		return err
	}
	if err := w.bytes("index.json", 0o644, index); err != nil {
		return err
	}
	for _, d := range digests {
		name := strings.TrimPrefix(d, "sha256:")
		if err := w.bytes("blobs/sha256/"+name, 0o644, blobs[name]); err != nil {
			return err
		}
	}
	return closeAll(w, out)
}

// layer is the tar of the image's files.
func (r *release) layer(all []staged) ([]byte, error) {
	var out bytes.Buffer
	w := &tape{Writer: tar.NewWriter(&out), when: r.when}
	for _, f := range []struct{ name, text string }{
		{"etc/passwd", "root:x:0:0:root:/:/sbin/nologin\nsluice:x:65532:65532:sluice:/data:/sbin/nologin\n"},
		{"etc/group", "root:x:0:\nsluice:x:65532:\n"},
		{"etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"},
		{"etc/nsswitch.conf", "hosts: files dns\n"},
		{"etc/ssl/certs/ca-certificates.crt", authorities()},
	} {
		if err := w.bytes(f.name, 0o644, []byte(f.text)); err != nil {
			return nil, err
		}
	}
	for _, f := range all {
		switch {
		case f.to == "/usr/bin/sluice":
			if err := w.file("sluice", f); err != nil {
				return nil, err
			}
		case f.to == docs+"/LICENSE", f.to == docs+"/NOTICE", f.to == docs+"/sbom.cdx.json",
			strings.HasPrefix(f.to, docs+"/licences/"):
			if err := w.file(strings.TrimPrefix(f.to, "/"), f); err != nil {
				return nil, err
			}
		}
	}
	for _, name := range []string{"data", "run/sluice"} {
		if err := w.folder(name, 0o700, user); err != nil {
			return nil, err
		}
	}
	if err := w.folder("tmp", 0o1777, 0); err != nil {
		return nil, err
	}
	return out.Bytes(), w.Close()
}

// authorities are Mozilla's certificate authorities, in PEM. Those that are trusted under a condition
// are left out, because PEM cannot say it.
func authorities() string {
	var b strings.Builder
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}) // to memory
	}
	return b.String()
}

// imageConfig is the configuration of the image: that of deploy/Containerfile.
func (r *release) imageConfig(t target, diff string) map[string]any {
	return map[string]any{
		"created": r.when.Format(time.RFC3339), "architecture": t.arch, "os": "linux",
		"config": map[string]any{
			"User": "65532:65532", "ExposedPorts": map[string]any{"9876/tcp": struct{}{}},
			"Env": []string{"PATH=/", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"},
			"Entrypoint": []string{"/sluice", "serve", "--data-dir", "/data", "--listen-tcp", "0.0.0.0:9876",
				"--authorized-keys", "/etc/sluice/keys", "--admin-socket", "/run/sluice/admin"},
			"Volumes":    map[string]any{"/data": struct{}{}, "/run/sluice": struct{}{}},
			"WorkingDir": "/", "StopSignal": "SIGTERM",
			"Labels": map[string]string{"org.opencontainers.image.version": r.version,
				"org.opencontainers.image.revision": r.commit,
				"org.opencontainers.image.licenses": "Apache-2.0", "org.opencontainers.image.title": "sluice"},
		},
		"rootfs":  map[string]any{"type": "layers", "diff_ids": []string{diff}},
		"history": []map[string]any{{"created": r.when.Format(time.RFC3339), "created_by": "make package"}},
	}
}
