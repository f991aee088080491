package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"sluice/actors"
	"sluice/actors/sequencer"
	"sluice/transport"
	"sluice/transport/listen"
	"sluice/transport/wire"
)

// handler is the Server as the listener's readers see it.
type handler Server

// Connect implements listen.Handler: it returns once a shard owns the socket.
func (h *handler) Connect(c listen.Conn) error {
	if c.ID>>connBits != h.recovery.Incarnation {
		return fmt.Errorf("server: connection ids of this run are used up; restart to get new ones")
	}
	class := uint8(max((*Server)(h).class(c.Listener), 0)) // the listener knows no other endpoints
	h.roster.add(c, class)
	err := h.pipeline.Connect(actors.Conn{ID: c.ID, FD: int(c.FD), Class: class})
	if err != nil {
		h.roster.drop(c.ID)
	}
	if err != nil && !errors.Is(err, actors.ErrEnded) {
		h.noisy.log(h.log, slog.LevelWarn, "a connection was refused", "connection", c.String(), "error", err)
	}
	return err
}

// Request implements listen.Handler. It waits while the queue is full, which the client feels as a full socket. The error,
// once the server ends, makes the reader let go of the connection; what was taken before is still answered.
func (h *handler) Request(c listen.Conn, r wire.Request) error {
	if r.Tag == wire.TagAdminCommand && h.commanded(c, r) {
		return nil
	}
	return h.queue.Put(&sequencer.Request{Conn: c.ID, Seq: r.Seq, Role: uint8(c.Role), Tag: r.Tag, Body: r.Body, Trace: r.Trace}, h.pipeline.Now())
}

// Shed implements listen.Handler: the client is told between two answers.
func (h *handler) Shed(c listen.Conn, n int) { _ = h.pipeline.Busy(c.ID, n) } // an error says that everything ends

// Disconnect implements listen.Handler.
func (h *handler) Disconnect(c listen.Conn, requests uint64, cause listen.Cause) {
	if cause == listen.FrameTooLong || cause == listen.FrameMalformed {
		h.noisy.log(h.log, slog.LevelWarn, "a connection is closed because its framing is lost", "connection", c.String(), "cause", cause.String())
	}
	h.roster.unread(c.ID)
	h.pipeline.Disconnect(c.ID, requests, reason(cause))
}

// reason says what a cause means to the shard. Causes that come from this side closing down leave the connection to the end
// of the pipeline: what the client was told is accepted is still answered, as far as the deadline allows.
func reason(cause listen.Cause) transport.Reason {
	switch cause {
	case listen.PeerClosed:
		return transport.ReasonPeerClosed
	case listen.ServerClosed, listen.RequestFailed: // a request fails when the server ends
		return transport.ReasonShutdown
	case listen.PeerReset:
		return transport.ReasonPeerReset
	case listen.Idle:
		return transport.ReasonSilent
	case listen.FrameTooLong, listen.FrameMalformed:
		return transport.ReasonProtocolError
	}
	return transport.ReasonOther // LocalShutdown: the shard has its own reason already, and keeps it
}

// refused returns the listener's observer: a client that never got in is worth a line, unless it left by itself, or Connect
// has written one, or the server ends.
func (s *Server) refused(next func(listen.Conn, listen.Cause)) func(listen.Conn, listen.Cause) {
	return func(c listen.Conn, cause listen.Cause) {
		switch cause {
		case listen.HandshakeLost, listen.ConnectFailed, listen.ServerClosed:
		default:
			from := c.Remote.String()
			if c.UID != listen.NoUID {
				from = fmt.Sprintf("user id %d", c.UID)
			}
			s.atDoor.log(s.log, slog.LevelWarn, "a client was not let in", "from", from, "listener", c.Listener, "reason", label(cause), "reason_number", uint8(cause))
		}
		if next != nil {
			next(c, cause)
		}
	}
}

// label is a cause as metrics and the log name it.
func label(c listen.Cause) string { return strings.ReplaceAll(c.String(), " ", "_") }

// notice returns the pipeline's observer: connections that this side ended are worth a line, and so is a client that becomes
// slow or recovers. Slow clients have a limit of lines of their own, or a crowd of them would leave the ends out.
func (s *Server) notice(next func(actors.Notice)) func(actors.Notice) {
	return func(n actors.Notice) {
		switch n.Kind {
		case actors.NoticeClosed:
			s.roster.finish(n, time.Now(), s.endpoint)
			s.logClosed(n)
		case actors.NoticeSlow:
			s.sluggish.log(s.log, slog.LevelWarn, "a client is slow", figures(n)...)
		case actors.NoticeRecovered:
			s.sluggish.log(s.log, slog.LevelInfo, "a slow client has recovered", figures(n)...)
		}
		if next != nil {
			next(n)
		}
	}
}

func (s *Server) logClosed(n actors.Notice) {
	switch n.Reason {
	case transport.ReasonPeerClosed, transport.ReasonPeerReset, transport.ReasonShutdown, transport.ReasonFenced,
		transport.ReasonProtocolError: // logged by Disconnect, with the address
		return
	}
	s.noisy.log(s.log, slog.LevelWarn, "a connection is closed", append(figures(n), "reason", n.Reason.String(), "reason_number", uint8(n.Reason))...)
}

// figures are what a line says about a connection.
func figures(n actors.Notice) []any {
	return []any{"connection", n.Conn, "unsent_bytes", n.Unsent, "unsent_answers", n.Answers, "blocked", n.Blocked, "age", n.Age}
}

// quiet lets ten lines a second through and says how many it left out. Any goroutine.
type quiet struct {
	mu      sync.Mutex // guards all below
	second  int64
	lines   int
	skipped int
}

const linesPerSecond = 10

func (q *quiet) log(to *slog.Logger, level slog.Level, text string, attrs ...any) {
	q.mu.Lock()
	now := time.Now().Unix()
	if now != q.second {
		q.second, q.lines = now, 0
	}
	q.lines++
	if q.lines > linesPerSecond {
		q.skipped++
		q.mu.Unlock()
		return
	}
	if q.skipped > 0 {
		attrs = append(attrs, "left_out", q.skipped)
		q.skipped = 0
	}
	q.mu.Unlock()
	to.Log(context.Background(), level, text, attrs...)
}
