package sequencer

import (
	"strings"
	"testing"

	"sluice/encode"
)

func TestNewTableNamesWhatIsWrong(t *testing.T) {
	good := RequestType{Tag: 0x10, Name: "put", Size: 8, Role: RoleTrader}
	for _, c := range []struct {
		name, want string
		change     func(r *RequestType)
	}{
		{"a tag below those of requests", "0x10 to 0x2f", func(r *RequestType) { r.Tag = 0x0F }},
		{"a tag above those of requests", "0x10 to 0x2f", func(r *RequestType) { r.Tag = 0x30 }},
		{"a tag used twice", `has the tag of request type "first"`, func(r *RequestType) { r.Tag = 0x2F }},
		{"no name", "has no name", func(r *RequestType) { r.Name = "" }},
		{"no role", "has role 0", func(r *RequestType) { r.Role = 0 }},
		{"an unknown role", "has role 4", func(r *RequestType) { r.Role = 4 }},
		{"a negative size", "has size -2", func(r *RequestType) { r.Size = -2 }},
	} {
		r := good
		c.change(&r)
		first := RequestType{Tag: 0x2F, Name: "first", Size: -1, Role: RoleReadonly, Query: true}
		if _, err := NewTable([]RequestType{first, r}); err == nil ||
			!strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
		table, err := NewTable([]RequestType{first, good})
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := table.Lookup(0x2F); !ok || got != first {
			t.Errorf("tag 0x2F is %+v", got)
		}
		if _, ok := table.Lookup(0x11); ok {
			t.Error("tag 0x11 is in the table")
		}
	}
	if _, err := NewTable(nil); err == nil || !strings.Contains(err.Error(), "at least one") {
		t.Errorf("an empty table: error %v", err)
	}
}

// A request that the table or Check refuses leaves no event, and its response has the reason.
func TestRequestsAreJudgedByTheTable(t *testing.T) {
	for _, c := range []struct {
		name string
		role uint8
		tag  uint8
		body []byte
		want encode.Refusal
	}{
		{"an unknown tag", RoleOperator, 0x2F, nil, encode.RefusedTag},
		{"a tag that is no request's", RoleOperator, 0xFF, nil, encode.RefusedTag},
		{"an operator's command", RoleOperator, 0x09, nil, encode.RefusedPlace},
		{"an operator's command of a trader", RoleTrader, 0x09, nil, encode.RefusedRole},
		{"a body that is too short", RoleOperator, tagSized, []byte{1}, encode.RefusedSize},
		{"a body that is too long", RoleOperator, tagSized, []byte{1, 2, 3}, encode.RefusedSize},
		{"the least role", RoleOperator, tagSized, []byte{1, 2}, 0},
		{"a lesser role", RoleTrader, tagSized, []byte{1, 2}, encode.RefusedRole},
		{"a greater role", RoleOperator, tagEvent, nil, 0},
		{"a reader's command", RoleReadonly, tagEvent, nil, encode.RefusedRole},
		{"a reader's query", RoleReadonly, tagQuery, nil, 0},
		{"no role", 0, tagQuery, nil, encode.RefusedRole},
		{"an unknown role", 4, tagQuery, nil, encode.RefusedRole},
		{"what Check refuses", RoleTrader, tagEvent, []byte{malformed}, encode.RefusedMalformed},
		{"a query that Check refuses", RoleTrader, tagQuery, []byte{malformed}, encode.RefusedMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := newStage(t, 64, nil)
			req := Event{Conn: 1, Request: 42, Tag: c.tag, Body: c.body, Identity: Identity{Role: c.role}}
			if err := st.queue.Put(&req, nil, 1); err != nil {
				t.Fatal(err)
			}
			st.seq.Step(0)
			st.take()
			slots := st.pass()
			if text := describe(slots); (text == "1:E@0!*") != (c.want != 0) {
				t.Fatalf("slots %s, want reason %d", text, c.want)
			}
			for _, s := range slots {
				if s.Conn == req.Conn && (s.Refusal != c.want || s.Request != 42) {
					t.Errorf("reason %d for request %d, want %d for 42", s.Refusal, s.Request, c.want)
				}
			}
			if c.want != 0 && len(st.events) > 0 {
				t.Error("a refused request was journaled")
			}
		})
	}
}
