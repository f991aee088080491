package actors

// simRuns watches how the encoder of a world groups slots.
type simRuns struct {
	number   uint32 // of the last row that a full ring interrupted
	encoding bool   // the encoder stands still inside the application's
}

// encodes counts runs when their second response is encoded, and responses that fail behind others in a run.
func (s *simRuns) encodes(w *world, r *tick) {
	count(&w.stats.Runs, w.p.encoder.runs.count == 1)
	count(&w.stats.RunsFailed, w.p.encoder.runs.count > 0 && r.bad != faultNone)
}

// look counts rows that a full ring interrupted between slots of theirs.
func (s *simRuns) look(w *world) {
	r := &w.p.encoder.runs
	if s.encoding || r.row == 0 || r.number == s.number || r.at == 0 && r.groups[0].next == 0 {
		return
	}
	s.number = r.number
	w.stats.RowsInterrupted++
}
