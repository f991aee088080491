package node

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"sluice/transport/listen"
	"sluice/transport/wire"
)

// Command carries out an operator's command that came over a client connection (docs/wire.md), and
// returns the body of the frame that answers it. then, if not nil, is called after the answer was
// handed to the client's shard. The end of the node waits for both, so neither may wait for the end
// of the node: ctx ends when the node must end. A panic is answered with status 500.
type Command func(ctx context.Context, operator string, body []byte) (answer []byte, then func())

const (
	commandsMax    = 4               // commands of a connection that are under way; more are rejected
	commandsAll    = 64              // of all connections
	commandBytes   = 64 << 10        // largest answer to one
	commandTimeout = 5 * time.Second // for commands under way when the node ends
)

// operators is what operators change while the node runs. Any goroutine.
type operators struct {
	command atomic.Pointer[Command] // written by SetCommand, read by readers
	places  commandPlaces

	reloading sync.Mutex // orders reloads; held while files are read
	mu        sync.Mutex // guards changes; never held for long
	changes   Changes    // in force
}

func newOperators() operators {
	return operators{places: commandPlaces{
		under: make(map[uint64]int), idle: make(chan struct{}),
	}}
}

// commandPlaces are the places of commands. Each connection has its own, so that no operator takes
// those of another. Any goroutine.
type commandPlaces struct {
	mu    sync.Mutex     // guards all below
	under map[uint64]int // commands under way, by connection
	work  int            // goroutines of commands, including those that send their answer
	over  bool           // the end has begun; commands are rejected
	idle  chan struct{}  // closed when over is set and work is 0
}

// take takes a place for a command of a connection, and reports whether there was one.
func (p *commandPlaces) take(conn uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over || p.under[conn] == commandsMax || p.work == commandsAll {
		return false
	}
	p.under[conn]++
	p.work++
	return true
}

// free frees the place of a command, before its answer is sent: a client that has the answer can send
// another command.
func (p *commandPlaces) free(conn uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.under[conn]--; p.under[conn] == 0 {
		delete(p.under, conn)
	}
}

// done ends the work for a command.
func (p *commandPlaces) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.work--; p.work == 0 && p.over {
		close(p.idle)
	}
}

// end rejects later commands. The result is closed when no command is left.
func (p *commandPlaces) end() (idle <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over {
		p.over = true
		if p.work == 0 {
			close(p.idle)
		}
	}
	return p.idle
}

// leastHard is the smallest hard limit of all endpoints.
func (o *operators) leastHard() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	least := o.changes.Limits.HardBytes
	for _, l := range o.changes.EndpointLimits {
		least = min(least, l.HardBytes)
	}
	return least
}

// SetCommand sets what carries out operators' commands; nil refuses them as not available, which
// is how a node begins.
func (n *Node[R, Q]) SetCommand(c Command) {
	if c == nil {
		n.operators.command.Store(nil)
		return
	}
	n.operators.command.Store(&c)
}

// operator reports whether a connection may send commands: it has the role, and proved its identity
// by a key, or by the user id of a process on this machine.
func operator(c listen.Conn) bool {
	return c.Role == listen.Operator &&
		(c.Key != listen.Fingerprint{} || c.UID == uint32(os.Geteuid()) || c.UID == 0)
}

// commanded takes an AdminCommand. The reader never waits for it; the answer comes through the
// shard, at a frame boundary. false hands the request on to the application, which refuses it in
// order.
func (h *handler[R, Q]) commanded(c listen.Conn, r wire.Request) bool {
	command := h.operators.command.Load()
	if command == nil || !operator(c) || !h.identities.permits(c.Key, c.Role) {
		return false
	}
	if !h.operators.places.take(c.ID) {
		return false
	}
	body := append([]byte(nil), r.Body...) // the reader's buffer is valid during the call only
	go func() {
		defer h.operators.places.done()
		h.carryOut(*command, c, r.Seq, body)
	}()
	return true
}

// carryOut runs a command and answers it.
func (h *handler[R, Q]) carryOut(command Command, c listen.Conn, seq uint64, body []byte) {
	var answer []byte
	var then func()
	from := c.String()
	if name := (*Node[R, Q])(h).named(peerOf(c)).Name; name != "" {
		from = name + ", " + from
	}
	if !h.guard(c, func() { answer, then = command(h.ending.hurried, from, body) }) {
		answer = []byte(`{"status":500,"error":"the command failed in the server; see its log"}`)
	}
	frame := wire.AppendAdminResponse(nil, seq, answer)
	if most := min(commandBytes, h.operators.leastHard()); len(frame) > most {
		frame = wire.AppendAdminResponse(nil, seq, fmt.Appendf(nil,
			`{"status":413,"error":"the answer has %d bytes, more than %d; request fewer entries"}`,
			len(frame), most))
	}
	h.operators.places.free(c.ID)
	_ = h.pipeline.Respond(c.ID, frame) // fails if the operator is gone; the command stands
	if then != nil {
		h.guard(c, then)
	}
}

// guard calls f and reports whether it returned. A panic is logged.
func (h *handler[R, Q]) guard(c listen.Conn, f func()) (returned bool) {
	defer func() {
		if v := recover(); v != nil {
			h.log.Error("operator command panicked", "connection", c.String(), "panic", v,
				"stack", string(debug.Stack()))
		}
	}()
	f()
	return true
}

// join waits until no command is carried out, and has later ones rejected. It returns an error if
// ctx or commandTimeout ends first.
func (o *operators) join(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	idle := o.places.end()
	select {
	case <-idle:
		return nil
	default:
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("node: an operator's command has not returned in time: %w", ctx.Err())
	}
}
