package transport

import (
	"fmt"
	"syscall"
)

// SimRing is the Ring of a SimNet: deterministic, single-threaded, with faults on purpose. Time
// passes only in Tick. Where the contract of Ring allows it, it is harsher than the real engines: a
// send may run long after Submit, and its bytes are read when it runs, so a buffer that was reused
// too early is visible in the client's stream.
type SimRing struct {
	net       *SimNet
	dice      dice
	cfg       SimConfig
	queue     []simRequest // for the next Submit
	flight    []simRequest // handed over, not completed
	ready     []Completion // the completion queue
	excess    []Completion // completions that did not fit
	now       uint64       // Ticks so far
	parked    bool
	closed    bool
	sendCalls uint64 // calls of Send
	doubt     error
	count     Counters
	batch     []Completion // completions of the current Submit or Tick
}

// SimConfig are the parameters of a SimRing.
type SimConfig struct {
	Entries     int    // requests that can be queued, at least 1
	Completions int    // size of the completion queue, at least 1; excess completions wait
	Seed        uint64 // determines every fault
	Faults      Faults
	Wake        func() // like RingConfig.Wake, but called from inside Park, Submit and Tick
}

// kind is the kind of a simulated request.
type kind uint8

const (
	kindSend kind = iota
	kindPoll
	kindCancel
)

// simRequest is one request. Its socket is looked up when the request is handed over, as in a
// kernel.
type simRequest struct {
	kind   kind
	fd     int32
	user   uint64
	buffer []byte
	socket *simSocket
	due    uint64 // Tick from which it may run; for a poll, 0 = not decided yet
	stuck  bool
}

// NewSimRing returns a ring on net. Several rings may share a SimNet.
func NewSimRing(net *SimNet, cfg SimConfig) *SimRing {
	if cfg.Entries < 1 || cfg.Completions < 1 || cfg.Wake == nil {
		panic(fmt.Sprintf("transport: NewSimRing(%d entries, %d completions, Wake set: %t); want "+
			"1 or more of each and a Wake",
			cfg.Entries, cfg.Completions, cfg.Wake != nil))
	}
	return &SimRing{net: net, cfg: cfg, dice: newDice(cfg.Seed, cfg.Faults)}
}

// SetFaults changes the probabilities from now on. After SetFaults(Faults{}) there are no new
// faults, and late requests complete within LateTicks. Stuck requests stay stuck.
func (s *SimRing) SetFaults(faults Faults) {
	if faults.LateTicks == 0 {
		faults.LateTicks = s.dice.faults.LateTicks
	}
	s.dice.faults = faults
}

// FaultCounts returns how often each fault happened so far.
func (s *SimRing) FaultCounts() FaultCounts { return s.dice.counts }

// SendCalls is the number of calls of Send.
func (s *SimRing) SendCalls() uint64 { return s.sendCalls }

// InFlight is the number of requests that were handed over and are not completed, including stuck
// ones.
func (s *SimRing) InFlight() int { return len(s.flight) }

// Info implements Ring.
func (s *SimRing) Info() Info { return Info{Engine: "sim", Entries: s.cfg.Entries} }

// Counters implements Ring.
func (s *SimRing) Counters() *Counters { return &s.count }

// Queued implements Ring.
func (s *SimRing) Queued() int {
	if s.doubt != nil && !s.closed {
		return max(1, len(s.queue))
	}
	return len(s.queue)
}

// Send implements Ring.
func (s *SimRing) Send(fd int32, b []byte, user uint64) bool {
	checkSend(fd, b)
	s.sendCalls++
	return s.enqueue(simRequest{kind: kindSend, fd: fd, buffer: b, user: user})
}

