package actors

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"sluice/actors/internal/run"
	"sluice/actors/internal/shard"
	"sluice/encode"
	"sluice/transport"
)

// stopGrace is how long a stop or fence waits for readers to release their sockets if its context
// has no deadline.
const stopGrace = time.Second

// start runs the actors. It is called once.
func (p *Pipeline[R, Q]) start() {
	p.runner.Start()
	go func() {
		p.finish(p.runner.Wait())
		close(p.ended)
	}()
}

// Disconnect reports that the reader has released the socket; it must not use it any more. accepted
// is the number of its requests that were accepted in all. With ReasonPeerClosed the client still
// receives the responses to those. With ReasonShutdown (the reader ends because the pipeline is
// about to) it receives what can be delivered until the end. With any other reason the connection
// ends now. A Reason of the listener is counted as its Closing. Each Connect that was not WriteOnly
// needs exactly one Disconnect.
func (p *Pipeline[R, Q]) Disconnect(conn uint64, accepted uint64, why transport.Reason) {
	if p.send(shard.Event{Kind: shard.EventDisconnect, Conn: conn, Owed: accepted,
		Reason: why}) == nil {
		return
	}
	<-p.ended
	p.sockets.mu.Lock()
	defer p.sockets.mu.Unlock()
	if fd, ok := p.sockets.orphans[conn]; ok {
		delete(p.sockets.orphans, conn)
		p.closeSocket(conn, fd)
	}
}

// Busy sends ServerBusy for requests that were shed, at the next frame boundary (R25): it is the
// whole response to each. requests are the client's numbers; they are not kept.
func (p *Pipeline[R, Q]) Busy(conn uint64, requests []uint64) error {
	var room [busyAtOnce * 16]byte
	for len(requests) > 0 {
		n := min(len(requests), busyAtOnce)
		frames := room[:0]
		for _, request := range requests[:n] {
			frames = p.cfg.Framing.AppendControl(frames, encode.Control{
				Kind: encode.ControlServerBusy, Request: request})
		}
		requests = requests[n:]
		err := p.send(shard.Event{Kind: shard.EventBusy, Conn: conn, Owed: uint64(n),
			Frame: string(frames)})
		if err != nil {
			return err
		}
	}
	return nil
}

// busyAtOnce is how many ServerBusy frames are appended in one piece.
const busyAtOnce = 16

// Kick ends a connection. It is not an error if the connection is gone already.
func (p *Pipeline[R, Q]) Kick(conn uint64, why transport.Reason) error {
	return p.send(shard.Event{Kind: shard.EventKick, Conn: conn, Reason: why})
}

// send queues a control event. The mailbox is bounded. If it is full, the caller waits, because
// control events must not be lost and their senders are not actors.
func (p *Pipeline[R, Q]) send(ev shard.Event) error {
	ev.Hash, ev.Reason = transport.Hash(ev.Conn), ev.Reason.Closing()
	for wait := time.Microsecond; !p.mail.events.TrySend(ev); wait = min(2*wait, time.Millisecond) {
		if p.mail.events.Closed() {
			return ErrEnded
		}
		runtime.Gosched()
		time.Sleep(wait)
	}
	return nil
}

// Ended returns a channel that is closed when the pipeline has ended, for whatever reason.
func (p *Pipeline[R, Q]) Ended() <-chan struct{} { return p.ended }

// Err is why the pipeline ended: nil while it runs, and after an orderly end. It does not wait; to
// wait for the end, receive from Ended first.
func (p *Pipeline[R, Q]) Err() error {
	select {
	case <-p.ended:
		return p.err
	default:
		return nil
	}
}

// ErrEnded is returned by the pipeline's methods once it is ending.
var ErrEnded = errors.New("actors: the pipeline is ending; no connection is accepted")

// Farewell is the Close with which the end of a pipeline parts with its clients.
type Farewell struct {
	Reason     encode.CloseReason
	RetryAfter time.Duration // wait before a client connects to this server again; 0: none; encode.Never
	Address    string        // where clients go, as docs/wire.md writes it; empty: none
}

// SetFarewell replaces what Drain and Stop tell clients: that the server shuts down. A server whose
// place another one has taken sends its clients there so. It is called before the end; clients that
// were told already are not told again. The error says what is wrong with the farewell.
func (p *Pipeline[R, Q]) SetFarewell(f Farewell) error {
	if f.Reason == 0 || len(f.Address) > encode.MaxAddress {
		return fmt.Errorf("actors: farewell with reason %d and an address of %d bytes; want a reason, and "+
			"at most %d bytes", f.Reason, len(f.Address), encode.MaxAddress)
	}
	p.farewell.Store(&encode.Control{Kind: encode.ControlClose, Reason: f.Reason,
		RetryAfter: f.RetryAfter, Address: f.Address})
	return nil
}

