package node

import (
	"errors"
	"log/slog"
	"time"

	"sluice/actors"
	"sluice/actors/sequencer"
	"sluice/transport"
	"sluice/transport/listen"
	"sluice/transport/wire"
)

// handler is the Node as the listener's readers use it.
type handler[R, Q any] Node[R, Q]

// reserve admits a connection before its client is told so, or rejects it. The sequencer takes notice
// of it before any of its requests. The permit of the pipeline is only looked at here; Connect takes it.
func (h *handler[R, Q]) reserve(c listen.Conn) transport.Reason {
	most := h.cfg.Pipeline.MaxConnections
	if !operator(c) {
		most -= operatorPlaces(most)
	}
	if h.pipeline.Connections() >= most {
		return transport.ReasonConnectionLimit
	}
	if !h.clients.take(c.Key, h.identities.connections(c.Key)) {
		return transport.ReasonKeyLimit
	}
	err := error(nil)
	if c.ID>>IDBits != h.base>>IDBits {
		err = errors.New("node: connection ids of this run are used up; restart to get new ones")
	}
	if err == nil {
		err = h.identities.enter(c.Key, h.queue.Introduce)
	}
	if err == nil && h.observed() {
		err = h.queue.Connected(c.ID, h.identity(c))
	}
	if err != nil {
		h.clients.give(c.Key)
		h.logRejected(c, err)
		return transport.ReasonConnectionLimit
	}
	return 0
}

// operatorPlaces is how many of the places for connections only operators take.
func operatorPlaces(most int) int { return min(most/64, 8) }

// unreserve undoes reserve for a connection that Connect did not accept.
func (h *handler[R, Q]) unreserve(c listen.Conn) {
	h.clients.give(c.Key)
	h.release(c)
}

// release has the sequencer take notice of the end of a connection that reserve admitted: after its
// last request, or because Connect did not accept it.
func (h *handler[R, Q]) release(c listen.Conn) {
	if h.observed() {
		h.queue.Disconnected(c.ID, h.identity(c))
	}
}

// observed reports whether the application observes connections.
func (h *handler[R, Q]) observed() bool {
	_, ok := h.app.(sequencer.ConnectionObserver[R, Q])
	return ok
}

// Connect implements listen.Handler: it returns once a shard owns the socket.
func (h *handler[R, Q]) Connect(c listen.Conn) error {
	class := uint8(max((*Node[R, Q])(h).class(c.Listener), 0)) // the listener knows no other endpoints
	h.clients.add(c, class)
	pc := actors.Conn{ID: c.ID, FD: int(c.FD), Class: class, Heartbeat: c.Heartbeat}
	if c.Secure != nil {
		pc.Sealer = c.Secure
	}
	err := h.pipeline.Connect(pc)
	if err != nil {
		h.clients.drop(c.ID)
		h.logRejected(c, err)
		return err
	}
	(*Node[R, Q])(h).auditLogin(c)
	if !h.identities.permits(c.Key, c.Role) {
		(*Node[R, Q])(h).close(c.ID) // the keys have changed since the handshake; the sweep may have missed it
	}
	return nil
}

// logRejected writes a line, unless the node ends.
func (h *handler[R, Q]) logRejected(c listen.Conn, err error) {
	if !errors.Is(err, actors.ErrEnded) && !errors.Is(err, sequencer.ErrClosed) {
		h.lines.ends.Log(h.log, slog.LevelWarn, "connection rejected", "connection", c.String(),
			"error", err)
	}
}

// Request implements listen.Handler. While the queue is full, the connection is paused, which the
// client feels as a full socket; commands of operators do not pass the queue. The error, once the node
// ends, makes the reader release the connection; what was taken before is still answered.
func (h *handler[R, Q]) Request(c listen.Conn, r wire.Request) error {
	if r.Tag == wire.TagAdminCommand && h.commanded(c, r) {
		return nil
	}
	ok, err := h.queue.TryPut(&sequencer.Event{Conn: c.ID, Request: r.Seq, Tag: r.Tag, Body: r.Body,
		Identity: h.identity(c)}, r.Trace, h.pipeline.Now())
	if !ok && err == nil {
		return listen.ErrBusy
	}
	return err
}

// Shed implements listen.Handler: the client gets ServerBusy between two frames.
func (h *handler[R, Q]) Shed(c listen.Conn, requests []uint64) { _ = h.pipeline.Busy(c.ID, requests) } // fails only while the node ends

