package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// bill is a CycloneDX document, as far as it is used here.
type bill struct {
	Schema       string       `json:"$schema"`
	Format       string       `json:"bomFormat"`
	Spec         string       `json:"specVersion"`
	Serial       string       `json:"serialNumber"`
	Version      int          `json:"version"`
	Metadata     metadata     `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type metadata struct {
	Timestamp string    `json:"timestamp"`
	Component component `json:"component"`
}

type component struct {
	Ref        string       `json:"bom-ref"`
	Type       string       `json:"type"`
	Name       string       `json:"name"`
	Version    string       `json:"version"`
	Licences   []expression `json:"licenses"`
	Purl       string       `json:"purl"`
	Properties []property   `json:"properties,omitempty"`
}

type expression struct {
	Expression string `json:"expression"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type dependency struct {
	Ref string   `json:"ref"`
	On  []string `json:"dependsOn"`
}

func purl(path, version string) string { return "pkg:golang/" + path + "@" + version }

// writeBill writes the bill of materials: the modules that are linked, and the module graph among them.
func (r *release) writeBill() error {
	own := component{Type: "application", Name: "sluice", Version: r.version, Licences: []expression{{"Apache-2.0"}},
		Purl: purl("sluice", r.version)}
	own.Ref = own.Purl
	if r.commit != "" {
		own.Properties = []property{{"vcs:commit", r.commit}}
	}
	b := bill{Schema: "http://cyclonedx.org/schema/bom-1.6.schema.json", Format: "CycloneDX", Spec: "1.6", Version: 1,
		Metadata: metadata{r.when.Format(time.RFC3339), own}}
	refs := map[string]string{"sluice": own.Ref} // of the modules that are linked, by path
	for _, m := range r.modules {
		c := component{Type: "library", Name: m.Path, Version: m.Version, Licences: []expression{{m.licence}},
			Purl: purl(m.Path, m.Version)}
		c.Ref = c.Purl
		if m.Sum != "" {
			c.Properties = []property{{"go:sum", m.Sum}}
		}
		refs[m.Path] = c.Ref
		b.Components = append(b.Components, c)
	}
	var err error
	if b.Dependencies, err = r.graph(refs); err != nil {
		return err
	}
	body, err := json.Marshal(b)
	if err != nil {
		return err
	}
	h := sha256.Sum256(body) // a serial number that the same contents have again
	h[6], h[8] = h[6]&0x0f|0x80, h[8]&0x3f|0x80
	id := hex.EncodeToString(h[:16])
	b.Serial = fmt.Sprintf("urn:uuid:%s-%s-%s-%s-%s", id[:8], id[8:12], id[12:16], id[16:20], id[20:])
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(r.path("sluice-"+r.version+".cdx.json"), append(text, '\n'), 0o644)
}

// graph returns which linked module requires which, by the module graph. Everything uses the standard
// library.
func (r *release) graph(refs map[string]string) (all []dependency, err error) {
	environ, _ := settings(r.targets[0])
	text, err := output(r.source, environ, "go", "mod", "graph")
	if err != nil {
		return nil, err
	}
	on := make(map[string][]string)
	for line := range strings.Lines(text) {
		from, to, _ := strings.Cut(strings.TrimSpace(line), " ")
		from, _, _ = strings.Cut(from, "@") // versions differ: one of each module is linked
		to, _, _ = strings.Cut(to, "@")
		if refs[from] != "" && refs[to] != "" && !slices.Contains(on[refs[from]], refs[to]) {
			on[refs[from]] = append(on[refs[from]], refs[to])
		}
	}
	for path, ref := range refs {
		list := on[ref]
		if path != standard {
			list = append(list, refs[standard])
		}
		slices.Sort(list)
		all = append(all, dependency{ref, list})
	}
	slices.SortFunc(all, func(a, b dependency) int { return strings.Compare(a.Ref, b.Ref) })
	return all, nil
}

// writeSums writes the checksums of everything, in the format of sha256sum.
func (r *release) writeSums() error {
	var b strings.Builder
	slices.Sort(r.made)
	for _, name := range r.made {
		text, err := os.ReadFile(filepath.Join(r.out, name))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(text), name)
	}
	return os.WriteFile(r.path("SHA256SUMS"), []byte(b.String()), 0o644)
}
