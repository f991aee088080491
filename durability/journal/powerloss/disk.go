package powerloss

import (
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Disk is a model of the guarantees of a file system. It follows the operations of a program and
// records, separately for each file and directory, which content is durable and which operations
// came after the last sync. From that, Crash derives a state that a power loss may leave.
//
// Guaranteed (POSIX, and what Linux file systems have in common): fsync and fdatasync of a file
// make its bytes and its length durable, but not its name; fsync of a directory makes the names in
// it durable; a rename within a directory is atomic; a sector of 512 bytes is written completely or
// not at all; space that was never written reads as zeroes. Nothing else is guaranteed: each sector
// of each unsynced write may be there or not, and so may each unsynced change of length and of
// names. Names change either in order (a file system with a journal) or in any order (one without).
type Disk struct {
	nodes map[int]*node
	next  int
}

// node is a file or a directory: its current content, its durable content, and the changes in
// between.
type node struct {
	now, durable content
	pending      []change
	refused      bool // a sync failed: pending changes may be lost, and a later success does not cover them
}

type content struct {
	bytes []byte         // of a file
	names map[string]int // of a directory; nil for a file
}

func (c content) clone() content { return content{slices.Clone(c.bytes), maps.Clone(c.names)} }

// change is one operation. On a file: data at off, or, if data is nil, a new length off (grow:
// never a smaller one). On a directory: add gives a node a name, remove removes a name, both
// together are a rename.
type change struct {
	off    int64
	data   []byte
	grow   bool
	add    string
	node   int
	remove string
}

const rootNode = 0

func NewDisk() *Disk {
	d := &Disk{nodes: map[int]*node{}}
	d.make(true)
	return d
}

func (d *Disk) make(directory bool) int {
	n := &node{}
	if directory {
		n.now.names, n.durable.names = map[string]int{}, map[string]int{}
	}
	d.nodes[d.next] = n
	d.next++
	return d.next - 1
}

// find returns the node of a path relative to the root, and that of its directory; -1 if there is
// none.
func (d *Disk) find(path string) (at, folder int, base string) {
	at, folder = rootNode, -1
	if path == "" {
		return at, folder, ""
	}
	for part := range strings.SplitSeq(path, "/") {
		if at < 0 {
			return -1, -1, ""
		}
		folder, base = at, part
		child, ok := d.nodes[at].now.names[part]
		if !ok {
			child = -1
		}
		at = child
	}
	return at, folder, base
}

func (d *Disk) do(at int, c change) {
	n := d.nodes[at]
	n.now.apply(c)
	n.pending = append(n.pending, c)
}

func (d *Disk) sync(at int) {
	n := d.nodes[at]
	if !n.refused {
		n.durable, n.pending = n.now.clone(), nil
	}
}

func (c *content) apply(x change) {
	switch {
	case c.names != nil:
		if x.remove != "" {
			delete(c.names, x.remove)
		}
		if x.add != "" {
			c.names[x.add] = x.node
		}
	case x.data == nil:
		if !x.grow || x.off > int64(len(c.bytes)) {
			c.resize(x.off)
		}
	default:
		if end := x.off + int64(len(x.data)); end > int64(len(c.bytes)) {
			c.resize(end)
		}
		copy(c.bytes[x.off:], x.data)
	}
}

func (c *content) resize(n int64) {
	if n <= int64(len(c.bytes)) {
		c.bytes = c.bytes[:n:n]
		return
	}
	c.bytes = append(c.bytes, make([]byte, n-int64(len(c.bytes)))...)
}

// Refuse takes notice of a sync of a path that failed: what is pending may be lost, and a later success does not
// cover it.
func (d *Disk) Refuse(path string) {
	if at, _, _ := d.find(path); at >= 0 {
		d.nodes[at].refused = true
	}
}

// Has reports that there is a file or a directory.
func (d *Disk) Has(path string) bool {
	at, _, _ := d.find(path)
	return at >= 0
}

// WriteTorn applies a write of which the bytes from one offset to another never reached the disk.
func (d *Disk) WriteTorn(c Call, from, to int64) {
	at, _, _ := d.find(c.Path)
	now := &d.nodes[at].now
	now.apply(change{off: c.Off, data: c.Data})
	clear(now.bytes[from:to])
}

// Operation applies a call of a program to the model. It is called before the call is executed, and
// must not be called for one that will fail. Paths are relative to the root.
func (d *Disk) Operation(c Call) error {
	at, folder, base := d.find(c.Path)
	switch c.Name {
	case "openat":
		const create, truncate = os.O_CREATE, os.O_TRUNC
		if at < 0 && c.Flag&create != 0 {
			d.do(folder, change{add: base, node: d.make(false)})
		} else if at >= 0 && c.Flag&truncate != 0 {
			d.do(at, change{off: 0})
		}
	case "mkdirat":
		if at < 0 {
			d.do(folder, change{add: base, node: d.make(true)})
		}
	case "unlinkat":
		if at >= 0 && (len(d.nodes[at].now.names) == 0) { // a directory that is not empty cannot be removed
			d.do(folder, change{remove: base})
		}
	case "renameat", "renameat2":
		if _, there, target := d.find(c.To); at >= 0 && there == folder {
			d.do(folder, change{add: target, node: at, remove: base})
		} else if at >= 0 {
			return fmt.Errorf("rename of %s to another directory: %s", c.Path, c.To)
		}
	case "write", "pwrite64", "copy_file_range", "ftruncate", "fallocate", "fsync", "fdatasync":
		if at < 0 {
			if strings.HasSuffix(c.Path, " (deleted)") {
				return nil
			}
			return fmt.Errorf("%s on %s, which was never created", c.Name, c.Path)
		}
		d.fileOperation(at, c)
	}
	return nil
}

func (d *Disk) fileOperation(at int, c Call) {
	switch c.Name {
	case "ftruncate":
		d.do(at, change{off: c.Off})
	case "fallocate":
		if c.Flag == 0 { // otherwise the length does not change
			d.do(at, change{off: c.Off + c.Size, grow: true})
		}
	case "fsync", "fdatasync":
		d.sync(at)
	default:
		if len(c.Data) > 0 {
			d.do(at, change{off: c.Off, data: c.Data})
		}
	}
}

// Crash returns a disk as a power loss may leave it: everything on it is durable.
func (d *Disk) Crash(rng *rand.Rand) *Disk {
	out := &Disk{nodes: map[int]*node{}, next: d.next}
	sector := int64(512)
	if rng.IntN(2) == 0 {
		sector = 4096
	}
	ordered, mood := rng.IntN(2) == 0, rng.IntN(4)
	keep := func() bool { // none, all, or a random subset
		switch mood {
		case 0:
			return false
		case 1:
			return true
		}
		return rng.IntN(2) == 0
	}
	for _, at := range slices.Sorted(maps.Keys(d.nodes)) {
		n := d.nodes[at]
		left := n.durable.clone()
		if left.names != nil {
			for _, c := range n.pending {
				if !n.refused && keep() {
					left.apply(c)
				} else if ordered {
					break
				}
			}
		} else if !n.refused {
			for _, c := range n.pending {
				left.applyTorn(c, sector, keep)
			}
		}
		out.nodes[at] = &node{now: left, durable: left.clone()}
	}
	return out
}

// applyTorn applies the part of a change that a power loss left: some sectors of a write, and its
// length only if that was written as well.
func (c *content) applyTorn(x change, sector int64, keep func() bool) {
	if x.data == nil {
		if keep() {
			c.apply(x)
		}
		return
	}
	if end := x.off + int64(len(x.data)); end > int64(len(c.bytes)) && keep() {
		c.resize(end)
	}
	for from := x.off; from < x.off+int64(len(x.data)); {
		to := min(from-from%sector+sector, x.off+int64(len(x.data)))
		if keep() && from < int64(len(c.bytes)) {
			copy(c.bytes[from:min(to, int64(len(c.bytes)))], x.data[from-x.off:])
		}
		from = to
	}
}

// Copy returns the same disk with everything on it durable.
func (d *Disk) Copy() *Disk {
	out := &Disk{nodes: map[int]*node{}, next: d.next}
	for at, n := range d.nodes {
		out.nodes[at] = &node{now: n.now.clone(), durable: n.now.clone()}
	}
	return out
}

// Put writes the disk's files to an empty directory.
func (d *Disk) Put(folder string) error { return d.putNode(rootNode, folder) }

func (d *Disk) putNode(at int, path string) error {
	n := d.nodes[at]
	if n.now.names == nil {
		return os.WriteFile(path, n.now.bytes, 0o600)
	}
	if err := os.Mkdir(path, 0o700); err != nil && at != rootNode {
		return err
	}
	for name, child := range n.now.names {
		if err := d.putNode(child, filepath.Join(path, name)); err != nil {
			return err
		}
	}
	return nil
}

// Compare checks the model against the real directory: the model must have seen all operations.
func (d *Disk) Compare(folder string) error { return d.compareNode(rootNode, folder) }

func (d *Disk) compareNode(at int, path string) error {
	n := d.nodes[at]
	if n.now.names == nil {
		real, err := os.ReadFile(path)
		if err == nil && string(real) != string(n.now.bytes) {
			err = fmt.Errorf("%s: %d bytes on disk, %d in the model, or different ones", path,
				len(real), len(n.now.bytes))
		}
		return err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	if len(entries) != len(n.now.names) {
		return fmt.Errorf("%s: %v on disk, %v in the model", path, entries, n.now.names)
	}
	for name, child := range n.now.names {
		if err := d.compareNode(child, filepath.Join(path, name)); err != nil {
			return err
		}
	}
	return nil
}

// Hash identifies a state by the files reachable from the root.
func (d *Disk) Hash() uint64 {
	h := fnv.New64a()
	var walk func(at int)
	walk = func(at int) {
		n := d.nodes[at]
		for _, name := range slices.Sorted(maps.Keys(n.now.names)) {
			fmt.Fprintf(h, "%s{", name)
			walk(n.now.names[name])
			fmt.Fprint(h, "}")
		}
		h.Write(n.now.bytes)
	}
	walk(rootNode)
	return h.Sum64()
}

// Listing returns names and lengths.
func (d *Disk) Listing() string {
	var out strings.Builder
	out.WriteString("the power loss left:\n")
	var walk func(at int, path string)
	walk = func(at int, path string) {
		n := d.nodes[at]
		fmt.Fprintf(&out, "  %8d %s\n", len(n.now.bytes), path)
		for _, name := range slices.Sorted(maps.Keys(n.now.names)) {
			walk(n.now.names[name], path+"/"+name)
		}
	}
	walk(rootNode, "")
	return out.String()
}
