package listen

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice/transport/secure"
)

// Identity is a line of the authorized keys: a client, and what it may do. It is immutable, so any
// goroutine may read it. A nil Identity is a client of an endpoint without keys: nothing but its role
// limits it.
//
// However the identity was proved, it is known by its fingerprint from then on.
type Identity struct {
	Name string // unique in the file; "" if the line has none
	Key  Fingerprint
	// Certificate is the fingerprint of the certificate that proves the identity over TLS, in place of a key,
	// and Key its first bytes; zero for a key.
	Certificate secure.Fingerprint
	Role        Role

	Accounts    Ranges    // accounts that it may act for and ask about
	Topics      Ranges    // topics that it may subscribe to
	Instruments Ranges    // what it may enter orders in
	Connections int       // open at a time; 0: no limit of its own
	ConnectRate Rate      // of new connections; zero: no limit of its own
	Rate        Rate      // of requests over all its connections; zero: no limit of its own
	Orders      int       // open orders; 0: no limit of its own
	Expires     time.Time // from when on the key is not accepted; zero: never
}

// Revoked is the identity of a key that is no longer authorized. It may do nothing.
func Revoked() *Identity {
	return &Identity{Accounts: NoRange(), Topics: NoRange(), Instruments: NoRange()}
}

// String is the name, or the fingerprint of a key without one.
func (i *Identity) String() string {
	if i.Name != "" {
		return i.Name
	}
	return i.Key.String()
}

// MayAct reports whether the identity may act for an account.
func (i *Identity) MayAct(account uint64) bool { return i == nil || i.Accounts.Has(account) }

// MayFollow reports whether the identity may subscribe to a topic.
func (i *Identity) MayFollow(topic uint64) bool { return i == nil || i.Topics.Has(topic) }

// MayTrade reports whether the identity may enter orders in an instrument, or what an application has in
// its place.
func (i *Identity) MayTrade(instrument uint64) bool { return i == nil || i.Instruments.Has(instrument) }

// Expired reports whether the key is no longer accepted.
func (i *Identity) Expired(now time.Time) bool { return !i.Expires.IsZero() && !now.Before(i.Expires) }

// Within reports whether everything that the identity may do was permitted to another one too. If
// not, a connection of i must end when its key gets the rights of other. Quotas do not count: they hold
// for what comes.
func (i *Identity) Within(other *Identity) bool {
	return i.Role <= other.Role && other.Accounts.Covers(i.Accounts) && other.Topics.Covers(i.Topics) &&
		other.Instruments.Covers(i.Instruments)
}

// differences names what is not the same in a later version of the identity; empty if nothing.
func (i *Identity) differences(later *Identity) string {
	var all []string
	add := func(what, before, after string) {
		if before != after {
			all = append(all, fmt.Sprintf("%s %s -> %s", what, orNone(before), orNone(after)))
		}
	}
	add("name", i.Name, later.Name)
	add("role", i.Role.String(), later.Role.String())
	was, is := i.options(), later.options()
	for o := range was {
		add(was[o].name, was[o].value, is[o].value)
	}
	return strings.Join(all, ", ")
}

func orNone(value string) string {
	if value == "" {
		return "-"
	}
	return value
}

// Range is the numbers from First to Last.
type Range struct{ First, Last uint64 }

// Ranges is a set of numbers. The zero value has every number.
type Ranges struct {
	limited bool
	list    []Range // sorted, without overlap
}

// NoRange is the empty set.
func NoRange() Ranges { return Ranges{limited: true} }

// NewRanges is the set of the numbers in any of the ranges.
func NewRanges(of ...Range) Ranges {
	r := Ranges{limited: true}
	sorted := slices.Clone(of)
	slices.SortFunc(sorted, func(a, b Range) int {
		if a.First < b.First {
			return -1
		}
		return 1
	})
	for _, one := range sorted {
		last := len(r.list) - 1
		if last >= 0 && (one.First <= r.list[last].Last || one.First == r.list[last].Last+1) {
			r.list[last].Last = max(r.list[last].Last, one.Last)
			continue
		}
		r.list = append(r.list, one)
	}
	return r
}

// All reports whether the set has every number because it is not limited.
func (r Ranges) All() bool { return !r.limited }

// Has reports whether a number is in the set.
func (r Ranges) Has(n uint64) bool {
	if !r.limited {
		return true
	}
	low, high := 0, len(r.list)
	for low < high {
		middle := int(uint(low+high) / 2)
		switch one := &r.list[middle]; {
		case n < one.First:
			high = middle
		case n > one.Last:
			low = middle + 1
		default:
			return true
		}
	}
	return false
}

// Covers reports whether every number of another set is in this one.
func (r Ranges) Covers(other Ranges) bool {
	if !r.limited || !other.limited {
		return !r.limited
	}
	return !slices.ContainsFunc(other.list, func(o Range) bool {
		return !slices.ContainsFunc(r.list, func(one Range) bool {
			return one.First <= o.First && o.Last <= one.Last
		})
	})
}

// String is the set as in the authorized keys: empty for every number.
func (r Ranges) String() string {
	if !r.limited {
		return ""
	}
	if len(r.list) == 0 {
		return "none"
	}
	var b strings.Builder
	for i, one := range r.list {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprint(&b, one.First)
		if one.Last > one.First {
			fmt.Fprintf(&b, "-%d", one.Last)
		}
	}
	return b.String()
}
