package bench

// Summary is a row with its medians and bounds, for JSON.
type Summary struct {
	Name    string
	Spec    Spec
	Values  map[string]Spread
	Curve   []Percentile // medians
	Faults  Faults
	Doubts  []string // reasons why the results may not be due to the server alone
	Results []*Result
}

// Spread is the median of the runs, with the lowest and highest run.
type Spread struct{ Median, Least, Most float64 }

// values returns the figures of a run by name. The name includes the unit.
func values() map[string]func(*Result) float64 {
	return map[string]func(*Result) float64{
		"frames_per_second":           func(r *Result) float64 { return r.Frames },
		"p50_ns":                      func(r *Result) float64 { return r.P50 },
		"p99_ns":                      func(r *Result) float64 { return r.P99 },
		"p99.9_ns":                    func(r *Result) float64 { return r.P999 },
		"max_ns":                      func(r *Result) float64 { return r.Max },
		"server_cpu_ns_per_frame":     (*Result).serverCPU,
		"client_cpu_ns_per_frame":     (*Result).clientCPU,
		"frames_per_send":             (*Result).framesPerSend,
		"sends_per_submit":            (*Result).sendsPerSubmit,
		"allocations_per_frame":       (*Result).allocs,
		"server_gcs":                  func(r *Result) float64 { return float64(r.Server.GCs) },
		"server_gc_pauses_ns":         func(r *Result) float64 { return float64(r.Server.Pauses) },
		"server_memory_peak_mib":      (*Result).peak,
		"server_memory_over_idle_mib": (*Result).overIdle,
		"server_user_ns":              func(r *Result) float64 { return float64(r.Server.User) },
		"server_system_ns":            func(r *Result) float64 { return float64(r.Server.System) },
		"client_user_ns":              func(r *Result) float64 { return float64(r.Clients.User) },
		"client_system_ns":            func(r *Result) float64 { return float64(r.Clients.System) },
		"cores_of_other_processes":    func(r *Result) float64 { return r.Others },
	}
}

// summaries returns the rows for JSON.
func summaries(rows []*Row) (all []Summary) {
	for _, r := range rows {
		s := Summary{Name: r.Spec.Name(), Spec: r.Spec, Values: map[string]Spread{},
			Curve: r.curve(), Doubts: []string{}, Results: r.Results}
		for name, f := range values() {
			v := r.of(f)
			s.Values[name] = Spread{v.mid, v.low, v.high}
		}
		s.Faults, _ = r.faults()
		for _, d := range r.doubts() {
			s.Doubts = append(s.Doubts, d.text)
		}
		all = append(all, s)
	}
	return all
}
