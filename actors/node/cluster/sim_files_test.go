package cluster

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"sluice/actors/node"
	"sluice/cmd/orderbook"
	"sluice/durability/raftlog"
	"sluice/durability/raftlog/raftsim"
	"sluice/transport/peer"
)

// simFiles is what a member has of the files of its data directory, besides the journal, in worlds with real ones.
type simFiles struct {
	directory [16]byte
	starts    []uint32
	known     *known
	bulk      *bulk
	table     *table            // of the members, as far as it is known
	stale     bool              // the table has changed since it was written
	met       map[uint64]uint64 // by machine: the start with which a connection was made
}

// simPower is a world's raftsim.Power.
type simPower interface {
	raftsim.Power
	Any() bool // some directory is lost, and was not left yet
	Calm()     // no more losses
}

// simCluster is the identity of the simulated cluster.
func simCluster() ID { return ID{7} }

// startFiles does what a member does with its data directory before the log is opened; false if it does not start.
func (m *simMember) startFiles() bool {
	w := m.w
	if m.Dir == "" {
		m.Dir = w.Power.Fresh()
	}
	if w.Power.Lost(m.Dir) { // while no process ran
		m.CloseFiles()
	}
	members, err := ReadMembership(m.Dir)
	if errors.Is(err, os.ErrNotExist) {
		if err = m.makeDirectory(); m.out {
			return false
		}
		if err == nil {
			members, err = ReadMembership(m.Dir)
		}
	}
	if err == nil && !m.out {
		m.files = simFiles{met: map[uint64]uint64{}}
		if m.files.table, err = readTable(m.Dir, members); err == nil && takesPart(members, m.files.table) != nil {
			now := w.membership()
			if _, is := now.Member(m.NodeID()); is && now.Index >= m.files.table.Index {
				w.Fail("node %d takes no part by its table of entry %d; it is a member", m.ID, m.files.table.Index)
			}
			w.counts.Removed++
			m.out = true
		}
	}
	if m.goes(err) && !m.out {
		ok := m.OpenFiles()
		if m.goes(nil) && ok {
			m.files.directory = m.Recovered().Directory
			return true
		}
	}
	return false
}

// goes reports that a member goes on: its power was not lost, and there is no other error.
func (m *simMember) goes(err error) bool {
	if m.w.Power != nil && m.w.Power.Lost(m.Dir) {
		m.trace("loses its power: %v", err)
		m.w.onFiles.PowerLosses++
		if m.Node != nil {
			m.crash()
		} else {
			m.CloseFiles()
		}
		return false
	}
	if err != nil {
		m.w.Fail("node %d, in %s: %v", m.ID, m.Dir, err)
	}
	return err == nil
}

// makeDirectory is what an operator does.
func (m *simMember) makeDirectory() error {
	s := &Membership{Cluster: simCluster(), Node: uint8(m.ID), Generation: m.Generation, Joined: m.joined}
	for id := uint64(1); id <= uint64(m.w.First); id++ {
		x, err := ParseMember(fmt.Sprintf("%d=%s", id, m.w.Info(id)))
		if err != nil {
			return err
		}
		s.Members = append(s.Members, x)
	}
	if !m.joined {
		return Init(m.Dir, *s)
	}
	t, err := newTable(m.w.membership())
	if err != nil {
		return err
	}
	if _, is := t.byID(m.NodeID()); !is {
		m.out = true // it was removed before it was there
		return nil
	}
	_, err = Join(m.Dir, ticket(s, t))
	return err
}

// fresh makes an empty book, as a member does.
func (m *simMember) fresh() (simApp, error) {
	app, err := simFresh()
	if err == nil && m.w.Power != nil {
		err = node.Genesis[orderbook.Report, orderbook.Answer](m.Dir, m.files.directory, m.Recovered().Last, app)
	}
	return app, err
}

