package node

import (
	"fmt"
	"log/slog"
	"strconv"

	"sluice/actors"
	"sluice/actors/internal/linelimit"
	"sluice/transport"
	"sluice/transport/listen"
)

// audit writes to Config.Audit which clients came, which were refused, and which were closed. Lines that
// clients can cause as often as they like are limited by reason, so none hides another.
type audit struct {
	to      *slog.Logger
	refused [transport.NumReasons]linelimit.Limiter
	closed  [transport.NumReasons]linelimit.Limiter
}

// flush writes the numbers of lines that were left out and have not been counted in another line.
func (a *audit) flush() {
	if a.to == nil {
		return
	}
	for i := range a.refused {
		to := a.to.With("reason", transport.Reason(i).String())
		a.refused[i].Flush(to)
		a.closed[i].Flush(to)
	}
}

func (n *Node[R, Q]) auditLogin(c listen.Conn) {
	if n.cfg.Audit != nil {
		n.audit.to.Info("login", n.identified(peerOf(c))...)
	}
}

// auditRefused reports a client that was never served. One that left by itself, or came at the end, was not
// refused.
func (n *Node[R, Q]) auditRefused(c listen.Conn, reason transport.Reason) {
	switch reason {
	case transport.ReasonHandshakeLost, transport.ReasonShutdown, transport.ReasonNotLeader:
		return
	}
	who := peerOf(c)
	if c.Key == (listen.Fingerprint{}) {
		who.Role = 0 // of the endpoint, and not of the client
	}
	if n.cfg.Audit != nil {
		n.audit.refused[reason].Log(n.audit.to.With("reason", reason.String()), slog.LevelInfo, "login refused",
			n.identified(who)...)
	}
}

// auditBroken reports a client that broke the protocol, by the reason of the listener.
func (n *Node[R, Q]) auditBroken(c listen.Conn, reason transport.Reason) {
	if reason.Closing() == transport.ReasonProtocolError {
		n.auditClosed(peerOf(c), reason, "")
	}
}

// auditNotice reports a connection that this side has closed.
func (n *Node[R, Q]) auditNotice(c Client, note actors.ConnNotice) {
	switch note.Reason {
	case transport.ReasonPeerClosed, transport.ReasonPeerReset, transport.ReasonShutdown, transport.ReasonFenced,
		transport.ReasonProtocolError: // reported by auditBroken, with its reason
		return
	}
	n.auditClosed(c, note.Reason, note.Error)
}

func (n *Node[R, Q]) auditClosed(c Client, reason transport.Reason, problem string) {
	if n.cfg.Audit == nil {
		return
	}
	about := n.identified(c)
	if problem != "" {
		about = append(about, "error", problem)
	}
	n.audit.closed[reason].Log(n.audit.to.With("reason", reason.String()), slog.LevelInfo,
		"connection closed", about...)
}

// identified is who is at the other end of a connection.
func (n *Node[R, Q]) identified(c Client) (about []any) {
	add := func(name, value string) { about = append(about, name, value) }
	if c = n.named(c); c.Name != "" {
		add("name", c.Name)
	}
	if c.Key != (listen.Fingerprint{}) {
		add("key", c.Key.String())
	}
	if c.Role != 0 {
		add("role", c.Role.String())
	}
	add("from", c.from())
	add("listener", c.Listener)
	if c.ID != 0 {
		add("connection", strconv.FormatUint(c.ID, 10)) // text, because many programs round large numbers
	}
	return about
}

// peerOf is the client of a connection.
func peerOf(c listen.Conn) Client {
	return Client{ID: c.ID, Remote: c.Remote, UID: c.UID, Role: c.Role, Key: c.Key, Listener: c.Listener}
}

// from is the address of a client, or its user on this machine.
func (c *Client) from() string {
	if c.UID != listen.NoUID {
		return fmt.Sprintf("user id %d", c.UID)
	}
	return c.Remote.String()
}
