package listen

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"sluice/transport/secure"
)

// Bounds of a line of the authorized keys.
const (
	maxKeyLine = 4096 // bytes
	maxName    = 64   // bytes
)

// ParseKeyLine reads a line of the authorized keys: `role base64key [option=value ...] # comment`, with
// cert:SHA256 of a certificate in place of a key; public is what stands there, as bytes. A nil
// identity is a line without a key. Words without = behind the key are a comment, too, as they always were.
// An unknown option is an error: a right that is misspelled must not be a right that is not limited.
func ParseKeyLine(line string) (id *Identity, public []byte, err error) {
	line, _, _ = strings.Cut(line, "#")
	fields := strings.Fields(line)
	if len(fields) == 0 {
		return nil, nil, nil
	}
	id = &Identity{}
	if id.Role, err = ParseRole(fields[0]); err != nil {
		return nil, nil, err
	}
	if len(fields) < 2 {
		return nil, nil, fmt.Errorf("role %q without a key: want `role base64key [option=value ...] # comment`",
			fields[0])
	}
	if public, err = id.setKey(fields[1]); err != nil {
		return nil, nil, err
	}
	seen := map[string]bool{}
	for _, word := range fields[2:] {
		name, value, option := strings.Cut(word, "=")
		if !option {
			continue
		}
		if seen[name] {
			return nil, nil, fmt.Errorf("%q: option %s appears twice", word, name)
		}
		seen[name] = true
		if err := id.set(name, value); err != nil {
			return nil, nil, fmt.Errorf("%q: %w", word, err)
		}
	}
	return id, public, nil
}

// setKey reads a public key, or the fingerprint of a certificate, and returns its bytes.
func (i *Identity) setKey(word string) (public []byte, err error) {
	if print, ok := strings.CutPrefix(word, certificatePrefix); ok {
		if i.Certificate, err = secure.ParseFingerprint(print); err != nil {
			return nil, err
		}
		if i.Certificate == (secure.Fingerprint{}) {
			return nil, fmt.Errorf("%q is the fingerprint of no certificate", word)
		}
		i.Key = Fingerprint(i.Certificate[:len(i.Key)])
		return i.Certificate[:], nil
	}
	public, err = base64.StdEncoding.Strict().DecodeString(word)
	if err != nil {
		return nil, fmt.Errorf("key %q is not base64: %w", word, err)
	}
	if len(public) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("key has %d bytes, want %d", len(public), ed25519.PublicKeySize)
	}
	i.Key = FingerprintOf(public)
	return public, nil
}

// certificatePrefix begins the fingerprint of a certificate, where other lines have a key.
const certificatePrefix = "cert:"

// set reads an option. It is the inverse of options.
func (i *Identity) set(name, value string) (err error) {
	switch name {
	case "name":
		i.Name, err = value, checkName(value)
	case "accounts":
		i.Accounts, err = ParseRanges(value)
	case "topics":
		i.Topics, err = ParseRanges(value)
	case "instruments":
		i.Instruments, err = ParseRanges(value)
	case "connections":
		i.Connections, err = parseCount(value)
	case "orders":
		i.Orders, err = parseCount(value)
	case "rate":
		i.Rate, err = parseRate(value)
	case "connect-rate":
		i.ConnectRate, err = parseRate(value)
	case "expires":
		i.Expires, err = parseDay(value)
	default:
		return errors.New("unknown option: want name, accounts, instruments, connections, connect-rate, rate, " +
			"orders, topics or expires; a comment belongs behind #")
	}
	return err
}

// option is one word of a line.
type option struct{ name, value string }

// options are all options of a line, in one order. One that the line does not have has no value.
func (i *Identity) options() []option {
	count := func(n int) string {
		if n == 0 {
			return ""
		}
		return strconv.Itoa(n)
	}
	var expires string
	if !i.Expires.IsZero() {
		if expires = i.Expires.Format(time.RFC3339Nano); i.Expires.Truncate(24 * time.Hour).Equal(i.Expires) {
			expires = i.Expires.Format(time.DateOnly)
		}
	}
	return []option{{"accounts", i.Accounts.String()}, {"instruments", i.Instruments.String()},
		{"connections", count(i.Connections)}, {"connect-rate", i.ConnectRate.option()}, {"rate", i.Rate.option()},
		{"orders", count(i.Orders)}, {"topics", i.Topics.String()}, {"expires", expires}}
}

// option is the inverse of parseRate; empty for no limit.
func (r Rate) option() string {
	if r == (Rate{}) {
		return ""
	}
	return fmt.Sprintf("%s/%d", strconv.FormatFloat(r.PerSecond, 'f', -1, 64), r.Burst)
}