// openLinks does what a member does before it speaks to the others.
func (m *simMember) openLinks() (err error) {
	f := &m.files
	if f.known, err = readKnown(m.Dir); err != nil {
		return err
	}
	if f.starts, err = begin(m.Dir, m.Recovered().Incarnation); err != nil {
		return err
	}
	f.bulk, err = newBulk(bulkOptions{dir: filepath.Join(m.Dir, "incoming"), log: slog.New(slog.DiscardHandler),
		receive: func(from peer.Sender, frame []byte, content raftlog.Received) error {
			whole := content.Content
			m.Arrives(content.Meta.Index, whole)
			content.Content = m.w.content
			return m.Node.ReceiveSnapshot(raftlog.NodeID(from.Node, from.Generation), from.Incarnation, frame, content)
		}})
	return err
}

// learns takes notice of a table of members.
func (m *simMember) learns(t *table) {
	if t.Index > m.files.table.Index {
		m.files.table, m.files.stale = t, true
	}
}

// writeTable is a turn of the goroutine that carries out what the table says.
func (m *simMember) writeTable() {
	if m.files.stale {
		m.files.stale = false
		m.goes(write(m.Dir, tableFile, m.files.table.encode()))
	}
}

// meets makes the connection by which a frame arrives, unless it is there; false if the frame is lost.
func (w *simWorld) meets(from, to *raftsim.Machine, incarnation uint64) bool {
	m, o := w.members[to.ID-1], w.members[from.ID-1]
	if m.files.met[from.ID] == incarnation {
		return true
	}
	if incarnation != o.Incarnation || o.Node == nil {
		return false
	}
	err := m.files.known.check(uint8(o.ID), peer.Data{Directory: o.files.directory, Generation: o.Generation,
		Incarnation: uint64(len(o.files.starts)), Starts: o.files.starts})
	if err != nil {
		err = fmt.Errorf("node %d is refused: %w", o.ID, err)
	}
	if !m.goes(err) {
		return false
	}
	w.onFiles.Met++
	m.files.met[from.ID] = incarnation
	m.learns(o.files.table)
	return true
}

// carries delivers a snapshot in pieces, as the bulk lane does.
func (w *simWorld) carries(from, to *raftsim.Machine, incarnation uint64, frame []byte,
	content raftlog.Received) error {
	m := w.members[to.ID-1]
	var whole bytes.Buffer
	if err := errors.Join(content.Meta.Write(&whole), content.Content(&whole)); err != nil {
		return err
	}
	w.content = content.Content
	w.transfers++
	sender := peer.Sender{Node: uint8(from.ID), Generation: from.Generation, Incarnation: incarnation}
	sum := crc32.Checksum(whole.Bytes(), castagnoli())
	for at := uint64(0); ; {
		piece := append(make([]byte, bulkHead), whole.Next(1+w.R.IntN(4<<10))...)
		kind := byte(bulkPiece)
		if len(piece) == bulkHead {
			kind, piece = bulkEnd, append(binary.LittleEndian.AppendUint32(piece, sum), frame...)
		}
		putBulkHead(piece, kind, w.transfers, at)
		if err := m.files.bulk.in.frame(sender, piece); !m.goes(err) || kind == bulkEnd {
			return nil
		}
		at += uint64(len(piece) - bulkHead)
	}
}

// withoutPower ends the processes of members whose power was lost.
func (w *simWorld) withoutPower() {
	if w.power == nil || !w.power.Any() {
		return
	}
	for _, m := range w.members {
		if m.Node != nil {
			m.goes(nil)
		}
	}
}

// Newest implements history.
func (m *simMember) Newest(read func(*raftlog.Meta, io.Reader) error) error {
	if m.w.Power != nil {
		return m.NewestFile(read)
	}
	s := m.Machine.Newest()
	if s == nil {
		return nil
	}
	meta := s.Meta
	return read(&meta, bytes.NewReader(s.Content))
}
