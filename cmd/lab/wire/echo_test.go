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
	tagPublish   = 0x14 // count u8, topic u8, key u8, text: as a topic frame, count times, between two echoes
	tagEchoed    = 0x30 // text
)

// echoed is a text.
type echoed struct {
	size int
	text [64]byte
}

// topics is how many topics the echo has: those from 0.
const topics = 100

// echo is an application whose state is the last text of each topic.
type echo struct{ last [topics]echoed }

func newEcho() sequencer.Application[echoed, struct{}] { return new(echo) }

func (*echo) Requests() []sequencer.RequestType {
	return []sequencer.RequestType{
		{Tag: tagEcho, Name: "echo", Size: -1, Role: sequencer.RoleReadonly},
		{Tag: tagOperators, Name: "operators", Size: -1, Role: sequencer.RoleOperator},
		{Tag: tagFourBytes, Name: "four bytes", Size: 4, Role: sequencer.RoleReadonly},
		{Tag: tagChecked, Name: "checked", Size: -1, Role: sequencer.RoleReadonly},
		{Tag: tagPublish, Name: "publish", Size: -1, Role: sequencer.RoleReadonly},
	}
}

func (*echo) Check(ev *sequencer.Event) error {
	if ev.Tag == tagPublish && len(ev.Body) >= 3 && len(ev.Body) <= 67 && ev.Body[1] < topics {
		return nil
	}
	if ev.Tag == tagChecked || ev.Tag == tagPublish || len(ev.Body) < 1 || len(ev.Body) > 65 {
		return errors.New("not a text")
	}
	return nil
}

func (e *echo) Apply(ev *sequencer.Event, out sequencer.Emitter[echoed, struct{}]) {
	if ev.Tag == tagPublish {
		e.publish(ev, out)
		return
	}
	for range max(ev.Body[0], 1) {
		r := out.Report(ev.Conn)
		r.size = copy(r.text[:], ev.Body[1:])
	}
}

func (e *echo) publish(ev *sequencer.Event, out sequencer.Emitter[echoed, struct{}]) {
	count, topic, key := ev.Body[0], ev.Body[1], ev.Body[2]
	last := &e.last[topic]
	last.size = copy(last.text[:], ev.Body[3:])
	*out.Report(ev.Conn) = *last
	for range count {
		*out.Publish(uint64(topic), uint64(key)) = *last
	}
	*out.Report(ev.Conn) = *last
}

// Describe describes a topic by its last text, if it had one.
func (e *echo) Describe(ev *sequencer.Event, topic uint64, out sequencer.Emitter[echoed, struct{}]) bool {
	if topic >= topics {
		return false
	}
	if last := &e.last[topic]; last.size > 0 {
		*out.Report(ev.Conn) = *last
	}
	return true
}

func (*echo) Query(*sequencer.Event, sequencer.Emitter[echoed, struct{}]) {}

func (e *echo) Snapshot(w io.Writer) error {
	for i := range e.last {
		if _, err := w.Write(append([]byte{byte(e.last[i].size)}, e.last[i].text[:]...)); err != nil {
			return err
		}
	}
	return nil
}

func (e *echo) Restore(r io.Reader) error {
	for i := range e.last {
		var b [65]byte
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return err
		}
		e.last[i] = echoed{int(b[0]), [64]byte(b[1:])}
	}
	return nil
}

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