// Options is the words of the identity's line behind its key, without the comment.
func (i *Identity) Options() string {
	var words []string
	for _, o := range append([]option{{"name", i.Name}}, i.options()...) {
		if o.value != "" {
			words = append(words, o.name+"="+o.value)
		}
	}
	return strings.Join(words, " ")
}

// checkName reports why a name is none. It must look like no fingerprint and no number, because operators
// name a key by name or fingerprint, where they could also name a connection.
func checkName(name string) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("a name has 1 to %d bytes", maxName)
	}
	if strings.Trim(name, "0123456789") == "" {
		return errors.New("a name must not be a number")
	}
	hexadecimal := len(name) == 2*len(Fingerprint{})
	for _, r := range name {
		switch {
		case r >= '0' && r <= '9' || r >= 'a' && r <= 'f':
		case r >= 'g' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("._@-", r):
			hexadecimal = false
		default:
			return fmt.Errorf("%q in a name: want letters, digits and any of . _ @ -", r)
		}
	}
	if hexadecimal {
		return errors.New("a name must not look like a fingerprint")
	}
	return nil
}

// ParseRanges reads numbers and ranges, such as 7,100-199, or none. Numbers may be hexadecimal, with 0x.
func ParseRanges(text string) (Ranges, error) {
	if text == "none" {
		return NoRange(), nil
	}
	var all []Range
	for _, part := range strings.Split(text, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		one := Range{}
		for _, end := range []struct {
			text string
			to   *uint64
		}{{first, &one.First}, {last, &one.Last}} {
			n, err := parseNumber(end.text)
			if err != nil {
				return Ranges{}, fmt.Errorf("%q is no number: want numbers and ranges, such as 7,100-199, or none",
					end.text)
			}
			*end.to = n
		}
		if one.First > one.Last {
			return Ranges{}, fmt.Errorf("range %q ends before it begins", part)
		}
		all = append(all, one)
	}
	return NewRanges(all...), nil
}

func parseNumber(text string) (uint64, error) {
	if digits, ok := strings.CutPrefix(text, "0x"); ok {
		return strconv.ParseUint(digits, 16, 64)
	}
	return strconv.ParseUint(text, 10, 64)
}

func parseCount(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("want a number from 1 to %d", math.MaxInt32)
	}
	return int(n), nil
}

func parseRate(text string) (r Rate, err error) {
	per, burst, ok := strings.Cut(text, "/")
	r.PerSecond, err = strconv.ParseFloat(per, 64)
	if ok && err == nil {
		r.Burst, err = strconv.Atoi(burst)
	}
	if err == nil && ok && r != (Rate{}) {
		if err = r.Validate(); err == nil {
			return r, nil
		}
	}
	return Rate{}, errors.New("want a rate per second and a burst, such as 1000/2000")
}

// parseDay reads a day, which means its beginning in UTC, or a time.
func parseDay(text string) (time.Time, error) {
	for _, form := range []string{time.DateOnly, time.RFC3339} {
		if at, err := time.Parse(form, text); err == nil && at.Year() >= 2000 && at.Year() < 9999 {
			return at.UTC(), nil
		}
	}
	return time.Time{}, errors.New("want a day, such as 2027-01-31, at whose beginning (UTC) the key expires, " +
		"or a time, such as 2027-01-31T18:00:00Z")
}

// AppendKeyLine is Identity.AppendLine for a key with a role and nothing else.
func AppendKeyLine(dst []byte, role Role, public ed25519.PublicKey, comment string) []byte {
	return (&Identity{Role: role}).AppendLine(dst, public, comment)
}

// AppendLine appends the line that authorizes a key, with its newline. Line breaks and # in the comment
// become spaces. The field Key is not used.
func (i *Identity) AppendLine(dst []byte, public ed25519.PublicKey, comment string) []byte {
	dst = append(dst, i.Role.String()...)
	dst = append(dst, ' ')
	if i.Certificate != (secure.Fingerprint{}) {
		dst = append(append(dst, certificatePrefix...), i.Certificate.String()...)
	} else {
		dst = base64.StdEncoding.AppendEncode(dst, public)
	}
	if options := i.Options(); options != "" {
		dst = append(append(dst, ' '), options...)
	}
	if comment != "" {
		dst = append(dst, " # "...)
		dst = append(dst, bytes.Map(commentRune, []byte(comment))...)
	}
	return append(dst, '\n')
}

func commentRune(r rune) rune {
	if r == '\n' || r == '\r' || r == '#' {
		return ' '
	}
	return r
}
