package transport

import "math/rand/v2"

// Faults are the probabilities, 0..1, with which a SimRing fails in the ways in which kernels and
// networks fail. The zero value means no faults. A test should draw a different set for each seed,
// because with all faults at once the rare ones are masked.
type Faults struct {
	ShortSend     float64 // a send takes fewer bytes than there is room for
	Again         float64 // a send is refused with EAGAIN though there is room
	Interrupted   float64 // a send fails with EINTR
	NoBuffers     float64 // a send fails with ENOBUFS
	NoMemory      float64 // a send fails with ENOMEM
	Reset         float64 // the connection is reset under a send
	Pipe          float64 // the peer turns out to be closed under a send
	LateSend      float64 // a send runs in a later Tick; its bytes are read then
	LatePoll      float64 // a poll completes some Ticks after the socket has room
	LostPoll      float64 // a poll completes with ECANCELED without a Cancel
	StuckSend     float64 // a send does not complete until its socket is shut down or closed
	StuckPoll     float64 // a poll does not complete until it is cancelled or its socket is shut down or closed
	Reorder       float64 // the completions of one Submit or Tick arrive in any order
	PartialSubmit float64 // Submit leaves some requests queued
	SignalSubmit  float64 // Submit is interrupted half-way and goes on
	Doubt         float64 // Submit fails and the ring is in doubt
	LateTicks     int     // maximum delay of late requests in Ticks; 0 means 16
}

// FaultCounts counts how often each fault happened, and what follows from the sizes of the ring. If
// a requested fault has a count of 0, the run tested less than it claims.
type FaultCounts struct {
	ShortSend, Again, Interrupted, NoBuffers, NoMemory, Reset, Pipe uint64
	LateSend, LatePoll, LostPoll, StuckSend, StuckPoll, Reorder     uint64
	PartialSubmit, SignalSubmit, Doubt                              uint64

	QueueFilled uint64 // requests that took the last place of the submission queue
	QueueFull   uint64 // requests rejected because the submission queue was full
	Overflow    uint64 // completions that did not fit into the completion queue
}

// dice draws faults.
type dice struct {
	rng    *rand.Rand
	faults Faults
	counts FaultCounts
}

// newDice returns dice whose throws depend only on the seed.
func newDice(seed uint64, faults Faults) dice {
	return dice{rng: rand.New(rand.NewPCG(seed, 0x51_1CE)), faults: faults}
}

// throw returns true with probability p, and counts it.
func (d *dice) throw(p float64, count *uint64) bool {
	if p <= 0 || d.rng.Float64() >= p {
		return false
	}
	*count++
	return true
}

// delay returns by how many Ticks a request is late.
func (d *dice) delay() uint64 {
	most := d.faults.LateTicks
	if most <= 0 {
		most = 16
	}
	return 1 + uint64(d.rng.IntN(most))
}
