/* A mailbox between two goroutines that park: mailbox.Writer and Reader, mailbox.Signal, park and
   adaptive of actors/internal/run.

   Each shared access is one step; Go's atomics are sequentially consistent. Bounds: N slots through a
   ring of CAP.

     holds: WBOTH
     holds: RELAY
     mutant: NORECHECK
     mutant: WAKEFIRST
     mutant: CLOSEWRONG
     mutant: WEAK
     mutant: NOTOKEN
     mutant: RELAY ROOMLATE
     mutant: RELAY NOROOM
     mutant: RELAY ONEFLAG

   WBOTH: the producer parks as well if there is no room.
   RELAY: the consumer writes what it reads into a second ring, as the sequencer does. It sleeps for slots
   and for room with one token and a flag for each reason: Writer.SetRoom.
   NORECHECK: the runner sleeps without looking again after Signal.Prepare.
   WAKEFIRST: Writer.Publish wakes the reader before it stores.
   CLOSEWRONG: Reader.Done checks whether the mailbox is empty before it checks whether it is closed.
   WEAK: the store of Publish is still in a store buffer when the flag is read.
   NOTOKEN: Idle.Wake is lost if the goroutine does not sleep yet.
   ROOMLATE: awaitRoom looks for room before it sets the flag.
   NOROOM: a claim without room sets no flag.
   ONEFLAG: room has no flag of its own; each release reads that of the other reason.

   Properties: every slot is read once and in order (assertions); the reader does not sleep while there
   is something to read (Monitor, and no invalid end state); everything committed before Close is read
   (assertion at the end); room wakes the consumer at most once for each claim that found none (assertion
   in wake_room).
*/
#ifndef N
#define N 5
#endif
#define CAP 2

byte published = 0;        /* cursor.position of the writer, by Writer.Publish */
byte released = 0;         /* cursor.position of the reader, by Reader.Release */
bit closed = 0;            /* by Writer.Close */
byte ring[CAP];
bit parked = 0, token = 0;   /* the reader's Signal.parked and its Idle's channel of one token */
bit wparked = 0, wtoken = 0; /* the writer's */
bit asleep = 0;
#ifdef RELAY
#define ROOM 1
byte passed = 0, taken = 0;  /* cursors of the second ring, which has ROOM slots */
bit wants = 0;               /* its Signal.parked */
byte failed = 0;             /* claims that found no room, for which the Taker has not woken */
#endif

#ifdef WEAK
bit buffered = 0; byte buffer = 0;
active proctype StoreBuffer() {
end:	do :: atomic { buffered -> published = buffer; buffered = 0 } od
}
#define STORE(v) atomic { !buffered -> buffered = 1; buffer = v }
#else
#define STORE(v) published = v
#endif

/* Signal.Wake: load the flag, then swap it, then Idle.Wake: put the token unless there is one. */
inline wake_reader(f) {
	f = parked;
	if
	:: f -> d_step { f = parked; parked = 0 };
		if
#ifdef NOTOKEN
		:: f -> d_step { if :: asleep -> token = 1 :: else fi }
#else
		:: f -> token = 1
#endif
		:: else
		fi
	:: else
	fi
}

inline wake_writer(f) {
	f = wparked;
	if
	:: f -> d_step { f = wparked; wparked = 0 };
		if :: f -> wtoken = 1 :: else fi
	:: else
	fi
}

#ifdef RELAY
/* Signal.Wake of the second ring, behind the consumer's Waker. */
inline wake_room(f) {
#ifdef ONEFLAG
#define WANTS parked
#else
#define WANTS wants
#endif
	f = WANTS;
	if
	:: f -> d_step { f = WANTS; WANTS = 0 };
		if
		:: f -> atomic { assert(failed > 0); failed--; token = 1 }
		:: else
		fi
	:: else
	fi
}

/* Writer.Claim in the second ring. */
inline claim(ok) {
	ok = (next - taken < ROOM);
#ifndef NOROOM
	if
	:: ok
	:: else -> failed++;
#ifdef ROOMLATE
		ok = (next - taken < ROOM);
		wants = 1
#else
		wants = 1;                 /* awaitRoom: Signal.Prepare, then the look */
		ok = (next - taken < ROOM)
#endif
	fi
#endif
}

active proctype Taker() {
	bit f;
end:	do
	:: passed != taken -> taken++; wake_room(f)
	od
}
#endif

proctype Producer() {
	byte i = 0, r;
	bit f;
	do
	:: i < N ->
		/* Writer.Claim: room? */
		do
		:: r = released;
			if
			:: i - r < CAP -> break
			:: else ->
#ifdef WBOTH
				wparked = 1;           /* Signal.Prepare */
				r = released;          /* re-check */
				if
				:: i - r < CAP -> wparked = 0
				:: else -> atomic { wtoken -> wtoken = 0 }; wparked = 0
				fi
#else
				i - released < CAP     /* spins, as a guard condition */
#endif
			fi
		od;
		ring[i % CAP] = i + 1;             /* write in place, Writer.Commit */
#ifdef WAKEFIRST
		wake_reader(f);
		STORE(i + 1);
#else
		STORE(i + 1);                      /* Writer.Publish */
		wake_reader(f);
#endif
		i++
	:: else -> break
	od;
#ifdef WEAK
	!buffered;
#endif
	if
	:: closed = 1;                             /* Writer.Close */
	   wake_reader(f)
	:: skip                                    /* or no more slots for now */
	fi
}

/* When no process can move any more, the reader sleeps only if the ring is empty and open. */
active proctype Monitor() {
	timeout -> assert(!asleep || (released == published && !closed))
}

/* Reader.Done. */
inline done(d) {
#ifdef CLOSEWRONG
	d = (published == next);
	if :: d -> d = closed :: else fi
#else
	d = closed;
	if :: d -> d = (published == next) :: else fi
#endif
}

/* One Step: take one slot if there is one. */
inline step(work) {
	p = published;
	if
	:: p != next ->
#ifdef RELAY
		claim(work);
#else
		work = 1;
#endif
		if
		:: work ->
			assert(ring[next % CAP] == next + 1);
			next++;
#ifdef RELAY
			passed = next;
#endif
			released = next;           /* Reader.Release */
			wake_writer(f)
		:: else
		fi
	:: else -> work = 0
	fi
}

proctype Consumer() {
	byte next = 0, p;
	bit f, d, work;
	do
	:: step(work);
		if
		:: work
		:: else ->
			done(d);
			if
			:: d -> break
			:: else ->
				parked = 1;        /* Runner.park: Signal.Prepare */
#ifdef NORECHECK
				work = 0; d = 0;
#else
				step(work);
				if
				:: !work -> done(d)
				:: else -> d = 0
				fi;
#endif
				if
				:: d -> break
				:: work && !d
				:: !work && !d ->
					asleep = 1;
end:					atomic { token -> token = 0; asleep = 0 } /* Idle.Sleep */
				fi;
				parked = 0         /* Signal.Cancel */
			fi
		fi
	od;
	assert(next == N)
}

init { atomic { run Producer(); run Consumer() } }
