package bench

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"

	"sluice/actors"
	"sluice/durability"
	"sluice/mailbox"
	"sluice/telemetry"
)

// producer publishes slots according to the schedule, and advances the durability cursors behind
// them. It stands for the application and its journal. All fields except the atomics belong to the
// goroutine of run.
type producer struct {
	spec   *Spec
	clock  clock
	slots  *mailbox.Writer[Slot]
	now    func() int64 // clock of the pipeline
	taken  *progress
	direct direct     // nil for servers that take slots
	follow *follower  // the durability cursors
	guests *guests    // nil without churn
	fan    *publisher // nil without topics
	idle   int64      // resident memory before the first client, bytes

	seq    uint64   // number of published slots
	wanted uint64   // published slots that the schedule wanted
	counts []uint64 // published slots by connection
	late   *hdrhistogram.Histogram
	roomy  *mailbox.Signal
	token  chan struct{}
	tick   *os.File
	from   int64 // start of the measured time
	to     int64 // end of the measured time

	sampled produced
}

// produced is what the sampler reads while run writes it.
type produced struct {
	inTime   atomic.Uint64 // slots published in time
	waitRing atomic.Int64  // ns
	waitPeer atomic.Int64  // ns
}

func newProducer(spec *Spec, c clock, t Target, follow *follower, taken *progress) *producer {
	p := &producer{
		spec: spec, clock: c, slots: t.Slots(), follow: follow, now: t.Now, taken: taken,
		idle:   resident(),
		counts: make([]uint64, spec.Connections), token: make(chan struct{}, 1),
		late: hdrhistogram.New(1, int64(time.Minute), 3),
	}
	p.roomy = mailbox.NewSignal(p)
	p.slots.SetSignal(p.roomy)
	p.direct, _ = t.(direct)
	p.fan = newPublisher(spec, t)
	return p
}

// Wake implements mailbox.Waker.
func (p *producer) Wake() {
	select {
	case p.token <- struct{}{}:
	default: // a token is already there
	}
}

// run publishes slots from begin to the end of the measured time.
func (p *producer) run(begin int64) (err error) {
	p.from, p.to = p.spec.span(begin)
	every := tickLeast
	if p.spec.Rate > 0 {
		every, _ = p.spec.tick()
	}
	tick := every
	if p.fan != nil && p.spec.Rate == 0 {
		tick = floodTick
	}
	if p.spec.Lag > 0 || p.spec.Churn > 0 {
		tick = min(tick, tickLeast)
	}
	if p.tick, err = newTicker(begin, tick); err != nil {
		return err
	}
	defer p.tick.Close()
	p.join()
	switch {
	case p.spec.Rate == 0 && p.fan != nil:
		err = p.flood()
	case p.spec.Rate == 0:
		err = p.saturate()
	default:
		err = p.schedule(begin, every)
	}
	for err == nil && p.follow.advance(p.clock.now()) {
		err = wait(p.tick)
	}
	return err
}

// report adds the producer's measurements to r, after run.
func (p *producer) report(r *ChildReport) {
	r.Published, r.Idle = p.counts, p.idle
	if p.fan != nil {
		r.Topics = p.fan.seqs
	}
	r.LateP50, r.LateP99, r.LateMax = p.late.ValueAtQuantile(50), p.late.ValueAtQuantile(99), p.late.Max()
}

// schedule is the open loop: it publishes a burst of slots every tick, whether or not the server
// keeps up.
func (p *producer) schedule(begin int64, every time.Duration) error {
	_, burst := p.spec.tick()
	done := 0.0 // slots that the schedule wants until now
	for n := int64(0); ; {
		now := p.clock.now()
		p.beside(now)
		if now >= begin+n*int64(every) {
			at := begin + n*int64(every)
			if at >= p.to || now >= p.to+int64(time.Second) { // a server that falls behind does not prolong the run
				return nil
			}
			done += burst
			due := int(done - float64(p.wanted))
			n++
			if due == 0 {
				continue
			}
			if at >= p.from {
				_ = p.late.RecordValues(max(now-at, 1), int64(due)) // above a minute the rate was missed anyway
			}
			p.publish(due, at)
			continue
		}
		if err := wait(p.tick); err != nil {
			return err
		}
	}
}

