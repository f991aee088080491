package node_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"sluice/actors/sequencer"
)

// Tags of the ledger's messages; a body is the numbers named, u64 little-endian each.
const (
	tagOpen     = 0x10 // request: account, deposit
	tagTransfer = 0x11 // request: from, to, amount
	tagBalance  = 0x12 // query: account
	tagDone     = 0x30 // response: account, balance
	tagRejected = 0x31 // response: account, balance
	tagAnswer   = 0x32 // response: account, balance
)

var le = binary.LittleEndian

// result is the ledger's response to any request.
type result struct {
	tag              uint8
	account, balance uint64
}

// ledger is an application: accounts with balances, and transfers between them.
type ledger struct{ balances map[uint64]uint64 }

// newLedger makes an empty ledger; it is node.Config.Application.
func newLedger() sequencer.Application[result, result] { return &ledger{map[uint64]uint64{}} }

func (*ledger) Requests() []sequencer.RequestType {
	return []sequencer.RequestType{
		{Tag: tagOpen, Name: "open", Size: 16, Role: sequencer.RoleTrader},
		{Tag: tagTransfer, Name: "transfer", Size: 24, Role: sequencer.RoleTrader},
		{Tag: tagBalance, Name: "balance", Size: 8, Role: sequencer.RoleReadonly, Query: true},
	}
}

func (l *ledger) Apply(req *sequencer.Event, out sequencer.Emitter[result, result]) {
	first, second := le.Uint64(req.Body), le.Uint64(req.Body[8:])
	_, opened := l.balances[first]
	tag := uint8(tagDone)
	switch {
	case req.Tag == tagOpen && !opened:
		l.balances[first] = second
	case req.Tag == tagTransfer && l.transfer(first, second, le.Uint64(req.Body[16:])):
	default:
		tag = tagRejected
	}
	*out.Report(req.Conn) = result{tag, first, l.balances[first]}
}

func (l *ledger) transfer(from, to, amount uint64) bool {
	_, known := l.balances[to]
	if !known || from == to || l.balances[from] < amount || l.balances[to]+amount < amount {
		return false
	}
	l.balances[from] -= amount
	l.balances[to] += amount
	return true
}

func (l *ledger) Query(req *sequencer.Event, out sequencer.Emitter[result, result]) {
	account := le.Uint64(req.Body)
	*out.Query(req.Conn) = result{tagAnswer, account, l.balances[account]}
}

// Snapshot writes the number of accounts and each account with its balance, in order of accounts:
// equal states have equal snapshots.
func (l *ledger) Snapshot(w io.Writer) error {
	b := le.AppendUint64(nil, uint64(len(l.balances)))
	for _, account := range slices.Sorted(maps.Keys(l.balances)) {
		b = le.AppendUint64(le.AppendUint64(b, account), l.balances[account])
	}
	_, err := w.Write(b)
	return err
}

func (l *ledger) Restore(r io.Reader) error {
	var entry [16]byte
	if _, err := io.ReadFull(r, entry[:8]); err != nil {
		return fmt.Errorf("the snapshot of the ledger has no number of accounts: %w", err)
	}
	fresh := map[uint64]uint64{}
	for range le.Uint64(entry[:]) {
		if _, err := io.ReadFull(r, entry[:]); err != nil {
			return fmt.Errorf("the snapshot of the ledger ends after %d accounts: %w", len(fresh), err)
		}
		fresh[le.Uint64(entry[:])] = le.Uint64(entry[8:])
	}
	l.balances = fresh
	return nil
}

// ledgerEncoder writes a result as a frame: length u32, tag u8, account u64, balance u64.
type ledgerEncoder struct{}

func (ledgerEncoder) AppendReport(dst []byte, r *result) ([]byte, error) {
	dst = append(le.AppendUint32(dst, 17), r.tag)
	return le.AppendUint64(le.AppendUint64(dst, r.account), r.balance), nil
}

func (e ledgerEncoder) AppendQuery(dst []byte, r *result) ([]byte, error) {
	return e.AppendReport(dst, r)
}

// ledgerClient sends one request at a time.
type ledgerClient struct {
	conn interface {
		Send(seq uint64, tag uint8, body []byte) error
		Flush() error
		Next() (tag uint8, body []byte, err error)
	}
	seq uint64
}

// do sends a request and returns its response. An error means that the connection has ended, and
// that it is not known whether the request was carried out.
func (c *ledgerClient) do(tag uint8, numbers ...uint64) (r result, err error) {
	var body []byte
	for _, n := range numbers {
		body = le.AppendUint64(body, n)
	}
	c.seq++
	if err := errors.Join(c.conn.Send(c.seq, tag, body), c.conn.Flush()); err != nil {
		return r, err
	}
	for {
		tag, body, err := c.conn.Next()
		switch {
		case err != nil:
			return r, err
		case tag >= tagDone:
			r = result{tag, le.Uint64(body), le.Uint64(body[8:])}
		case r.tag != 0: // the end of the response
			return r, nil
		default:
			return r, fmt.Errorf("frame 0x%02x instead of a response", tag)
		}
	}
}
