package bench

import "github.com/HdrHistogram/hdrhistogram-go"

// Percentile is a point of a distribution: Of percent of the frames took NS ns or less.
type Percentile struct {
	Of float64
	NS float64
}

// curve returns the points of a chart from a histogram, up to the highest percentile that has a
// frame.
func curve(hist *hdrhistogram.Histogram) (points []Percentile) {
	for _, of := range []float64{
		0, 5, 10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 93, 95, 97, 98, 99, 99.3, 99.5, 99.7,
		99.8, 99.9, 99.93, 99.95, 99.97, 99.98, 99.99, 99.995, 99.999,
	} {
		if float64(hist.TotalCount())*(1-of/100) < 1 {
			break
		}
		points = append(points, Percentile{of, float64(hist.ValueAtQuantile(of))})
	}
	return points
}

// curve returns the median over the runs at each percentile that all runs have.
func (r *Row) curve() (points []Percentile) {
	for i := range r.Results[0].Curve {
		for _, res := range r.Results {
			if i >= len(res.Curve) {
				return points
			}
		}
		points = append(points, Percentile{r.Results[0].Curve[i].Of,
			r.of(func(res *Result) float64 { return res.Curve[i].NS }).mid})
	}
	return points
}
