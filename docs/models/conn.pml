/* The life of a connection: its entry, generation, poll, sends, socket and permit, from Connect to
   release and to the next owner of the same id, descriptor and entry. transport/listen (the reader),
   actors.Pipeline, actors/internal/shard.Shard, transport.Conn, transport.Ring.

   The reader reads a socket and calls Disconnect last; the shard writes the socket and closes it
   after that. The shard's handlers run in any order, which is more than Shard.Step does, and each
   runs up to its next effect that others can see. The kernel is weak: a completion is reaped at any
   time after its request, and only a cancellation is certain to complete the poll of a peer that
   does not respond.

   Bounds: two connections, each accepted once, of one id (OTHERID: of two) and at most one request;
   MAX permits (2); one kick with KICKS. With STOP the pipeline is stopped at any moment with its
   deadline passed. 898,553 states as it stands, 4,223,671 with KICKS, the largest. The caller keeps
   its contract: it connects an id again only when the reader of the earlier owner has released it
   and all responses to that owner are published.

     holds: KICKS
     holds: OTHERID MAX=1
     holds: STOP
     holds: HUP NOCANCEL
     holds: NOGEN
     holds: STRAY
     mutant: STRAY NOGEN
     mutant: NOPOLLPIN
     mutant: KICKS NOSENDPIN
     mutant: NOSETTLEPIN
     mutant: CLOSEEARLY
     mutant: NOCANCEL
     mutant: KICKS NOSHUTDOWN
     mutant: KICKS NOSINCE
     mutant: KICKS NOCONTRACT
     mutant: PERMITTWICE
     mutant: PERMITEARLY
     mutant: NOFINISH
     mutant: NODUPLICATE
     mutant: STOP NOGONE
     mutant: STOP CLOSEALL

   HUP: shutdown(2) completes a poll, as Linux does, so the cancellation is a second way out.
   STRAY: the kernel delivers the completion of a poll once more, after the connection was released.
   NOGEN: complete does not check the generation; as long as the kernel completes once, the pins
   suffice.
   NOPOLLPIN, NOSENDPIN, NOSETTLEPIN: release does not wait for the poll, the send, the ledger entry
   (Conn.Idle).
   CLOSEEARLY: release does not wait for the reader.
   NOCANCEL: close does not cancel the poll.
   NOSHUTDOWN: close does not shut the socket down.
   NOSINCE: deliver takes responses that were published for an earlier owner of the id.
   NOCONTRACT: the caller connects an id again too early, and the new owner gets a response to the
   old one.
   PERMITTWICE: freeEntry returns two permits.
   PERMITEARLY: the permit is returned before the socket is closed.
   NOFINISH: a half-closed connection is not closed when its last response has left.
   NODUPLICATE: connect does not check whether the id is live.
   NOGONE: Pipeline.finish ignores Disconnects that no shard took.
   CLOSEALL: Pipeline.finish closes sockets whose reader has not released them.

   Properties: an operation on a descriptor finds the socket it was meant for, open (USE; I4, I13).
   A completion, a response, a ledger entry and a Disconnect find the connection to which they belong
   (I4). A socket has one send and one poll at a time (I3). The shards never own more than MAX
   sockets (R27). When no process can move any more, a socket is closed and its permit returned,
   unless it is open, healthy and still read, or waits for its id (Monitor; I8, I10, I12).
*/
#define C 2
#ifndef MAX
#define MAX 2
#endif

mtype = { CONNECT, DISCONNECT, KICK };
mtype = { OK, AGAIN, PIPE };

/* The kernel. */
byte sock[C];                   /* by descriptor: 1 + connection whose socket it is; 0 = closed */
bit shut[C], gone[C], hung[C];  /* of sockets: shut down by the shard, closed by the peer, peer no longer reads */
bit sendq[C], pollq[C];         /* requests queued, before Ring.Submit */
mtype sent[C];                  /* completion of a send; 0 = none */
bit armed[C], fired[C];         /* poll pending, its completion */

