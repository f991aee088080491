package sequencer

import (
	"errors"
	"fmt"

	"sluice/encode"
	"sluice/transport/listen"
	"sluice/transport/wire"
)

// Roles of an authenticated client, as Identity.Role and the journal carry them. Zero is
// deliberately no role: a request whose role was never filled in may do nothing.
const (
	RoleReadonly = uint8(listen.Readonly)
	RoleTrader   = uint8(listen.Trader)
	RoleOperator = uint8(listen.Operator)
)

// RequestType describes the requests of one tag.
type RequestType struct {
	Tag   uint8  // 0x10 to 0x2F
	Name  string // in words, for help texts and listings
	Size  int    // of the body in bytes, exact; -1 if Check decides
	Role  uint8  // least role that may send it
	Query bool   // it only reads: it is answered by Query and not journaled
}

// Table is the requests of an application, by tag.
type Table struct{ types [256]RequestType }

// NewTable makes the table of Application.Requests. The error names what is wrong with a type.
func NewTable(types []RequestType) (*Table, error) {
	if len(types) == 0 {
		return nil, errors.New("sequencer: the application takes no request; " +
			"Requests must return at least one")
	}
	t := &Table{}
	for _, r := range types {
		name := fmt.Sprintf("sequencer: request type 0x%02x (%q)", r.Tag, r.Name)
		switch {
		case r.Tag < wire.RequestFirst || r.Tag > wire.RequestLast:
			return nil, fmt.Errorf("%s: the tags of requests are 0x%02x to 0x%02x", name,
				wire.RequestFirst, wire.RequestLast)
		case r.Name == "":
			return nil, fmt.Errorf("%s has no name", name)
		case r.Size < -1:
			return nil, fmt.Errorf("%s has size %d; give the size of the body in bytes, or -1 if "+
				"Check decides", name, r.Size)
		case r.Role < RoleReadonly || r.Role > RoleOperator:
			return nil, fmt.Errorf("%s has role %d; give the least role that may send it: "+
				"readonly (%d), trader (%d) or operator (%d)", name, r.Role, RoleReadonly,
				RoleTrader, RoleOperator)
		case t.types[r.Tag].Name != "":
			return nil, fmt.Errorf("%s has the tag of request type %q; give it one of its own", name,
				t.types[r.Tag].Name)
		}
		t.types[r.Tag] = r
	}
	return t, nil
}

// Lookup returns the type of a tag; false if the application takes no such request.
func (t *Table) Lookup(tag uint8) (RequestType, bool) {
	r := t.types[tag]
	return r, r.Name != ""
}

// judge validates tag, size and role of a request. query is that of its type.
func (t *Table) judge(ev *Event) (query bool, why encode.Refusal) {
	r := &t.types[ev.Tag]
	switch {
	case r.Name == "":
		switch {
		case ev.Tag != wire.TagAdminCommand:
			return false, encode.RefusedTag
		case ev.Identity.Role != RoleOperator:
			return false, encode.RefusedRole
		}
		return false, encode.RefusedPlace
	case r.Size >= 0 && len(ev.Body) != r.Size:
		return false, encode.RefusedSize
	case ev.Identity.Role < r.Role || ev.Identity.Role > RoleOperator:
		return false, encode.RefusedRole
	}
	return r.Query, 0
}
