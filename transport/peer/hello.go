package peer

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode"
)

const (
	magic    = "sluicep\n"
	protocol = 1 // the only one that this program speaks

	helloFixed = 8 + 2 + 16 + 3 + 8 + 8 + 16 + 1 // without the version
	maxVersion = 255
	maxStarts  = 1<<14 - 1
	maxText    = 1024     // bytes of a refusal
	maxHello   = 96 << 10 // bytes of a Hello or Refusal of any protocol
)

// hello is the first frame of both ends. Magic and protocol range are at the same place in every
// protocol; later versions append fields, which this one ignores.
//
//	magic [8]byte, low u8, high u8, cluster [16]byte, from u8, to u8, lane u8,
//	incarnation u64, start u64, directory [16]byte, version length u8, version, generation u8,
//	table length u16, table, starts u16, start u32 each
type hello struct {
	low, high uint8 // protocols that the sender speaks
	cluster   [16]byte
	from, to  uint8
	lane      Lane
	identity
	directory [16]byte // of the sender's data
	version   string
	// What follows was added later; a Hello without it has zero.
	generation uint8  // of the sender's id
	table      []byte // what the sender knows of the members
	starts     []uint32
}

// identity tells two processes with one node number apart.
type identity struct {
	incarnation uint64
	start       uint64 // random, one for each Links
}

func (h *hello) encode() []byte {
	b := append(make([]byte, 0, helloFixed+len(h.version)), magic...)
	b = append(b, h.low, h.high)
	b = append(b, h.cluster[:]...)
	b = append(b, h.from, h.to, byte(h.lane))
	b = binary.LittleEndian.AppendUint64(b, h.incarnation)
	b = binary.LittleEndian.AppendUint64(b, h.start)
	b = append(b, h.directory[:]...)
	b = append(b, byte(len(h.version)))
	b = append(append(b, h.version...), h.generation)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(h.table)))
	b = append(b, h.table...)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(h.starts)))
	for _, s := range h.starts {
		b = binary.LittleEndian.AppendUint32(b, s)
	}
	return b
}

// decodeHello decodes a Hello that this program can speak with.
func decodeHello(b []byte) (h hello, err error) {
	if len(b) < len(magic)+2 || string(b[:len(magic)]) != magic {
		return h, fmt.Errorf("the hello of the other end begins with %q: it is not a node", b[:min(len(b), 16)])
	}
	h.low, h.high = b[8], b[9]
	if h.low > protocol || h.high < protocol {
		return h, fmt.Errorf("one node speaks peer protocols %d to %d, the other %d: upgrade the older node",
			h.low, h.high, protocol)
	}
	if len(b) < helloFixed || len(b) < helloFixed+int(b[helloFixed-1]) {
		return h, fmt.Errorf("a hello of peer protocol %d has only %d bytes", protocol, len(b))
	}
	b = b[10:]
	copy(h.cluster[:], b)
	h.from, h.to, h.lane = b[16], b[17], Lane(b[18])
	h.incarnation = binary.LittleEndian.Uint64(b[19:])
	h.start = binary.LittleEndian.Uint64(b[27:])
	copy(h.directory[:], b[35:])
	rest := b[52+int(b[51]):]
	h.version = printable(b[52 : 52+int(b[51])])
	if len(rest) >= 3 && len(rest) >= 3+int(binary.LittleEndian.Uint16(rest[1:])) {
		h.generation = rest[0]
		n := int(binary.LittleEndian.Uint16(rest[1:]))
		h.table, rest = append([]byte(nil), rest[3:3+n]...), rest[3+n:]
		h.decodeStarts(rest)
	}
	return h, nil
}

// decodeStarts decodes the starts of the sender's data, if they are there.
func (h *hello) decodeStarts(b []byte) {
	if len(b) < 2 || len(b) < 2+4*int(binary.LittleEndian.Uint16(b)) {
		return
	}
	h.starts = make([]uint32, binary.LittleEndian.Uint16(b))
	for i := range h.starts {
		h.starts[i] = binary.LittleEndian.Uint32(b[2+4*i:])
	}
}