/* Connections: the content of requests and their user data. */
byte fd[C], id[C];
byte ent[C], gen[C];            /* Completion.User: entry and generation */
byte since[C];                  /* event.since */
bit half[C];                    /* event.reason is ReasonPeerClosed */
bit owed[C];                    /* event.owed */
byte ack[C];                    /* event.ack: 1 = nil, 2 = error */

/* The shard's table: transport.Conn by entry, and table.index by id. */
byte inst[C];                   /* 1 + connection, 0 = free */
byte tgen[C];
bit closing[C], polling[C], rgone[C], halfclosed[C], ended[C], unsent[C], sending[C];
bit wanted[C], cancel[C];       /* in outbox.polls; by connection, in outbox.cancels */
byte unsettled[C];              /* 1 + connection of the response in ledger.samples, 0 = none */
byte index[2];                  /* 1 + entry */

byte permits = 0;               /* Pipeline.permit */
byte published = 0;             /* Writer.Published of the slot ring */
chan events = [2 * C + 1] of { mtype, byte };   /* Pipeline.events, Control, the shard's events */
chan frames = [C] of { byte, byte };            /* connection, position: gate, encode, the shard's frames */

/* The end. */
bit stop = 0, over = 0;         /* phase with its deadline passed; Pipeline.events is closed */
bit finished = 0;               /* Pipeline.ended is closed */
byte orphan[C];                 /* ending.orphans, by connection: 1 = its reader has not released it, 2 = it has */
bit let[2];                     /* gone of Pipeline.finish, by id */
byte owner[2];                  /* Pipeline.orphans, by id: 1 + connection */

bit app[C];                     /* requests without a response of the application so far */
bit begun[C];                   /* the caller has connected it and its reader has not released it */
bit reading[C];                 /* for the checks only: the reader is in its loop */

#define USE(i) assert(sock[fd[i]] == i + 1)
#define OWNED(e) (inst[e] - 1)
#ifdef NOPOLLPIN
#define POLLIDLE(e) true
#else
#define POLLIDLE(e) (!polling[e])
#endif
#ifdef NOSENDPIN
#define SENDIDLE(e) true
#else
#define SENDIDLE(e) (!sending[e])
#endif
#ifdef NOSETTLEPIN
#define SETTLED(e) true
#else
#define SETTLED(e) (unsettled[e] == 0)
#endif
#ifdef CLOSEEARLY
#define LETGO(e) true
#else
#define LETGO(e) (rgone[e])
#endif
/* Shard.release: closing, Conn.Idle, reader gone. */
#define MAYRELEASE(e) (inst[e] != 0 && closing[e] && LETGO(e) && POLLIDLE(e) && SENDIDLE(e) && SETTLED(e))

/* Shard.close, up to its call of release. */
inline shutdown(e) {
	closing[e] = 1;
	halfclosed[e] = 0;
	USE(OWNED(e));
#ifndef NOSHUTDOWN
	shut[OWNED(e)] = 1;
#endif
#ifndef NOCANCEL
	if :: polling[e] -> cancel[OWNED(e)] = 1 :: else fi;
#endif
	unsent[e] = 0                           /* Conn.Discard */
}

inline close(e) {
	if :: !closing[e] -> shutdown(e) :: else fi
}

/* Shard.finishHalfClosed */
inline finish(e) {
	true;
#ifndef NOFINISH
	if
	:: halfclosed[e] && !closing[e] && ended[e] >= owed[OWNED(e)] && !unsent[e] && !sending[e] -> shutdown(e)
	:: else
	fi
#endif
}

/* Shard.freeEntry, the entry: only its generation remains. */
inline free_entry(e) {
	index[id[OWNED(e)]] = 0;
	inst[e] = 0; closing[e] = 0; polling[e] = 0; rgone[e] = 0; halfclosed[e] = 0; ended[e] = 0; unsent[e] = 0; sending[e] = 0
}

/* Shard.complete finds the entry of a completion. */
#ifdef NOGEN
#define STALE(e, i) (inst[e] == 0)
#else
#define STALE(e, i) (inst[e] == 0 || tgen[e] != gen[i])
#endif

