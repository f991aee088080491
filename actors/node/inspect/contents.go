package inspect

import (
	"errors"
	"io"

	"sluice/actors/sequencer"
)

// Contents is what a journal has, or what could be read of a damaged one, at a glance.
type Contents struct {
	First     uint64     `json:"first"`  // oldest event kept; 0 if there is none
	Last      uint64     `json:"last"`   // newest event, or the last one that the newest snapshot includes
	Policy    string     `json:"policy"` // in force after Last by the log; empty if the log has none
	Member    *Member    `json:"member,omitempty"`
	Snapshots []Snapshot `json:"snapshots"`   // newest first
	Tail      []Record   `json:"last_events"` // in order
	Condition
}

// Contents reads all events once, and returns the last ones, at most as many as tail. It may be called after Open
// has returned an error. What it cannot read ends it with an error; the result has what precedes that.
func (j *Journal) Contents(tail int) (c Contents, err error) {
	if j == nil || j.log == nil {
		return c, nil
	}
	c = Contents{First: uint64(j.First()), Last: uint64(j.Last()), Member: j.Member(), Snapshots: j.snapshots(),
		Condition: j.condition()}
	err = j.log.Restore(func(r io.Reader) error {
		_, err := j.beginOf(r)
		var state *sequencer.State
		if err == nil {
			state, err = sequencer.CheckSection(r)
		}
		if err == nil {
			if p, has := state.Policy(); has {
				c.Policy = p.String()
			}
		}
		return err
	})
	for r, wrong := range j.records() {
		if wrong != nil {
			err = errors.Join(err, wrong)
			break
		}
		if r.kind == sequencer.KindPolicy && r.Seq > uint64(j.Snapshot()) {
			c.Policy = r.Policy
		}
		if len(c.Tail) == tail && tail > 0 {
			c.Tail = append(c.Tail[:0], c.Tail[1:]...)
		}
		if tail > 0 {
			c.Tail = append(c.Tail, *r)
		}
	}
	return c, err
}

// condition is how the directory was left.
func (j *Journal) condition() Condition {
	c := Condition{Torn: j.log.Torn, Writing: j.log.Writing, Closed: j.log.Closed, EndMark: uint64(j.log.EndMark),
		Backup: j.log.Backup}
	if j.past != nil {
		c.EndMark = 0 // it counts records
	}
	return c
}