// Poll implements Ring.
func (s *SimRing) Poll(fd int32, user uint64) bool {
	checkPoll(fd, user)
	for _, list := range [][]simRequest{s.queue, s.flight} {
		for i := range list {
			if list[i].kind == kindPoll && (list[i].user == user || list[i].fd == fd) {
				panic(fmt.Sprintf("transport: Poll(fd %d, user %#x): a poll of fd %d with user "+
					"%#x is pending", fd, user, list[i].fd, list[i].user))
			}
		}
	}
	if !s.enqueue(simRequest{kind: kindPoll, fd: fd, user: user}) {
		return false
	}
	s.count.Polls++
	return true
}

// Cancel implements Ring.
func (s *SimRing) Cancel(user uint64) bool {
	if !s.enqueue(simRequest{kind: kindCancel, user: user}) {
		return false
	}
	s.count.Cancels++
	return true
}

func (s *SimRing) enqueue(r simRequest) bool {
	if s.closed {
		panic("transport: request on a ring that is closed")
	}
	if len(s.queue) == s.cfg.Entries {
		s.dice.counts.QueueFull++
		return false
	}
	if s.queue = append(s.queue, r); len(s.queue) == s.cfg.Entries {
		s.dice.counts.QueueFilled++
	}
	return true
}

// Submit implements Ring.
func (s *SimRing) Submit() error {
	d := &s.dice
	if s.doubt != nil || len(s.queue) == 0 {
		return s.doubt
	}
	s.count.Submits++
	s.count.Enters++
	take := len(s.queue)
	if d.throw(d.faults.PartialSubmit, &d.counts.PartialSubmit) {
		take = d.rng.IntN(take)
		s.count.Starved++
	}
	if d.throw(d.faults.SignalSubmit, &d.counts.SignalSubmit) {
		s.count.Interrupted++
		s.count.Enters++
	}
	fails := d.throw(d.faults.Doubt, &d.counts.Doubt)
	if fails {
		take = d.rng.IntN(take + 1)
	}
	s.begin()
	for i := range s.queue[:take] {
		s.start(&s.queue[i])
	}
	rest := copy(s.queue, s.queue[take:])
	clear(s.queue[rest:])
	s.queue = s.queue[:rest]
	s.end()
	if fails {
		s.doubt = fmt.Errorf("transport: simulated ring with %d requests queued: %w: %w", rest,
			ErrRingInDoubt, syscall.EFAULT)
	}
	return s.doubt
}

// start hands one request over: it completes immediately or joins those in flight.
func (s *SimRing) start(r *simRequest) {
	d := &s.dice
	if r.kind == kindCancel {
		s.cancel(r.user)
		return
	}
	if r.socket = s.net.at(r.fd); r.socket == nil {
		s.finish(r, -int32(syscall.EBADF))
		return
	}
	if r.socket.shut { // requests on a socket that was shut are never stuck
		if !s.advance(r) {
			s.flight = append(s.flight, *r)
		}
		return
	}
	if r.kind == kindPoll {
		r.stuck = d.throw(d.faults.StuckPoll, &d.counts.StuckPoll)
	} else {
		r.stuck = d.throw(d.faults.StuckSend, &d.counts.StuckSend)
		if !r.stuck && d.throw(d.faults.LateSend, &d.counts.LateSend) {
			r.due = s.now + d.delay()
		}
	}
	if !s.advance(r) {
		s.flight = append(s.flight, *r)
	}
}

// advance completes a request if it can complete now, and reports whether it did.
func (s *SimRing) advance(r *simRequest) bool {
	d := &s.dice
	switch {
	case r.stuck:
		return false
	case r.kind == kindSend:
		if s.now < r.due {
			return false
		}
		s.finish(r, s.send(r.socket, r.buffer))
		return true
	case d.throw(d.faults.LostPoll, &d.counts.LostPoll):
		s.finish(r, -int32(syscall.ECANCELED))
		return true
	case r.socket.events() == 0:
		return false
	case r.due == 0:
		r.due = s.now
		if d.throw(d.faults.LatePoll, &d.counts.LatePoll) {
			r.due += d.delay()
		}
	}
	if s.now < r.due {
		return false
	}
	s.finish(r, r.socket.events())
	return true
}

