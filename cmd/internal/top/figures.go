package top

import (
	"fmt"
	"math"
	"strconv"
)

// three writes three significant digits.
func three(v float64) string {
	switch {
	case v >= 99.95:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// decade writes a power of ten of nanoseconds without needless digits.
func decade(exponent float64) string {
	ns := math.Pow(10, exponent)
	for _, u := range units() {
		if ns >= u.size {
			return strconv.FormatFloat(ns/u.size, 'f', -1, 64) + " " + u.name
		}
	}
	return strconv.FormatFloat(ns, 'f', -1, 64) + " ns"
}

type unit struct {
	name string
	size float64
}

// units are the units of times above a nanosecond, in nanoseconds.
func units() []unit { return []unit{{"s", 1e9}, {"ms", 1e6}, {"µs", 1e3}} }

func nanos(ns float64) string {
	for _, u := range units() {
		if ns >= 0.9995*u.size {
			return three(ns/u.size) + " " + u.name
		}
	}
	return strconv.FormatFloat(ns, 'f', 0, 64) + " ns"
}

func size(bytes float64) string {
	for _, u := range []unit{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if bytes >= u.size {
			return three(bytes/u.size) + " " + u.name
		}
	}
	return strconv.FormatFloat(bytes, 'f', 0, 64) + " B"
}

// whole groups the digits of a whole number.
func whole(v float64) string {
	text := strconv.FormatFloat(math.Round(v), 'f', 0, 64)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func rate(v float64) string {
	switch {
	case v >= 999_950:
		return three(v/1e6) + " M"
	case v >= 99_950:
		return three(v/1e3) + " k"
	case v > 0 && v < 9.95:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return whole(v)
}

func percent(v float64) string {
	if v > 0 && v < 0.01 {
		return "<1 %"
	}
	return strconv.FormatFloat(100*v, 'f', 0, 64) + " %"
}

// seconds writes a time in seconds with the unit that suits it.
func seconds(s float64) string {
	switch {
	case s < 10:
		return strconv.FormatFloat(max(s, 0), 'f', 1, 64) + " s"
	case s < 120:
		return strconv.FormatFloat(s, 'f', 0, 64) + " s"
	case s < 7200:
		return strconv.Itoa(int(s)/60) + " min"
	case s < 172_800:
		return fmt.Sprintf("%d h %d min", int(s)/3600, int(s)%3600/60)
	}
	return strconv.Itoa(int(s)/86_400) + " d"
}

func count(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return whole(float64(n)) + " " + one + "s"
}

// short keeps the ends of a long address, in which addresses differ.
func short(address string) string {
	if len(address) <= 22 {
		return address
	}
	return address[:6] + "…" + address[len(address)-12:]
}
