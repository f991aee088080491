package cluster

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"sluice/actors/node/inspect"
	"sluice/durability/raftlog"
	"sluice/transport/peer"
)

// tableFile is the file in a data directory that has the table of members. The log decides; this is a copy, so
// that a node knows at its start whom to connect to.
const tableFile = inspect.MembersFile

// table is who the members are, as of an entry of the log.
type table struct {
	raftlog.Members
	rows []row
}

// row is a member.
type row struct {
	Member
	id    uint64 // see raftlog.NodeID
	role  raftlog.Role
	stays bool // a learner that is not promoted by itself
}

// stays ends what the log knows of a learner that is to stay one.
const stays = ",stays"

// infoOf is what the log is to know of a member.
func infoOf(m Member, learner bool) string {
	info := m.Peer + "," + m.Client
	if learner {
		info += stays
	}
	return info
}

// newTable reads what the log knows of the members.
func newTable(m raftlog.Members) (*table, error) {
	t := &table{Members: m}
	for _, x := range m.All {
		r := row{id: x.ID, role: x.Role, stays: strings.HasSuffix(x.Info, stays)}
		var err error
		if r.Member, err = ParseMember(fmt.Sprintf("%d=%s", uint8(x.ID), strings.TrimSuffix(x.Info, stays))); err != nil {
			return nil, err
		}
		t.rows = append(t.rows, r)
	}
	return t, nil
}

// firstTable is the table with which a log begins.
func firstTable(m *Membership) (*table, error) { return newTable(m.first()) }

// byID returns a member; false if there is none.
func (t *table) byID(id uint64) (row, bool) {
	for _, r := range t.rows {
		if r.id == id {
			return r, true
		}
	}
	return row{}, false
}

// byNode returns the member that has a number, in its last generation; false if there is none.
func (t *table) byNode(node uint8) (r row, ok bool) {
	for _, x := range t.rows {
		if x.Node == node {
			r, ok = x, true
		}
	}
	return r, ok
}

// peers are the other nodes, for the links.
func (t *table) peers(self uint64) map[uint8]peer.Peer {
	peers := make(map[uint8]peer.Peer)
	for _, r := range t.rows {
		if r.Node != uint8(self) {
			peers[r.Node] = peer.Peer{Address: r.Peer, Generation: raftlog.Generation(r.id)}
		}
	}
	return peers
}

// removed reports that an id was that of a member, and is not any more.
func (t *table) removed(id uint64) bool {
	_, is := t.byID(id)
	return !is && t.NextGeneration(uint8(id)) > raftlog.Generation(id)
}

// without is the table after the removal of an id, of which the log of this node does not know.
func (t *table) without(id uint64) *table {
	next := &table{Members: raftlog.Members{Index: t.Index, Gone: append([]uint64{id}, t.Gone...)}}
	for i, x := range t.All {
		if x.ID != id {
			next.All, next.rows = append(next.All, x), append(next.rows, t.rows[i])
		}
	}
	return next
}

// Form of the file, and of what nodes tell each other: as that of the membership file.
const tableHead = "sluice-members 1"

func (t *table) encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nentry %d\n", tableHead, t.Index)
	for _, x := range t.All {
		fmt.Fprintf(&b, "member %d %d %d %s\n", uint8(x.ID), raftlog.Generation(x.ID), x.Role, x.Info)
	}
	for _, id := range t.Gone {
		fmt.Fprintf(&b, "gone %d %d\n", uint8(id), raftlog.Generation(id))
	}
	fmt.Fprintf(&b, "crc32c %08x\n", checksum(b.Bytes()))
	return b.Bytes()
}

func decodeTable(file []byte) (*table, error) {
	lines, err := sealedLines(file, tableHead)
	if err != nil {
		return nil, err
	}
	var m raftlog.Members
	for i, line := range lines {
		w := strings.Fields(line)
		numbers := make([]uint64, len(w))
		for k := range min(len(w), 4) {
			if k > 0 {
				numbers[k], err = strconv.ParseUint(w[k], 10, 64)
			}
			if err != nil {
				break
			}
		}
		switch {
		case err != nil:
		case len(w) == 2 && w[0] == "entry":
			m.Index = numbers[1]
		case len(w) == 5 && w[0] == "member" && numbers[3] <= uint64(raftlog.Staying):
			m.All = append(m.All, raftlog.Member{ID: raftlog.NodeID(uint8(numbers[1]), uint8(numbers[2])),
				Role: raftlog.Role(numbers[3]), Info: w[4]})
		case len(w) == 3 && w[0] == "gone":
			m.Gone = append(m.Gone, raftlog.NodeID(uint8(numbers[1]), uint8(numbers[2])))
		default:
			err = errors.New("it is unknown")
		}
		if err != nil {
			return nil, fmt.Errorf("line %d, %q: %w", i+2, line, err)
		}
	}
	return newTable(m)
}

// readTable reads the table of a data directory: that with which the log began, if nothing has changed since.
func readTable(dir string, m *Membership) (*table, error) {
	path := filepath.Join(dir, tableFile)
	file, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return firstTable(m)
	}
	if err != nil {
		return nil, fmt.Errorf("cluster: table of members: %w", err)
	}
	t, err := decodeTable(file)
	if err != nil {
		return nil, fmt.Errorf("cluster: table of members %s: %w", path, err)
	}
	return t, nil
}

// sealedLines returns the lines of a file of this package, without the first and the last one.
func sealedLines(file []byte, head string) ([]string, error) {
	if !bytes.HasPrefix(file, []byte(head+"\n")) {
		return nil, fmt.Errorf("it begins with %q, not with %q: it is another file, or one of a later version",
			file[:min(len(file), 32)], head)
	}
	end := bytes.LastIndexByte(file[:max(0, len(file)-1)], '\n') + 1
	if got := fmt.Sprintf("crc32c %08x\n", checksum(file[:end])); got != string(file[end:]) {
		return nil, fmt.Errorf("its last line is %q, and its checksum is %q: it is damaged, or was edited; "+
			"restore it from a backup", file[end:], got)
	}
	return strings.Split(string(file[len(head)+1:end-1]), "\n"), nil
}

// Ticket is what the data directory of a node is made from that was added to a running cluster. It is a text
// without spaces.
func ticket(m *Membership, t *table) string {
	return base64.RawURLEncoding.EncodeToString(append(append(m.encode(), 0), t.encode()...))
}

// Join makes a data directory that of a node that was added to a running cluster, from the ticket that adding
// it has returned. See Init.
func Join(dir, ticket string) (*Membership, error) {
	bad := func(err error) (*Membership, error) {
		return nil, fmt.Errorf("cluster: the ticket: %w: write what sluice cluster add printed, in one piece", err)
	}
	file, err := base64.RawURLEncoding.DecodeString(ticket)
	if err != nil {
		return bad(err)
	}
	first, rest, _ := bytes.Cut(file, []byte{0})
	m, err := decode(first)
	if err != nil {
		return bad(err)
	}
	t, err := decodeTable(rest)
	if err == nil {
		if _, is := t.byID(m.id()); !is {
			err = fmt.Errorf("node %d of generation %d is none of its members", m.Node, m.Generation)
		}
	}
	if err != nil {
		return bad(err)
	}
	return m, initWith(dir, m, t, func() error { return nil })
}
