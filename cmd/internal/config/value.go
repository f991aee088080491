package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Value reads and writes one field of a configuration.
type Value interface {
	String() string
	Set(text string) error // on an error, which says what to write, the field is unchanged
	Form() string          // placeholder in the help text: SIZE, TIME, auto|uring|poll
}

// Text is any text.
func Text(field *string, form string) Value { return text{field, form} }

type text struct {
	field *string
	form  string
}

func (v text) String() string        { return *v.field }
func (v text) Form() string          { return v.form }
func (v text) Set(text string) error { *v.field = text; return nil }

// List is a list of texts, separated by commas, or in a file written as a sequence.
func List(field *[]string, form string) Value { return list{field, form} }

type list struct {
	field *[]string
	form  string
}

func (v list) String() string { return strings.Join(*v.field, ",") }
func (v list) Form() string   { return v.form }
func (v list) Set(text string) error {
	var all []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	*v.field = all
	return nil
}

// Bool is true or false. A flag without a value is true.
func Bool(field *bool) Value { return boolean{field} }

type boolean struct{ field *bool }

func (v boolean) String() string { return strconv.FormatBool(*v.field) }
func (v boolean) Form() string   { return "" }
func (v boolean) Set(text string) error {
	switch text {
	case "true", "false":
		*v.field = text == "true"
		return nil
	}
	return errors.New("write true or false")
}

// Count is a whole number from least to most. With auto, the word auto stands for 0.
func Count(field *int, least, most int, auto bool) Value { return count{field, least, most, auto} }

type count struct {
	field       *int
	least, most int
	auto        bool
}

func (v count) String() string {
	if v.auto && *v.field == 0 {
		return "auto"
	}
	return strconv.Itoa(*v.field)
}

func (v count) Form() string {
	if v.auto {
		return "auto|N"
	}
	return "N"
}

func (v count) Set(text string) error {
	if v.auto && text == "auto" {
		*v.field = 0
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < v.least || n > v.most {
		or := ""
		if v.auto {
			or = "auto or "
		}
		return fmt.Errorf("write %sa whole number from %d to %d", or, v.least, v.most)
	}
	*v.field = n
	return nil
}

// Size is a number of bytes from least to most, such as 512B, 64KiB, 1.5MiB, 2GiB or 1TiB. The
// default unit is bytes.
func Size[T int | int64 | uint64](field *T, least, most T) Value { return size[T]{field, least, most} }

type size[T int | int64 | uint64] struct {
	field       *T
	least, most T
}

func (v size[T]) String() string { return FormatSize(uint64(*v.field)) }
func (v size[T]) Form() string   { return "SIZE" }
func (v size[T]) Set(text string) error {
	n, err := ParseSize(text)
	if err != nil {
		return err
	}
	if n < uint64(v.least) || n > uint64(v.most) {
		return fmt.Errorf("write a size from %s to %s", FormatSize(uint64(v.least)),
			FormatSize(uint64(v.most)))
	}
	*v.field = T(n)
	return nil
}

// units are the powers of 1024 in ascending order.
var units = [...]string{"B", "KiB", "MiB", "GiB", "TiB"}

// ParseSize reads a number of bytes, such as 512, 512B, 64KiB, 1.5MiB or 2GiB.
func ParseSize(text string) (uint64, error) {
	digits := strings.TrimRight(text, "BKMGTibkmgt ")
	unit := strings.TrimSpace(text[len(digits):])
	shift := -1
	for i, u := range units {
		if u == unit || unit == "" {
			shift = 10 * i
			break
		}
	}
	n, err := strconv.ParseFloat(digits, 64)
	bytes := n * float64(uint64(1)<<max(shift, 0))
	switch {
	case shift < 0 && err == nil:
		return 0, fmt.Errorf("unit %s is unknown; write B, KiB, MiB, GiB or TiB, such as 64KiB", unit)
	case err != nil || n < 0 || n > 1<<40 || bytes != float64(uint64(bytes)):
		return 0, errors.New("write a number of bytes, such as 512B, 64KiB or 1MiB")
	}
	return uint64(bytes), nil
}

// FormatSize formats a number of bytes in the largest unit that needs no fraction.
func FormatSize(bytes uint64) string {
	i := 0
	for i+1 < len(units) && bytes != 0 && bytes%1024 == 0 {
		bytes /= 1024
		i++
	}
	return strconv.FormatUint(bytes, 10) + units[i]
}

// Duration is a time from least to most, such as 250ms, 10s or 1m30s.
func Duration(field *time.Duration, least, most time.Duration) Value {
	return duration{field, least, most}
}

type duration struct {
	field       *time.Duration
	least, most time.Duration
}

func (v duration) String() string { return FormatDuration(*v.field) }
func (v duration) Form() string   { return "TIME" }
func (v duration) Set(text string) error {
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return errors.New("write a time with its unit, such as 250ms, 10s or 1m30s")
	case d < v.least || d > v.most:
		return fmt.Errorf("write a time from %s to %s", FormatDuration(v.least), FormatDuration(v.most))
	}
	*v.field = d
	return nil
}

// FormatDuration formats a time without units that are zero: 5m, not 5m0s.
func FormatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// Choice is one of the given words, read by parse.
func Choice[T fmt.Stringer](field *T, parse func(string) (T, error), words ...string) Value {
	return choice[T]{field, parse, words}
}

type choice[T fmt.Stringer] struct {
	field *T
	parse func(string) (T, error)
	words []string
}

func (v choice[T]) String() string { return strings.ToLower((*v.field).String()) }
func (v choice[T]) Form() string   { return strings.Join(v.words, "|") }
func (v choice[T]) Set(text string) error {
	for _, w := range v.words {
		if w != text {
			continue
		}
		t, err := v.parse(text)
		if err == nil {
			*v.field = t
		}
		return err
	}
	last := len(v.words) - 1
	return fmt.Errorf("write %s or %s", strings.Join(v.words[:last], ", "), v.words[last])
}

// Checked is a text that check accepts.
func Checked(field *string, form string, check func(string) error) Value {
	return checked{field, form, check}
}

type checked struct {
	field *string
	form  string
	check func(string) error
}

func (v checked) String() string { return *v.field }
func (v checked) Form() string   { return v.form }
func (v checked) Set(text string) error {
	if err := v.check(text); err != nil {
		return err
	}
	*v.field = text
	return nil
}