// send executes a send and returns the number of bytes or -errno.
func (s *SimRing) send(socket *simSocket, b []byte) int32 {
	d := &s.dice
	switch {
	case d.throw(d.faults.Reset, &d.counts.Reset):
		(&SimPeer{socket: socket}).Reset()
	case d.throw(d.faults.Pipe, &d.counts.Pipe):
		(&SimPeer{socket: socket}).Close()
	}
	if errno := socket.broken(); errno != 0 {
		return -int32(errno)
	}
	switch {
	case d.throw(d.faults.Interrupted, &d.counts.Interrupted):
		return -int32(syscall.EINTR)
	case d.throw(d.faults.NoBuffers, &d.counts.NoBuffers):
		return -int32(syscall.ENOBUFS)
	case d.throw(d.faults.NoMemory, &d.counts.NoMemory):
		return -int32(syscall.ENOMEM)
	case socket.room() == 0, d.throw(d.faults.Again, &d.counts.Again):
		return -int32(syscall.EAGAIN)
	}
	limit := min(len(b), socket.room())
	if limit > 1 && d.throw(d.faults.ShortSend, &d.counts.ShortSend) {
		limit = 1 + d.rng.IntN(limit-1)
	}
	return int32(socket.take(b, limit))
}

// cancel ends the poll with that user value if it is in flight.
func (s *SimRing) cancel(user uint64) {
	for i := range s.flight {
		if r := &s.flight[i]; r.kind == kindPoll && r.user == user {
			s.finish(r, -int32(syscall.ECANCELED))
			s.flight = append(s.flight[:i], s.flight[i+1:]...)
			return
		}
	}
}

// Tick advances time by one unit. Late requests that are due complete, and so do polls of sockets
// with room.
func (s *SimRing) Tick() {
	s.now++
	s.begin()
	keep := s.flight[:0]
	for i := range s.flight {
		if r := s.flight[i]; !s.advance(&r) {
			keep = append(keep, r)
		}
	}
	clear(s.flight[len(keep):])
	s.flight = keep
	s.end()
}

// Unread implements Ring.
func (s *SimRing) Unread(fd int32) int {
	if socket := s.net.at(fd); socket != nil {
		return len(socket.bytes)
	}
	return 0
}

// Unacked implements Ring. Sockets with even descriptors behave like TCP.
func (s *SimRing) Unacked(fd int32) int {
	if fd%2 != 0 {
		return 0
	}
	return s.Unread(fd)
}

// Shutdown implements Ring.
func (s *SimRing) Shutdown(fd int32) error {
	socket := s.net.at(fd)
	if socket == nil {
		return fmt.Errorf("transport: shutdown of fd %d: %w", fd, syscall.EBADF)
	}
	s.shut(socket)
	return nil
}

// shut ends a socket and releases the requests stuck on it; its other requests complete in their
// time, with the new state.
func (s *SimRing) shut(socket *simSocket) {
	socket.shut = true
	for i := range s.flight {
		if r := &s.flight[i]; r.socket == socket && r.stuck {
			r.stuck, r.due = false, s.now+1
		}
	}
}

// CloseSocket implements Ring.
func (s *SimRing) CloseSocket(fd int32) error {
	socket := s.net.at(fd)
	if socket == nil {
		return fmt.Errorf("transport: close of fd %d: %w", fd, syscall.EBADF)
	}
	s.shut(socket)
	for i := range s.flight {
		if s.flight[i].socket == socket {
			s.flight[i].fd = -1 // the descriptor may be reused before this completes
		}
	}
	s.net.release(fd)
	return nil
}

// Close implements Ring.
func (s *SimRing) Close() error {
	s.closed = true
	s.queue, s.flight, s.ready, s.excess = nil, nil, nil, nil
	if s.doubt == nil {
		s.doubt = fmt.Errorf("transport: %w: it is closed", ErrRingInDoubt)
	}
	return nil
}