// printable returns text of a peer as it may be logged.
func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, string(b[:min(len(b), maxText)]))
}

// refusalOf is the refusal in a frame.
func refusalOf(k kind, payload []byte) *RefusedError {
	return &RefusedError{Text: printable(payload), Removed: k == kindRemoved}
}

// readHello reads the Hello of the other end. A refusal is returned as *RefusedError.
func readHello(f *frames) (hello, error) {
	k, payload, err := f.next()
	switch {
	case err != nil && f.from < f.to && f.buf[f.from] == tlsHandshake:
		return hello{}, errOnlyOneTLS
	case err != nil:
		return hello{}, err
	case k == kindRefusal, k == kindRemoved:
		return hello{}, refusalOf(k, payload)
	case k != kindHello:
		return hello{}, fmt.Errorf("the first frame is of kind %d, not a hello", k)
	}
	return decodeHello(payload)
}

// hello returns what this node says on a connection to a node.
func (l *Links) hello(to uint8, lane Lane) []byte {
	h := hello{low: protocol, high: protocol, cluster: l.cfg.Cluster, from: l.cfg.Node, to: to,
		lane: lane, identity: l.identity, directory: l.cfg.Directory, version: l.cfg.Version, generation: l.cfg.Generation,
		starts: l.cfg.Starts}
	if l.cfg.Table != nil {
		h.table = l.cfg.Table()
	}
	return sealed(kindHello, h.encode())
}

// judge reports why a Hello is not for this node in this cluster. On the dialler's end, it is the
// response from node want; on the acceptor's, want is 0. The text is read at both ends, so it names
// the nodes.
func (l *Links) judge(h *hello, want uint8) error {
	switch {
	case h.cluster != l.cfg.Cluster:
		return fmt.Errorf("node %d belongs to cluster %x, node %d to cluster %x: check the addresses of the peers",
			h.from, h.cluster, l.cfg.Node, l.cfg.Cluster)
	case want != 0 && h.from != want:
		return fmt.Errorf("the address of node %d leads to node %d: check the addresses of the peers",
			want, h.from)
	case h.to != l.cfg.Node:
		return fmt.Errorf("the address of node %d leads to node %d: check the addresses of the peers",
			h.to, l.cfg.Node)
	case h.from == l.cfg.Node:
		return fmt.Errorf("two nodes are number %d: give each node a number of its own", h.from)
	case !h.lane.valid():
		return fmt.Errorf("lane %d is unknown", h.lane)
	case h.incarnation == 0:
		return fmt.Errorf("node %d has incarnation 0; the first start is 1", h.from)
	}
	return nil
}

// knows asks whether a node has the data that it had before.
func (l *Links) knows(h *hello) error {
	if l.cfg.Known == nil {
		return nil
	}
	return l.cfg.Known(h.from, Data{h.directory, h.generation, h.incarnation, h.starts})
}

// admit reports whether a process may speak for a node, and remembers it if so. A higher incarnation
// cuts all connections of the earlier one. The caller holds l.mu.
func (p *remote) admit(h *hello) error {
	switch {
	case h.incarnation < p.known.incarnation:
		return fmt.Errorf("two nodes are number %d, or it runs on an old directory: incarnation %d came after %d: "+
			"stop one of them", p.node, h.incarnation, p.known.incarnation)
	case h.incarnation == p.known.incarnation && h.start != p.known.start:
		return fmt.Errorf("two nodes are number %d, both at incarnation %d: stop one of them; "+
			"two processes must not use copies of one directory", p.node, h.incarnation)
	case h.incarnation > p.known.incarnation:
		p.cut()
	}
	p.known, p.version = h.identity, h.version
	return nil
}

// cut closes all connections from and to a node. The caller holds Links.mu.
func (p *remote) cut() {
	for i := range p.out {
		if c := p.out[i].conn; c != nil {
			c.raw.Close()
		}
		if a := p.in[i].now; a != nil {
			a.stream.raw.Close()
		}
	}
}
