package durability

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// ErrSwitchClosed is returned by Swap once the gate has ended: no policy can be adopted any more.
var ErrSwitchClosed = errors.New("durability: the gate has ended, no policy can be adopted any more")

// Switch carries the policy from the operator to the gate at run time. The operator's Swap returns
// only after the gate adopted the policy, because until then slots may still be released under the
// old one:
//
//	operator                      gate
//	Swap stores the new policy
//	calls the waker               evaluates the old policy, releases
//	waits                         Adopt: from here on the new policy only
//	Swap returns nil
//
// Swaps are carried out one after the other, and each is acknowledged separately. The last one that
// returned nil is in force, unless a Swap whose context ended followed it; see Swap.
type Switch struct {
	waker atomicWaker
	turn  chan struct{} // holds one token; only the Swap that has it stores wanted
	ended chan struct{} // closed by Close
	close sync.Once

	wanted  atomic.Pointer[swapRequest] // written by the Swap that has the turn, read by Adopt and Pending
	adopted atomic.Pointer[swapRequest] // written by Adopt, read by Current, Pending and Adopt
}

// swapRequest is one policy on its way to the gate. It does not change after it is stored.
type swapRequest struct {
	policy Policy
	done   chan struct{} // closed by Adopt
}

// NewSwitch returns a switch with p in force. The zero Policy panics.
func NewSwitch(p Policy) *Switch {
	if p.Len() == 0 {
		panic("durability: NewSwitch with the zero Policy; make one with NewPolicy or Parse")
	}
	s := &Switch{turn: make(chan struct{}, 1), ended: make(chan struct{})}
	first := &swapRequest{policy: p}
	s.wanted.Store(first)
	s.adopted.Store(first)
	return s
}

// SetWaker sets the waker that a Swap calls to wake a waiting gate. Any goroutine; nil for none.
func (s *Switch) SetWaker(w Waker) { s.waker.set(w) }

// Swap puts a policy in force and returns nil once the gate adopted it: no slot is released under
// an earlier policy after that. Any goroutine may call it; concurrent calls take turns. If ctx ends
// first, the error wraps its cause. A call that was still waiting for its turn has then changed
// nothing. A policy that was already handed over is not taken back, and the gate adopts it when it
// runs again. The error says which of the two happened. Once the gate has ended, the error is
// ErrSwitchClosed. Give ctx a deadline: a gate that does not step adopts nothing.
func (s *Switch) Swap(ctx context.Context, p Policy) error {
	if p.Len() == 0 {
		return errors.New("durability: swap to a policy without a clause; make one with " +
			"NewPolicy or Parse")
	}
	select {
	case <-s.ended: // checked first, because a select picks any of several ready cases
		return ErrSwitchClosed
	default:
	}
	select {
	case s.turn <- struct{}{}:
	case <-s.ended:
		return ErrSwitchClosed
	case <-ctx.Done():
		return fmt.Errorf("durability: swap to %q gave up behind an earlier swap, nothing changed: %w",
			p, context.Cause(ctx))
	}
	defer func() { <-s.turn }()
	if ctx.Err() != nil { // A select with several ready cases picks any.
		return fmt.Errorf("durability: swap to %q not begun, nothing changed: %w", p,
			context.Cause(ctx))
	}
	request := &swapRequest{policy: p, done: make(chan struct{})}
	s.wanted.Store(request)
	s.waker.wake()
	var failed error
	select {
	case <-request.done:
		return nil
	case <-s.ended:
		failed = ErrSwitchClosed
	case <-ctx.Done():
		failed = fmt.Errorf("durability: swap to %q not acknowledged, the gate adopts it when it steps: %w",
			p, context.Cause(ctx))
	}
	select {
	case <-request.done:
		return nil // Adopted after all.
	default:
		return failed
	}
}

// Adopt returns the policy to evaluate from now on and acknowledges its Swap. changed means that a
// swap happened, even if to an equal policy: results under the old policy (a cached position, the
// highest position proven) are no longer valid. Only the gate's goroutine calls it, at the start of
// each step, when everything released under the old policy has been handed on. Without a swap it
// costs two atomic loads.
func (s *Switch) Adopt() (p Policy, changed bool) {
	wanted := s.wanted.Load()
	if wanted == s.adopted.Load() {
		return wanted.policy, false
	}
	s.adopted.Store(wanted)
	close(wanted.done)
	return wanted.policy, true
}

// Current returns the policy in force, the one the gate adopted last. Any goroutine.
func (s *Switch) Current() Policy { return s.adopted.Load().policy }

// Pending returns the policy that was handed over and is not adopted yet, if there is one. Any
// goroutine.
func (s *Switch) Pending() (p Policy, ok bool) {
	adopted := s.adopted.Load()
	if wanted := s.wanted.Load(); wanted != adopted {
		return wanted.policy, true
	}
	return Policy{}, false
}

// Close ends the switch: waiting and later swaps return ErrSwitchClosed. The gate calls it when it
// ends, any number of times.
func (s *Switch) Close() { s.close.Do(func() { close(s.ended) }) }
