package node

import (
	"context"
	"errors"
	"fmt"
	"os"

	"sluice/actors"
	"sluice/durability"
	"sluice/transport"
	"sluice/transport/listen"
	"sluice/transport/wire"
)

// ErrNoConnection is wrapped by Kick's error when no connection of that number is open.
var ErrNoConnection = errors.New("no such connection")

// ErrRefused is wrapped by SwapPolicy's error when the policy could never be met.
var ErrRefused = errors.New("refused")

// ErrUntraced is wrapped by Trace's error when nobody would get the traces.
var ErrUntraced = errors.New("traces are not exported")

// Kick ends a connection.
func (s *Server) Kick(conn uint64) error {
	if _, ok := s.roster.who(conn, s.endpoint); !ok {
		return fmt.Errorf("server: kick %d: %w; it may have ended already", conn, ErrNoConnection)
	}
	return s.pipeline.Kick(conn, transport.ReasonKicked)
}

// Trace has the next n responses to a connection traced, instead of those to the one that was named before; n = 0 ends that.
// On an error nothing has changed.
func (s *Server) Trace(conn uint64, n int) error {
	if _, ok := s.roster.who(conn, s.endpoint); !ok {
		return fmt.Errorf("server: trace %d: %w; it may have ended already", conn, ErrNoConnection)
	}
	sampler := s.pipeline.Sampler()
	if !sampler.Load().Exported {
		return fmt.Errorf("server: trace %d: %w; start the server with OTEL_TRACES_EXPORTER=otlp or console", conn, ErrUntraced)
	}
	sampler.Follow(conn, int64(n))
	return nil
}

// SwapPolicy puts a durability policy, a name or clauses, in force, and returns once the gate adopted it: no answer leaves
// under the old one after that. One that this node cannot meet is refused unless forced (R7).
func (s *Server) SwapPolicy(ctx context.Context, text string, force bool) (old, now durability.Policy, err error) {
	old = s.pipeline.Policy().Current()
	p, err := durability.Parse(text, s.cfg.Nodes)
	if err != nil {
		return old, old, fmt.Errorf("server: %w: %w", ErrRefused, err)
	}
	if !force {
		if err := judge(p, s.cursors); err != nil {
			return old, old, err
		}
	}
	if err := s.pipeline.Policy().Swap(ctx, p); err != nil {
		return old, s.pipeline.Policy().Current(), err
	}
	return old, p, nil
}

// judge refuses a policy that this node cannot meet now, or of which that cannot be told.
func judge(p durability.Policy, cursors durability.Source) error {
	var v durability.View
	if !cursors.Snapshot(&v) {
		return fmt.Errorf("server: policy %q %w for now: the cursors move too fast to be judged; ask again, or force it", p, ErrRefused)
	}
	if err := p.MetBy(v.Len); err != nil {
		return fmt.Errorf("server: policy %q %w: %w; nothing would be answered; force it if that is meant", p, ErrRefused, err)
	}
	return nil
}

// View takes a snapshot of the durability cursors; false when they moved too fast, then ask again.
func (s *Server) View(v *durability.View) bool { return s.cursors.Snapshot(v) }

// Top lists the first n connections in an order, with the figures of their shards, and says how many are open.
func (s *Server) Top(ctx context.Context, by actors.Order, n int) (top []actors.Figures, open int, err error) {
	return s.pipeline.Top(ctx, by, n)
}

// Client says who is at the other end of an open connection.
func (s *Server) Client(id uint64) (Client, bool) { return s.roster.who(id, s.endpoint) }

// LastClosed returns the connections that ended last, at most 1024 and the latest first, and how many ended in all.
func (s *Server) LastClosed(n int) (some []Closed, ended uint64) { return s.roster.last(n) }

// endpoint names a limits class: there is one for each endpoint.
func (s *Server) endpoint(class uint8) string {
	e := s.cfg.Listen.Endpoints[class]
	if e.Name != "" {
		return e.Name
	}
	return e.Network + " " + e.Address
}

// classes are the limits of each endpoint, in their order: those of its name, else the common ones.
func (s *Server) classes(common transport.Limits, by map[string]transport.Limits) ([]transport.Limits, error) {
	all := make([]transport.Limits, len(s.cfg.Listen.Endpoints))
	named := 0
	for i := range all {
		l, ok := by[s.endpoint(uint8(i))]
		if all[i] = common; ok {
			all[i] = l
			named++
		}
	}
	if named < len(by) {
		for name := range by {
			if s.class(name) < 0 {
				return nil, fmt.Errorf("server: limits for %q, which is no endpoint; the first one is %q", name, s.endpoint(0))
			}
		}
	}
	return all, nil
}

