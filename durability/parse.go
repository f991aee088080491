package durability

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// blanks are accepted around a policy, a clause, "&&" and ">=". No other deviation is.
const blanks = " \t\r\n"

// quoteLimit bounds, in bytes, the part of an invalid input that an error repeats.
const quoteLimit = 64

// Parse reads a policy as String prints it, "persisted>=1 && in_memory>=2", or one of its names:
// local (alias disk), hybrid (disk+ram), replicated (ram), durably-replicated (two-disks). Levels
// and names are lower case, counts are plain decimal numbers. The cluster size includes this node
// and is 1 to MaxNodes. An error names the clause, what is wrong with it and what to write instead.
func Parse(text string, nodes int) (Policy, error) {
	text = strings.Trim(text, blanks)
	p, named := byName(text)
	clauses := p.list()
	var err error
	if !named {
		clauses, err = parseClauses(text)
	}
	if err == nil {
		p, err = build(nodes, clauses)
	}
	switch {
	case err == nil:
		return p, nil
	case named:
		return Policy{}, fmt.Errorf("durability: policy %q: %w", text, err)
	}
	return Policy{}, fmt.Errorf("durability: %w", err)
}

func parseClauses(text string) ([]Clause, error) {
	if text == "" {
		return nil, nil // build rejects it, as any policy without a clause.
	}
	parts := strings.SplitN(text, "&&", MaxClauses+1)
	for i := range parts {
		parts[i] = strings.Trim(parts[i], blanks)
	}
	if len(parts) > MaxClauses {
		return nil, tooMany(quote(parts[MaxClauses]))
	}
	clauses := make([]Clause, len(parts))
	for i, part := range parts {
		c, err := parseClause(part)
		if err != nil {
			return nil, fmt.Errorf("clause %d %s: %w", i+1, quote(part), err)
		}
		clauses[i] = c
	}
	return clauses, nil
}

// parseClause reads "level>=count" without blanks around it. NewPolicy checks the range of the
// count.
func parseClause(text string) (Clause, error) {
	if text == "" {
		return Clause{}, errors.New("the clause is empty; write level>=count, as persisted>=1, " +
			"or drop the \"&&\"")
	}
	name, number, ok := strings.Cut(text, ">=")
	if !ok {
		return Clause{}, errors.New("not a clause; write level>=count, as persisted>=1, " +
			"or as the whole policy one of local, hybrid, replicated, durably-replicated")
	}
	var level Level
	switch name = strings.Trim(name, blanks); name {
	case InMemory.String():
		level = InMemory
	case Persisted.String():
		level = Persisted
	default:
		return Clause{}, fmt.Errorf("unknown level %s; use in_memory or persisted", quote(name))
	}
	number = strings.Trim(number, blanks)
	count, err := strconv.ParseUint(number, 10, 31)
	if errors.Is(err, strconv.ErrRange) {
		return Clause{}, fmt.Errorf("count %s is above every cluster size; use 1 to %d at most",
			quote(number), MaxNodes)
	}
	// Comparing the text rejects the other spellings that ParseUint accepts: a policy has one
	// spelling.
	if err != nil || strconv.FormatUint(count, 10) != number {
		return Clause{}, fmt.Errorf("count %s is not a plain number; write it as 2, put nothing after it, "+
			"and join clauses with \"&&\"", quote(number))
	}
	return Clause{level, int(count)}, nil
}

// String prints the policy exactly as Parse reads it: clauses in their order, joined by " && ". The
// zero Policy prints as "no policy", which Parse rejects.
func (p Policy) String() string {
	if p.len == 0 {
		return "no policy"
	}
	var b strings.Builder
	for i := range p.Len() {
		if i > 0 {
			b.WriteString(" && ")
		}
		b.WriteString(p.Clause(i).String())
	}
	return b.String()
}

// Name returns the name of a policy that has one ("local", "hybrid", "replicated",
// "durably-replicated"), else "". The order of the clauses matters.
func (p Policy) Name() string {
	switch p {
	case Local():
		return "local"
	case Hybrid():
		return "hybrid"
	case Replicated():
		return "replicated"
	case DurablyReplicated():
		return "durably-replicated"
	}
	return ""
}

func byName(name string) (p Policy, ok bool) {
	switch name {
	case "local", "disk":
		return Local(), true
	case "hybrid", "disk+ram":
		return Hybrid(), true
	case "replicated", "ram":
		return Replicated(), true
	case "durably-replicated", "two-disks":
		return DurablyReplicated(), true
	}
	return Policy{}, false
}

func (p Policy) list() []Clause {
	clauses := make([]Clause, p.Len())
	for i := range clauses {
		clauses[i] = p.Clause(i)
	}
	return clauses
}

func quote(s string) string {
	if len(s) > quoteLimit {
		return strconv.Quote(s[:quoteLimit]) + "..."
	}
	return strconv.Quote(s)
}