proctype Shard() {
	byte e = 0, i = 0, at = 0;
	mtype kind;
end_step: do
	/* Shard.settle */
	:: atomic { unsettled[0] != 0 -> e = 0; goto settle }
	:: atomic { unsettled[1] != 0 -> e = 1; goto settle }
	/* Shard.takeEvents */
	:: atomic { events?kind,i ->
			if
			:: kind == CONNECT ->   /* Shard.connect */
#ifdef NODUPLICATE
				if
#else
				if
				:: index[id[i]] != 0 || stop -> ack[i] = 2
#endif
				:: else ->
					e = (inst[0] == 0 -> 0 : 1);
					assert(inst[e] == 0);
					inst[e] = i + 1;
					tgen[e]++;
					index[id[i]] = e + 1;
					ent[i] = e; gen[i] = tgen[e];
					ack[i] = 1
				fi
			:: kind == DISCONNECT ->    /* Shard.disconnect */
				if
				:: index[id[i]] == 0
				:: else ->
					e = index[id[i]] - 1;
					assert(inst[e] == i + 1);
					rgone[e] = 1;
					if
					:: closing[e]
					:: !closing[e] && half[i] -> halfclosed[e] = 1; finish(e)
					:: else -> close(e)
					fi
				fi
			:: kind == KICK ->          /* Shard.open, close */
				if
				:: index[0] != 0 -> e = index[0] - 1; close(e)
				:: else
				fi
			fi;
			i = 0;
			goto release
		}
	/* Shard.reap, complete: a send */
	:: atomic { sent[0] -> i = 0; goto send }
	:: atomic { sent[1] -> i = 1; goto send }
	/* Shard.reap, complete: a poll */
	:: atomic { fired[0] -> i = 0; goto poll }
	:: atomic { fired[1] -> i = 1; goto poll }
	/* Shard.drain, deliver, append */
	:: atomic { frames?i,at ->
			if
			:: index[id[i]] != 0 -> e = index[id[i]] - 1;
				if
#ifndef NOSINCE
				:: at < since[OWNED(e)]
#endif
				:: else ->
					if
					:: closing[e]
					:: else ->
						assert(inst[e] == i + 1);
						unsent[e] = 1; ended[e] = 1;
						unsettled[e] = i + 1
					fi
				fi
			:: else
			fi;
			i = 0; at = 0;
			goto release
		}
	/* Shard.flush, queueSend */
	:: atomic { inst[0] != 0 && unsent[0] && !sending[0] && !polling[0] && !closing[0] -> e = 0; goto push }
	:: atomic { inst[1] != 0 && unsent[1] && !sending[1] && !polling[1] && !closing[1] -> e = 1; goto push }
	/* Shard.queuePolls */
	:: atomic { wanted[0] -> e = 0; goto queue }
	:: atomic { wanted[1] -> e = 1; goto queue }
	/* Shard.submit, Ring.Submit: a send, a poll, a cancellation; these keep their order */
	:: atomic { sendq[0] -> i = 0; goto submit }
	:: atomic { sendq[1] -> i = 1; goto submit }
	:: atomic { pollq[0] -> i = 0; goto arm }
	:: atomic { pollq[1] -> i = 1; goto arm }
	:: d_step { cancel[0] && !pollq[0] && !wanted[ent[0]] -> cancel[0] = 0; if :: armed[0] -> armed[0] = 0; fired[0] = 1 :: else fi }
	:: d_step { cancel[1] && !pollq[1] && !wanted[ent[1]] -> cancel[1] = 0; if :: armed[1] -> armed[1] = 0; fired[1] = 1 :: else fi }
	/* Shard.tick: Limits.Check closes a connection that makes no progress */
	:: atomic { inst[0] != 0 && polling[0] && !closing[0] && hung[OWNED(0)] -> e = 0; close(e); goto release }
	:: atomic { inst[1] != 0 && polling[1] && !closing[1] && hung[OWNED(1)] -> e = 1; close(e); goto release }
#ifdef STOP
	:: stop -> goto stopped
#endif
	od;

settle:	atomic {
		assert(unsettled[e] == inst[e]);
		unsettled[e] = 0;
		goto release
	};
send:	atomic {
		e = ent[i];
		if
		:: STALE(e, i)
		:: else ->
			assert(inst[e] == i + 1);
			sending[e] = 0;
			if
			:: closing[e]
			:: !closing[e] && sent[i] == OK -> unsent[e] = 0; finish(e)
			:: !closing[e] && sent[i] == AGAIN -> polling[e] = 1; wanted[e] = 1   /* Shard.pollBlocked */
			:: !closing[e] && sent[i] == PIPE -> close(e)
			fi
		fi;
		sent[i] = 0; i = 0;
		goto release
	};
poll:	atomic {
		e = ent[i];
		if
		:: STALE(e, i)
		:: else ->
			assert(inst[e] == i + 1);
			polling[e] = 0
		fi;
		fired[i] = 0; i = 0;
		goto release
	};
push:	atomic {
		sending[e] = 1;
		assert(!sendq[OWNED(e)] && !sent[OWNED(e)]);
		sendq[OWNED(e)] = 1;
		goto next
	};
queue:	atomic {
		wanted[e] = 0;
		if
		:: inst[e] == 0
		:: inst[e] != 0 && closing[e] -> polling[e] = 0
		:: else ->
			assert(!pollq[OWNED(e)] && !armed[OWNED(e)] && !fired[OWNED(e)]);
			pollq[OWNED(e)] = 1
		fi;
		goto release
	};
submit:	atomic {
		USE(i);
		sendq[i] = 0;
		if
		:: !shut[i] -> sent[i] = OK
		:: !shut[i] -> sent[i] = AGAIN; if :: true :: hung[i] = 1 fi
		:: shut[i] || gone[i] -> sent[i] = PIPE
		fi;
		i = 0;
		goto next
	};
arm:	atomic { USE(i); pollq[i] = 0; armed[i] = 1; i = 0; goto next };

release: atomic { if :: MAYRELEASE(e) :: else -> goto next fi };
#ifdef PERMITEARLY
	permits--;
#endif
	/* Ring.CloseSocket */
	d_step { USE(OWNED(e)); assert((inst[0] != 0) + (inst[1] != 0) <= permits); sock[fd[OWNED(e)]] = 0; free_entry(e) };
	/* Shard.freeEntry, the permit */
#ifndef PERMITEARLY
	d_step { assert(permits > 0); permits-- };
#endif
#ifdef PERMITTWICE
	d_step { assert(permits > 0); permits-- };
#endif
next:	atomic { e = 0; goto end_step };

	/* Shard.Close */
stopped: atomic {
		if :: inst[0] != 0 && !closing[0] -> shutdown(0) :: else fi;
		if :: inst[1] != 0 && !closing[1] -> shutdown(1) :: else fi
	};
	/* Ring.Close */
	d_step {
		for (i : 0 .. C - 1) { sendq[i] = 0; pollq[i] = 0; sent[i] = 0; armed[i] = 0; fired[i] = 0; cancel[i] = 0; wanted[i] = 0; unsettled[i] = 0 }
	};
	/* Shard.orphan */
	d_step {
		for (e : 0 .. C - 1) {
			if
			:: inst[e] != 0 -> orphan[OWNED(e)] = (rgone[e] -> 2 : 1); free_entry(e); assert(permits > 0); permits--
			:: else
			fi
		}
	};
	/* Pipeline.finish */
	over = 1;
	do
	:: atomic { events?kind,i ->
			if
			:: kind == CONNECT -> ack[i] = 2
#ifndef NOGONE
			:: kind == DISCONNECT -> let[id[i]] = 1
#endif
			:: else
			fi
		}
	:: empty(events) -> break
	od;
	atomic {
		for (i : 0 .. C - 1) {
			if
			:: orphan[i] == 0
#ifdef CLOSEALL
			:: orphan[i] != 0 -> USE(i); sock[fd[i]] = 0
#else
			:: orphan[i] != 0 && (orphan[i] == 2 || let[id[i]]) -> USE(i); sock[fd[i]] = 0
#endif
			:: else -> owner[id[i]] = i + 1
			fi
		};
		finished = 1
	}
}