// class is the limits class of an endpoint's name, -1 if there is none.
func (s *Server) class(name string) int {
	for i := range s.cfg.Listen.Endpoints {
		if s.endpoint(uint8(i)) == name {
			return i
		}
	}
	return -1
}

// Changes are the parts of a configuration that may change while the server runs. All of them are given each time.
type Changes struct {
	Limits         transport.Limits            // of endpoints that are not named below
	EndpointLimits map[string]transport.Limits // by Endpoint.Name
	RequestRate    listen.Rate
	ConnectRate    listen.Rate
}

// Reload puts changes in force, and the keys file as it is now. Clients that are connected stay, also those whose key is
// gone: kick them. On an error nothing has changed.
func (s *Server) Reload(c Changes) error {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	classes, err := s.classes(c.Limits, c.EndpointLimits)
	if err != nil {
		return err
	}
	var keys *listen.Keyring
	if s.cfg.KeysFile != "" {
		if keys, err = listen.ReadKeys(s.cfg.KeysFile); err != nil {
			return err
		}
	}
	before := s.changes
	if err := s.listener.SetRates(c.RequestRate, c.ConnectRate); err != nil {
		return err
	}
	if err := s.pipeline.SetLimits(classes); err != nil {
		return errors.Join(err, s.listener.SetRates(before.RequestRate, before.ConnectRate))
	}
	if keys != nil {
		s.listener.SetKeys(keys)
	}
	s.changes = c
	return nil
}

// Command carries out an operator's command that came over a client connection, docs/wire.md, and returns the frame's body
// that answers it. then, if not nil, is called after that left for the client.
type Command func(ctx context.Context, who string, body []byte) (answer []byte, then func())

// SetCommand names who carries out operators' commands; nil refuses them as unknown requests, which is how a server begins.
func (s *Server) SetCommand(c Command) {
	if c == nil {
		s.command.Store(nil)
		return
	}
	s.command.Store(&c)
}

const (
	commandsMax  = 4        // operators' commands carried out at the same time; more are shed
	commandBytes = 64 << 10 // largest answer to one
)

// operator reports whether a connection may send commands: it has the role, and proved who it is by a key, or by the user
// id of a process on this machine.
func operator(c listen.Conn) bool {
	return c.Role == listen.Operator && (c.Key != listen.Fingerprint{} || c.UID == uint32(os.Geteuid()) || c.UID == 0)
}

// commanded takes an AdminCommand. The reader never waits for it; the answer comes through the shard, at a frame boundary.
// false hands the request on to the application, which refuses it in order.
func (h *handler) commanded(c listen.Conn, r wire.Request) bool {
	command := h.command.Load()
	if command == nil || !operator(c) {
		return false
	}
	select {
	case h.commands <- struct{}{}:
	default:
		return false
	}
	body := append([]byte(nil), r.Body...) // the reader's buffer is valid during the call only
	go func() {
		defer func() { <-h.commands }()
		answer, then := (*command)(h.hurried, c.String(), body)
		frame := wire.AppendAdminAnswer(nil, r.Seq, answer)
		if most := min(commandBytes, (*Server)(h).leastHard()); len(frame) > most {
			frame = wire.AppendAdminAnswer(nil, r.Seq, fmt.Appendf(nil,
				`{"status":413,"error":"the answer has %d bytes, more than %d: ask for fewer entries"}`, len(frame), most))
		}
		_ = h.pipeline.Answer(c.ID, frame) // an error says that the operator is gone; the command stands
		if then != nil {
			then()
		}
	}()
	return true
}

// leastHard is the smallest hard limit of all endpoints.
func (s *Server) leastHard() int {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	least := s.changes.Limits.HardBytes
	for _, l := range s.changes.EndpointLimits {
		least = min(least, l.HardBytes)
	}
	return least
}

// limits makes a limits class for each endpoint, before anything starts.
func (s *Server) limits() error {
	common := transport.DefaultLimits()
	switch n := len(s.cfg.Pipeline.Limits); {
	case n > 1:
		return fmt.Errorf("server: Pipeline.Limits has %d classes; there is one for each endpoint, see EndpointLimits", n)
	case n == 1:
		common = s.cfg.Pipeline.Limits[0]
	}
	if n := len(s.cfg.Listen.Endpoints); n > 255 {
		return fmt.Errorf("server: %d endpoints; at most 255", n)
	}
	s.changes = Changes{
		Limits: common, EndpointLimits: s.cfg.EndpointLimits, RequestRate: s.cfg.Listen.RequestRate, ConnectRate: s.cfg.Listen.ConnectRate,
	}
	classes, err := s.classes(common, s.cfg.EndpointLimits)
	if len(classes) > 0 {
		s.cfg.Pipeline.Limits = classes
	}
	return err
}