// Passed returns once the gate has released everything that the producer wrote before it closed the
// slot ring, or the pipeline ends; the error is that of ctx, which ended first.
func (p *Pipeline[R, Q]) Passed(ctx context.Context) error {
	select {
	case <-p.gate.ended:
		return nil
	case <-p.ended: // a gate that panicked was not closed
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Drain ends the pipeline in order. The producer has closed the slot ring (Slots().Close).
// Everything that becomes durable is delivered, then the connections are closed, spread over
// Egress.DrainSpread. A client whose reader called Disconnect before, and whose accepted requests have
// all been answered, is told that no other request was carried out (encode.Control.Answered). If ctx ends first, or Stop or Fence is called, the pipeline is stopped
// instead. The error is then a *DrainError, which says what was waited for.
func (p *Pipeline[R, Q]) Drain(ctx context.Context) error {
	p.settle(ctx)
	p.phase.Advance(run.PhaseDraining, p.deadline(ctx))
	p.runner.Wake()
	select {
	case <-p.ended:
	case <-ctx.Done():
		stop, cancel := context.WithTimeout(context.Background(), stopGrace)
		defer cancel()
		if !p.end(stop, run.PhaseStopping) {
			return p.hangs("drain", context.Cause(ctx))
		}
	}
	return p.unfinished("drain", p.cause(ctx))
}

// settleMost bounds how long a drain waits for its shards to handle earlier events.
const settleMost = 10 * time.Second

// settle waits until the shards have handled the events that were sent before, so that a drain knows
// which readers have released their sockets. If they take too long, the drain goes on without that.
func (p *Pipeline[R, Q]) settle(ctx context.Context) {
	most := settleMost
	if at, ok := ctx.Deadline(); ok {
		most = min(most, time.Until(at)/3)
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	settled := make(chan struct{}, len(p.shards))
	for i := range p.shards {
		ev := shard.Event{Kind: shard.EventSettle, FD: int32(i), Ack: func(error) { settled <- struct{}{} }}
		for wait := time.Microsecond; !p.mail.events.TrySend(ev); wait = min(2*wait, time.Millisecond) {
			if p.mail.events.Closed() || ctx.Err() != nil {
				return
			}
			time.Sleep(wait)
		}
	}
	for range p.shards {
		select {
		case <-settled:
		case <-p.ended:
			return
		case <-ctx.Done():
			return
		}
	}
}

// Stop ends the pipeline now: what was released is sent once more, as far as the sockets accept it;
// the rest is dropped and counted. ctx bounds how long readers and the kernel may take to release
// their sockets: until its deadline or its cancellation; without a deadline one second. If some have
// not released them by then, the error is a *DrainError that names their connections.
func (p *Pipeline[R, Q]) Stop(ctx context.Context) error {
	return p.endNow(ctx, "stop", run.PhaseStopping)
}

// Fence ends the pipeline without sending another byte, not even what is buffered (R15), because
// another node has taken over. Its context and error are those of Stop.
func (p *Pipeline[R, Q]) Fence(ctx context.Context) error {
	return p.endNow(ctx, "fence", run.PhaseFenced)
}

func (p *Pipeline[R, Q]) endNow(ctx context.Context, op string, state uint32) error {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, stopGrace)
		defer cancel()
	}
	if !p.end(ctx, state) {
		return p.hangs(op, context.Cause(ctx))
	}
	return p.unfinished(op, p.cause(ctx))
}

// end returns true when the pipeline has ended, by force at the deadline of ctx, and false if it has
// not soon after that.
func (p *Pipeline[R, Q]) end(ctx context.Context, state uint32) bool {
	p.phase.Advance(state, p.deadline(ctx))
	p.runner.Wake()
	select {
	case <-p.ended:
		return true
	case <-ctx.Done():
	}
	p.phase.Advance(state, p.Now()) // the deadline has come, or ctx was cancelled before it
	p.runner.Wake()
	grace := time.NewTimer(stopGrace)
	defer grace.Stop()
	select {
	case <-p.ended:
		return true
	case <-grace.C:
		return false
	}
}

// hangs is the error of an end while an actor does not return, for example because its encoder
// hangs.
func (p *Pipeline[R, Q]) hangs(op string, cause error) error {
	return &DrainError{Op: op, Cause: cause, Running: p.runner.Running()}
}

// deadline converts the deadline of ctx to the pipeline's clock, on which it is never earlier; 0 means no
// deadline.
func (p *Pipeline[R, Q]) deadline(ctx context.Context) int64 {
	at, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	left := max(time.Until(at), time.Millisecond) // before Now
	return p.Now() + int64(left)
}

// failed is called when an actor has failed: nothing more is sent, and every actor ends.
func (p *Pipeline[R, Q]) failed(err error) {
	p.phase.Advance(run.PhaseFenced, p.Now())
	p.cfg.Log.Error("pipeline failed; nothing more is sent", "error", err)
	if p.cfg.OnFail != nil {
		p.cfg.OnFail(err)
	}
}

// tellLate reports the ends of connections that the control actor has not.
func (p *Pipeline[R, Q]) tellLate() {
	for _, e := range p.shards {
		for _, n := range e.Late() {
			if p.cfg.OnNotice != nil {
				p.cfg.OnNotice(noticeOf(&n))
			}
		}
	}
}

// finish runs after the last goroutine has ended: it answers the events that no shard took, and
// closes or keeps the sockets that outlived their shards.
func (p *Pipeline[R, Q]) finish(err error) {
	p.mail.events.Close()
	p.gate.slots.End() // again: a gate that panicked was not closed
	for _, q := range p.mail.queues {
		for b := q.Batch(shardEvents); len(b) > 0; b = q.Batch(shardEvents) {
			for i := range b {
				p.control.settle(&b[i])
			}
			q.Release(len(b))
		}
	}
	if p.control.holding {
		p.control.settle(&p.control.held)
	}
	p.control.settleAll(p.mail.inbox)
	p.tellLate()
	gone := map[uint64]bool{}
	for _, conn := range p.control.gone {
		gone[conn] = true
	}
	p.err = err
	p.sockets.mu.Lock()
	defer p.sockets.mu.Unlock()
	p.encoder.leftover()
	p.left = p.gate.leftover()
	for _, e := range p.shards {
		forced, behind := e.Behind()
		p.left.forced = p.left.forced || forced
		for i := range behind {
			p.left.waiting = append(p.left.waiting, Awaited(behind[i]))
		}
		for _, o := range e.Leftover() {
			if o.Free || gone[o.Conn] {
				p.closeSocket(o.Conn, o.FD)
			} else {
				p.sockets.orphans[o.Conn] = o.FD
			}
		}
	}
	p.policy.Close()
}
