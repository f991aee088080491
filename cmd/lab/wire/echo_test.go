package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"sluice/actors/sequencer"
)

// Tags of the echo; check.py has them too.
const (
	tagEcho      = 0x10 // count u8, text: the text, count times
	tagOperators = 0x11 // as echo, for operators only
	tagFourBytes = 0x12 // as echo, of four bytes
	tagChecked   = 0x13 // rejected by Check
	tagEchoed    = 0x30 // text
)

// echoed is a text.
type echoed struct {
	size int
	text [64]byte
}

// echo is an application without a state.
type echo struct{}

func newEcho() sequencer.Application[echoed, struct{}] { return echo{} }

func (echo) Requests() []sequencer.RequestType {
	return []sequencer.RequestType{
		{Tag: tagEcho, Name: "echo", Size: -1, Role: sequencer.RoleReadonly},
		{Tag: tagOperators, Name: "operators", Size: -1, Role: sequencer.RoleOperator},
		{Tag: tagFourBytes, Name: "four bytes", Size: 4, Role: sequencer.RoleReadonly},
		{Tag: tagChecked, Name: "checked", Size: -1, Role: sequencer.RoleReadonly},
	}
}

func (echo) Check(ev *sequencer.Event) error {
	if ev.Tag == tagChecked || len(ev.Body) < 1 || len(ev.Body) > 65 {
		return errors.New("not a text")
	}
	return nil
}

func (echo) Apply(ev *sequencer.Event, out sequencer.Emitter[echoed, struct{}]) {
	for range max(ev.Body[0], 1) {
		r := out.Report(ev.Conn)
		r.size = copy(r.text[:], ev.Body[1:])
	}
}

func (echo) Query(*sequencer.Event, sequencer.Emitter[echoed, struct{}]) {}
func (echo) Snapshot(io.Writer) error                                    { return nil }
func (echo) Restore(io.Reader) error                                     { return nil }

// echoEncoder writes a text as a frame.
type echoEncoder struct{}

func (echoEncoder) AppendReport(dst []byte, r *echoed) ([]byte, error) {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(1+r.size))
	dst = append(dst, tagEchoed)
	return append(dst, r.text[:r.size]...), nil
}

func (echoEncoder) AppendQuery(dst []byte, _ *struct{}) ([]byte, error) {
	return dst, fmt.Errorf("the echo has no queries")
}
