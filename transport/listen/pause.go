//go:build linux

package listen

import (
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	// served are the events of a connection that is read.
	served = unix.EPOLLIN | unix.EPOLLRDHUP
	// unserved are those of a paused one. The kernel always reports EPOLLHUP and EPOLLERR; with
	// EPOLLET it does so once and not in every round.
	unserved = unix.EPOLLET

	resumesPerRun = 128      // paused connections tried again per round
	crowdedRead   = 16 << 10 // bytes read at once while connections are paused
)

// space is the part of the read buffer to read into, behind what was kept. While connections are
// paused, it is a small one, because another pause would keep what is in it.
func (r *reader) space(kept int) []byte {
	if r.paused.head != none {
		return r.buf[kept:min(len(r.buf), kept+crowdedRead)]
	}
	return r.buf[kept:]
}

// pause stops reading a connection until the handler has room for the first request of its
// leftover. Its deadline does not run meanwhile: whether its client is silent is not known.
func (r *reader) pause(slot int32, rec *record) {
	r.watch(slot, rec, unserved)
	rec.paused = true
	r.live.remove(&r.table, slot)
	r.paused.push(&r.table, slot)
	r.server.counters.pauses.Add(1)
	r.server.counters.paused.Add(1)
}

// resumePaused delivers what paused connections have sent, the first one first, and reads those
// again of which nothing is left. A connection for which there is no room keeps its turn.
func (r *reader) resumePaused(now int64) {
	for range resumesPerRun {
		slot := r.paused.head
		if slot == none {
			return
		}
		rec := r.table.at(slot)
		data := r.leftovers.get(rec.leftover) // over TLS it can be longer than the read buffer
		rest, busy, reason := r.requests(rec, data, now)
		if reason != 0 {
			r.end(slot, reason)
			continue
		}
		if !busy || len(rest) < len(data) {
			r.leftovers.drop(rec.leftover)
			rec.leftover = none
			if len(rest) > 0 {
				rec.leftover = r.leftovers.keep(rest)
			}
		}
		if busy {
			return
		}
		r.paused.remove(&r.table, slot)
		rec.paused, rec.since = false, now
		r.live.push(&r.table, slot)
		r.server.counters.paused.Add(-1)
		r.watch(slot, rec, served)
		if t := r.secured(slot); t != nil && t.closed {
			r.endClosed(slot, rec)
		}
	}
	r.resume.Store(true) // for the others, in the next round
}

// watch changes the events of a connection that is in epoll.
func (r *reader) watch(slot int32, rec *record, events uint32) {
	event := unix.EpollEvent{Events: events, Fd: slot, Pad: int32(rec.gen)}
	if err := unix.EpollCtl(r.epfd, unix.EPOLL_CTL_MOD, int(rec.fd), &event); err != nil {
		panic(fmt.Sprintf("listen: changing the events of fd %d of connection %d: %v", rec.fd, rec.id, err))
	}
}
