package node

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"sluice/transport/listen"
	"sluice/transport/wire"
)

// Command carries out an operator's command that came over a client connection, docs/wire.md, and
// returns the body of the frame that answers it. then, if not nil, is called after that was handed
// to the client's shard.
type Command func(ctx context.Context, operator string, body []byte) (answer []byte, then func())

const (
	commandsMax  = 4        // operators' commands carried out at the same time; more are shed
	commandBytes = 64 << 10 // largest answer to one
)

// operators is what operators change while the node runs. Any goroutine.
type operators struct {
	command atomic.Pointer[Command] // written by SetCommand, read by readers
	places  chan struct{}           // a token for each command being carried out

	mu      sync.Mutex // guards changes, and orders reloads
	changes Changes    // in force
}

func newOperators() operators { return operators{places: make(chan struct{}, commandsMax)} }

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

// SetCommand sets what carries out operators' commands; nil refuses them as unknown requests, which
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
	if command == nil || !operator(c) {
		return false
	}
	select {
	case h.operators.places <- struct{}{}:
	default:
		return false
	}
	body := append([]byte(nil), r.Body...) // the reader's buffer is valid during the call only
	go func() {
		defer func() { <-h.operators.places }()
		answer, then := (*command)(h.ending.hurried, c.String(), body)
		frame := wire.AppendAdminAnswer(nil, r.Seq, answer)
		if most := min(commandBytes, h.operators.leastHard()); len(frame) > most {
			frame = wire.AppendAdminAnswer(nil, r.Seq, fmt.Appendf(nil,
				`{"status":413,"error":"the answer has %d bytes, more than %d: ask for fewer " +
					"entries"}`, len(frame), most))
		}
		_ = h.pipeline.Answer(c.ID, frame) // fails if the operator is gone; the command stands
		if then != nil {
			then()
		}
	}()
	return true
}