/* One connection in transport/listen and in Pipeline's methods. */
proctype Reader(bit i) {
	bit asks;
	/* acceptor.accept: the lowest descriptor that is free */
	atomic {
		fd[i] = (sock[0] == 0 -> 0 : 1);
		sock[fd[i]] = i + 1;
#ifdef OTHERID
		id[i] = i;
#endif
		asks = 1
	};
	/* Pipeline.Connect */
	atomic { permits++; if :: permits > MAX -> goto refused :: else fi };
#ifndef NOCONTRACT
end_turn: atomic { id[1 - i] != id[i] || !(begun[1 - i] || app[1 - i]) -> begun[i] = 1; since[i] = published };
#else
	since[i] = published;
#endif
	atomic { if :: over -> goto refused :: else -> events!CONNECT,i fi };
	if
	:: ack[i] == 1
	:: ack[i] == 2 -> goto refused
	fi;
	reading[i] = 1;
	/* reader.service */
end:	do
	:: atomic { shut[i] -> USE(i); goto letgo }                      /* LocalShutdown */
	:: atomic { gone[i] -> USE(i); half[i] = 1; goto letgo }         /* PeerClosed */
	:: atomic { asks -> USE(i); asks = 0; owed[i] = 1; app[i] = 1 }  /* Handler.Request */
	:: atomic { asks -> goto letgo }                                 /* a malformed frame or a deadline */
	od;
letgo:	/* reader.end: out of epoll */
	atomic { USE(i); asks = 0; reading[i] = 0; begun[i] = 0 };
	/* Pipeline.Disconnect */
	atomic { if :: over -> skip :: else -> events!DISCONNECT,i; goto out fi };
	finished;
	atomic {
		if
		:: owner[id[i]] != 0 -> assert(owner[id[i]] == i + 1); USE(i); sock[fd[i]] = 0; owner[id[i]] = 0
		:: else
		fi;
		goto out
	};
refused: atomic { permits--; asks = 0; begun[i] = 0 };
	d_step { USE(i); sock[fd[i]] = 0 };     /* the socket remained the listener's */
out:	skip
}

