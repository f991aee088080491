package transport

// begin starts to collect the completions of one Submit or Tick, so that end can reorder them.
func (s *SimRing) begin() { s.batch = s.batch[:0] }

// finish records the result of a request.
func (s *SimRing) finish(r *simRequest, res int32) {
	if r.kind == kindSend {
		s.count.countSend(res, int32(len(r.buffer)))
		if r.socket != nil {
			if r.socket.short = res != int32(len(r.buffer)); r.socket.short {
				r.socket.shorts++
			}
		}
	}
	s.batch = append(s.batch, Completion{User: r.user, Res: res})
}

// end moves the collected completions to the completion queue, those that do not fit to the excess,
// and wakes the owner.
func (s *SimRing) end() {
	d := &s.dice
	if len(s.batch) > 1 && d.throw(d.faults.Reorder, &d.counts.Reorder) {
		d.rng.Shuffle(len(s.batch), func(i, j int) { s.batch[i], s.batch[j] = s.batch[j], s.batch[i] })
	}
	for _, c := range s.batch {
		// If the excess is not empty, later completions join it, so they stay in order.
		if len(s.ready) < s.cfg.Completions && len(s.excess) == 0 {
			s.ready = append(s.ready, c)
		} else {
			s.excess = append(s.excess, c)
			d.counts.Overflow++
		}
	}
	if s.parked && len(s.batch) > 0 {
		s.parked = false
		s.cfg.Wake()
	}
}

// Reap implements Ring.
func (s *SimRing) Reap(dst []Completion) int {
	n := 0
	for n < len(dst) {
		if len(s.ready) == 0 && !s.refill() {
			break
		}
		dst[n] = s.ready[0]
		s.ready = s.ready[:copy(s.ready, s.ready[1:])]
		n++
	}
	return n
}

// refill moves completions from the excess to the empty completion queue, as many as fit.
func (s *SimRing) refill() bool {
	if len(s.excess) == 0 {
		return false
	}
	s.count.Overflows++
	fits := min(len(s.excess), s.cfg.Completions)
	s.ready = append(s.ready, s.excess[:fits]...)
	s.excess = s.excess[:copy(s.excess, s.excess[fits:])]
	return true
}

// Park implements Ring.
func (s *SimRing) Park() {
	if len(s.ready) > 0 || len(s.excess) > 0 || s.Queued() > 0 {
		s.cfg.Wake()
		return
	}
	s.parked = true
}