// Disconnect implements listen.Handler.
func (h *handler[R, Q]) Disconnect(c listen.Conn, requests uint64, reason transport.Reason) {
	if reason.Closing() == transport.ReasonProtocolError {
		line := "connection closed; its framing is lost"
		if reason == transport.ReasonTooManyHeartbeats {
			line = "connection closed; it floods the server with heartbeats"
		}
		h.lines.ends.Log(h.log, slog.LevelWarn, line, "connection", c.String(), "reason", reason.String())
	}
	(*Node[R, Q])(h).auditBroken(c, reason)
	h.clients.unread(c.ID)
	h.release(c)
	h.pipeline.Disconnect(c.ID, requests, endReason(reason, !h.ending.ready.Load()))
}

// endReason is the reason that the shard gets. A request that fails while the node ends leaves its
// connection to the end of the pipeline: requests that were accepted are still answered, as far as
// the deadline allows. A request that fails at any other time ends its connection.
func endReason(reason transport.Reason, ending bool) transport.Reason {
	if reason == transport.ReasonRequestFailed && ending {
		return transport.ReasonShutdown
	}
	return reason
}

// refused returns the listener's observer. It logs each client that was never served, unless the
// client left by itself, Connect has logged it already, or the node ends.
func (n *Node[R, Q]) refused(next func(listen.Conn, transport.Reason)) func(listen.Conn, transport.Reason) {
	return func(c listen.Conn, reason transport.Reason) {
		switch reason {
		case transport.ReasonHandshakeLost, transport.ReasonConnectFailed, transport.ReasonShutdown,
			transport.ReasonNotLeader:
		default:
			who := peerOf(c)
			about := []any{"from", who.from(), "listener", c.Listener, "reason", reason.String(),
				"reason_number", uint8(reason)}
			if c.Secure != nil && c.Secure.Err() != nil {
				about = append(about, "error", c.Secure.Err())
			}
			n.lines.rejected.Log(n.log, slog.LevelWarn, "client rejected", about...)
		}
		n.auditRefused(c, reason)
		if next != nil {
			next(c, reason)
		}
	}
}

// exhausted returns the listener's observer of pauses.
func (n *Node[R, Q]) exhausted(next func(string, error)) func(string, error) {
	return func(endpoint string, cause error) {
		n.lines.short.Log(n.log, slog.LevelWarn, "accepting paused; new clients wait in the backlog until "+
			"descriptors or memory are free; if this lasts, raise LimitNOFILE (ulimit -n)",
			"listener", endpoint, "error", cause)
		if next != nil {
			next(endpoint, cause)
		}
	}
}

// notice returns the pipeline's observer. It logs connections that this side ended, and clients
// that become slow or recover.
func (n *Node[R, Q]) notice(next func(actors.ConnNotice)) func(actors.ConnNotice) {
	return func(note actors.ConnNotice) {
		switch note.Kind {
		case actors.NoticeClosed:
			n.auditNotice(n.clients.finish(note, time.Now(), n.endpoint), note)
			n.logClosed(note)
		case actors.NoticeSlow:
			n.lines.slow.Log(n.log, slog.LevelWarn, "client is slow", figures(note)...)
		case actors.NoticeRecovered:
			n.lines.slow.Log(n.log, slog.LevelInfo, "slow client recovered", figures(note)...)
		}
		if next != nil {
			next(note)
		}
	}
}

func (n *Node[R, Q]) logClosed(note actors.ConnNotice) {
	switch note.Reason {
	case transport.ReasonPeerClosed, transport.ReasonPeerReset, transport.ReasonShutdown, transport.ReasonFenced,
		transport.ReasonProtocolError: // logged by Disconnect, with the address
		return
	}
	attrs := append(figures(note), "reason", note.Reason.String(), "reason_number", uint8(note.Reason))
	if note.Error != "" {
		attrs = append(attrs, "error", note.Error)
	}
	n.lines.ends.Log(n.log, slog.LevelWarn, "connection closed", attrs...)
}

// figures are the attributes of a line about a connection.
func figures(n actors.ConnNotice) []any {
	return []any{"connection", n.Conn, "unsent_bytes", n.Unsent, "unsent_responses", n.Responses,
		"blocked", n.Blocked, "age", n.Age}
}