// saturate publishes while there is room in the ring and in the window.
func (p *producer) saturate() error {
	const step = 1024
	for {
		now := p.clock.now()
		p.beside(now)
		if now >= p.to {
			return nil
		}
		if int(p.wanted-p.taken.sum())+step > p.spec.Window {
			if err := wait(p.tick); err != nil {
				return err
			}
			if now >= p.from {
				p.sampled.waitPeer.Add(p.clock.now() - now)
			}
			continue
		}
		p.publish(step, now)
	}
}

// beside advances lagging cursors and serves new guests.
func (p *producer) beside(now int64) {
	p.follow.advance(now)
	p.serveGuests(now)
	p.resubscribe()
}

// publish writes n slots that are scheduled for the time at.
func (p *producer) publish(n int, at int64) {
	if at >= p.from {
		p.sampled.inTime.Add(uint64(n))
	}
	p.wanted += uint64(n)
	if p.direct != nil {
		p.sendDirect(n, at)
		return
	}
	if p.fan != nil {
		p.publishEvents(n, at)
		return
	}
	p.write(n, func(s *Slot) {
		p.ownSlot(s, int(p.pick()), at)
	})
}

// write writes n slots, filled in by fill. It waits if there is no room.
func (p *producer) write(n int, fill func(*Slot)) {
	stamp := p.now()
	for n > 0 {
		room := p.slots.Claim(n)
		if room == nil {
			p.wait()
			continue
		}
		for i := range room {
			p.seq++
			s := &room[i]
			s.Seq, s.Kind, s.Last, s.Bypass = durability.Seq(p.seq), actors.KindReport, false, false
			s.Received, s.Matched = stamp, stamp
			if p.fan != nil { // SetTopic and SetSubscription leave something behind
				s.Parent, s.Refusal = telemetry.Parent{}, 0
			}
			fill(s)
		}
		p.slots.Commit(len(room))
		p.slots.Publish()
		p.follow.published(durability.Seq(p.seq), p.clock)
		n -= len(room)
	}
}

// sendDirect passes the frames to a target without stages.
func (p *producer) sendDirect(n int, at int64) {
	for range n {
		p.seq++
		conn := p.pick()
		p.counts[conn]++
		p.direct.Send(&Report{Conn: uint64(conn) + 1, Seq: p.counts[conn], Stamp: at,
			Size: int32(p.spec.Frame)})
	}
}

// pick returns the connection of the next slot: in turn, or at random by splitmix64, as real
// responses do not come in turn.
func (p *producer) pick() uint32 {
	n := uint64(len(p.counts))
	nth := (p.seq - 1) / uint64(max(p.spec.Repeat, 1))
	if p.spec.Pick == "turn" {
		return uint32(nth % n)
	}
	z := (nth + 2) * 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return uint32((z >> 32) * n >> 32)
}

// wait waits until the server has taken slots.
func (p *producer) wait() {
	began := p.clock.now()
	p.roomy.Prepare()
	if p.slots.Len() == p.slots.Cap() {
		select {
		case <-p.token:
		case <-time.After(time.Millisecond): // Len is approximate
		}
	}
	p.roomy.Cancel()
	p.follow.advance(p.clock.now()) // the gate may wait for it
	if began >= p.from {
		p.sampled.waitRing.Add(p.clock.now() - began)
	}
}

// newTicker returns a periodic timer that wakes a goroutine through the poller of Go,
// timerfd_create(2). The timers of Go are late by up to a millisecond in an idle process, because
// epoll_wait(2) has that resolution.
func newTicker(begin int64, every time.Duration) (*os.File, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("bench: timerfd_create: %w", err)
	}
	spec := &unix.ItimerSpec{Interval: unix.NsecToTimespec(int64(every)),
		Value: unix.NsecToTimespec(begin)}
	if err := unix.TimerfdSettime(fd, unix.TFD_TIMER_ABSTIME, spec, nil); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("bench: timerfd_settime to %v: %w", every, err)
	}
	return os.NewFile(uintptr(fd), "tick"), nil
}

// wait returns after the next tick.
func wait(tick *os.File) error {
	var expired [8]byte
	if _, err := tick.Read(expired[:]); err != nil {
		return fmt.Errorf("bench: reading the timer: %w", err)
	}
	return nil
}
