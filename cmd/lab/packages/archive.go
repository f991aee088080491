package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// writeArchive writes a zip for Windows, else a tar.gz, with everything in one folder.
func (r *release) writeArchive(t target, all []staged) error {
	folder := "sluice-" + r.version + "-" + t.String()
	inside := func(f staged) string {
		switch f.to {
		case "/usr/bin/sluice":
			if t.os == "windows" {
				return folder + "/sluice.exe"
			}
			return folder + "/bin/sluice"
		}
		if document, ok := strings.CutPrefix(f.to, docs+"/"); ok {
			return folder + "/" + document // so that the links of the README lead to them
		}
		return folder + "/" + strings.TrimPrefix(strings.TrimPrefix(f.to, "/usr"), "/")
	}
	if t.os == "windows" {
		return r.writeZip(folder, inside, all)
	}
	out, err := os.Create(r.path(folder + ".tar.gz"))
	if err != nil {
		return err
	}
	zipped, err := gzip.NewWriterLevel(out, gzip.BestCompression)
	if err != nil {
		return err
	}
	w := &tape{Writer: tar.NewWriter(zipped), when: r.when}
	for _, f := range all {
		if err := w.file(inside(f), f); err != nil {
			return err
		}
	}
	return closeAll(w, zipped, out)
}

// writeZip writes a zip.
func (r *release) writeZip(folder string, inside func(staged) string, all []staged) error {
	out, err := os.Create(r.path(folder + ".zip"))
	if err != nil {
		return err
	}
	w := zip.NewWriter(out)
	for _, f := range all {
		h := &zip.FileHeader{Name: inside(f), Method: zip.Deflate, Modified: r.when}
		h.SetMode(f.mode)
		text, err := os.ReadFile(f.from)
		if err != nil {
			return err
		}
		entry, err := w.CreateHeader(h)
		if err != nil {
			return err
		}
		if _, err := entry.Write(text); err != nil {
			return err
		}
	}
	return closeAll(w, out)
}

// tape is a tar whose entries have one time and, unless said otherwise, root as owner. Folders are
// made before their files.
type tape struct {
	*tar.Writer
	when time.Time
	made []string // folders
}

// folder adds a folder and those that it is in.
func (w *tape) folder(name string, mode fs.FileMode, owner int) error {
	if name == "." || name == "" || slices.Contains(w.made, name) {
		return nil
	}
	if err := w.folder(path.Dir(name), 0o755, 0); err != nil {
		return err
	}
	w.made = append(w.made, name)
	return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: int64(mode), ModTime: w.when,
		Uid: owner, Gid: owner, Format: tar.FormatPAX})
}

// file adds a file.
func (w *tape) file(name string, f staged) error {
	text, err := os.ReadFile(f.from)
	if err != nil {
		return err
	}
	return w.bytes(name, f.mode, text)
}

// bytes adds a file with a content.
func (w *tape) bytes(name string, mode fs.FileMode, text []byte) error {
	if err := w.folder(path.Dir(name), 0o755, 0); err != nil {
		return err
	}
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: int64(mode), Size: int64(len(text)),
		ModTime: w.when, Format: tar.FormatPAX}); err != nil {
		return err
	}
	_, err := w.Write(text)
	return err
}

// closeAll closes in order and returns the first error.
func closeAll(all ...io.Closer) (first error) {
	for _, c := range all {
		if err := c.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}
