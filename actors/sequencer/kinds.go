package sequencer

import (
	"encoding/binary"
	"fmt"

	"sluice/durability"
)

// Checkpoint is the body of a KindCheckpoint: the digest and the number of all outputs of the
// events before it, since the journal began.
func (ev *Event) Checkpoint() (digest, outputs uint64) {
	return binary.LittleEndian.Uint64(ev.Body), binary.LittleEndian.Uint64(ev.Body[8:])
}

// Introduced is the body of a KindIdentity: the number and the key of an identity, without a role.
func (ev *Event) Introduced() Identity {
	return Identity{Number: binary.LittleEndian.Uint32(ev.Body), Key: [8]byte(ev.Body[4:])}
}

// Rules is the body of a KindVersion: the version of the application's rules from the next event on.
func (ev *Event) Rules() uint32 { return binary.LittleEndian.Uint32(ev.Body) }

// Skipped is the body of a KindSkip: the number of the event that was left out.
func (ev *Event) Skipped() uint64 { return binary.LittleEndian.Uint64(ev.Body) }

// Policy is the body of a KindPolicy: the durability policy from the next event on.
func (ev *Event) Policy() durability.Policy {
	p, _ := parsePolicy(ev.Body) // DecodeEvent has checked it
	return p
}

// parsePolicy reads a policy as Policy.String writes it, and no other spelling. A policy in the log
// may ask for more nodes than the cluster has: it is judged by its size when it is proposed.
func parsePolicy(text []byte) (durability.Policy, error) {
	p, err := durability.Parse(string(text), durability.MaxNodes)
	if err == nil && p.String() != string(text) {
		return p, fmt.Errorf("the policy is written as %q; it must be %q", text, p)
	}
	return p, err
}
