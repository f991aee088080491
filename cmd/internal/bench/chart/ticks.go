package chart

import (
	"math"
	"strconv"
)

// Percentile returns the position of a percentile on an axis that gives each further nine the same
// space: 0 for 0 %, 1 for 90 %, 2 for 99 %. 100 % has no position.
func Percentile(percent float64) float64 {
	if percent >= 100 {
		return math.NaN()
	}
	return -math.Log10(1 - percent/100)
}

// PercentileTicks returns the ticks of such an axis up to the percentile.
func PercentileTicks(most float64) (ticks []Tick) {
	for _, p := range []float64{0, 50, 90, 99, 99.9, 99.99, 99.999} {
		if p <= most {
			ticks = append(ticks, Tick{Percentile(p), strconv.FormatFloat(p, 'f', -1, 64) + "%"})
		}
	}
	return ticks
}

// LogTicks returns ticks at 1, 2 and 5 times powers of ten, or only at powers of ten for a wide
// range. The ticks span the values from least to most. Values that are not above zero have no
// position on a logarithmic axis.
func LogTicks(least, most float64, text func(float64) string) (ticks []Tick) {
	if !(least > 0) || !finite(most) || most < least {
		return nil
	}
	steps := []float64{1, 2, 5}
	if most/least > 2e3 {
		steps = []float64{1}
	}
	for power := math.Floor(math.Log10(least)); ; power++ {
		for _, s := range steps {
			at := s * math.Pow(10, power)
			ticks = append(ticks, Tick{at, text(at)})
			if at >= most {
				return trim(ticks, least)
			}
		}
	}
}

// trim keeps one tick at or below least.
func trim(ticks []Tick, least float64) []Tick {
	for len(ticks) > 1 && ticks[1].At <= least {
		ticks = ticks[1:]
	}
	return ticks
}