/* The application: publishes the response to a request at any time. */
active proctype App() {
end:	do
	:: atomic { app[0] -> frames!0,published; published++; app[0] = 0 }
	:: atomic { app[1] -> frames!1,published; published++; app[1] = 0 }
	od
}

/* A peer may close its end, or do nothing. */
proctype Peer(bit i) {
	if :: gone[i] = 1 :: true fi
}

#ifdef HUP
#define FIRES(i) (armed[i] && (!hung[i] || gone[i] || shut[i]))
#else
#define FIRES(i) (armed[i] && (!hung[i] || gone[i]))
#endif

active proctype Kernel() {
end:	do
	:: d_step { FIRES(0) -> armed[0] = 0; fired[0] = 1 }
	:: d_step { FIRES(1) -> armed[1] = 0; fired[1] = 1 }
	od
}

#ifdef STRAY
active proctype Stray() {
end:	atomic { ack[0] == 1 && sock[0] != 1 && sock[1] != 1 && !fired[0] -> fired[0] = 1 }
}
#endif

#ifdef KICKS
active proctype Operator() {
	if :: atomic { !over -> events!KICK,0 } :: true fi
}
#endif

#ifdef STOP
active proctype Stopper() { stop = 1 }
#endif

/* No process can move any more: each remaining connection is open, healthy and read. */
#define CLOSED(i) (sock[0] != i + 1 && sock[1] != i + 1)
#define HEALTHY(i) (reading[i] && !shut[i] && !gone[i] && inst[ent[i]] == i + 1 && !closing[ent[i]])
#define WAITING(i) (sock[fd[i]] == i + 1 && !begun[i] && !reading[i] && ack[i] == 0 && begun[1 - i] && id[1 - i] == id[i])
active proctype Monitor() {
	timeout ->
		assert(CLOSED(0) || HEALTHY(0) || WAITING(0));
		assert(CLOSED(1) || HEALTHY(1) || WAITING(1));
		assert(permits == reading[0] + reading[1] + WAITING(0) + WAITING(1))
}

init {
	atomic { run Shard(); run Reader(0); run Reader(1); run Peer(0); run Peer(1) }
}
