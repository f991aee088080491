/* The gate, swaps of the policy and the cursors it reads: durability.Cursors, durability.Switch,
   the gate of actors, run.Runner.park.

   A primary and two replicas; policies local (persisted>=1) and strict (persisted>=2 &&
   in_memory>=3). The cursors move, a replica restarts without its memory, leaves the view or comes
   back, and the operator swaps the policy, all at any moment and any number of times. Each shared
   access is one step: Go's atomics are sequentially consistent. Waking the gate is one step, and a
   channel token is not lost; park.pml models these in detail.

   Bounds: N events and slots (1), one slot a step, SWAPS swaps (1), any number of changes of the
   replicas; with CALM they only advance. 6,319,475 states as it stands, 1,060,365 with CALM SWAPS=2;
   1.1 and 0.1 minutes at half a processor.

     holds: CALM SWAPS=2
     mutant: TORNSNAP
     mutant: IGNOREODD
     mutant: IGNORECHANGE
     mutant: NOMUTEX WRITERS=2
     mutant: ACKEARLY CALM
     mutant: ADOPTLATE CALM
     mutant: STALEMARK CALM N=2
     mutant: BYVALUE CALM SWAPS=2
     mutant: NOSWAPWAKE CALM
     mutant: NOCURSORWAKE CALM
     mutant: WAKEFIRST CALM
     mutant: NORECHECK CALM

   TORNSNAP: each clause is evaluated on a snapshot of its own.
   IGNOREODD: Snapshot begins while a write is under way.
   IGNORECHANGE: Snapshot does not check the version again.
   NOMUTEX: writers do not take turns.
   ACKEARLY: Swap returns once the policy is stored.
   ADOPTLATE: the gate acknowledges a swap at the end of a step that evaluated the old policy.
   STALEMARK: the gate keeps its proven position over a swap.
   BYVALUE: Adopt compares policies, not requests.
   NOSWAPWAKE: Swap does not wake the gate.
   NOCURSORWAKE: the cursors do not wake the gate.
   WAKEFIRST: the cursors wake the gate before they write.
   NORECHECK: the gate sleeps without looking again after Signal.Prepare.

   Properties. S1 (invariant I1): a slot is released only if the policy in use held for it at one
   instant, that is, between two writes. S2 (I2): once Swap has returned, no earlier policy is in
   use. L1 (I12, I7): when no process can move any more, the gate uses the policy wanted last, every
   slot it allows is released, and no Swap waits (Monitor).
*/
#ifndef N
#define N 1
#endif
#ifndef SWAPS
#define SWAPS 1
#endif
#ifndef WRITERS
#define WRITERS 1
#endif
#define BATCH 1

/* The state of Cursors, Switch and Signal. */
bit mu = 0;                    /* Cursors.mu */
bit odd = 0;                   /* Cursors.version is odd */
bit moved = 0;                 /* Cursors.version changed since Snapshot began: all that it compares */
bit on[2];                     /* Cursors.active, of the replicas; the primary is always in view */
byte disk = 0;                 /* Cursors.nodes[0].persisted; its in_memory is Everything */
byte mem[2], per[2];           /* Cursors.nodes[1..2] */
byte wanted = 0, adopted = 0;  /* Switch.wanted, Switch.adopted: numbers of requests; done of the adopted one is closed */
bit strict[SWAPS + 1];         /* swapRequest.policy */
bit ended = 0;                 /* Switch.ended is closed */
bit parked = 0, token = 0;     /* Signal.parked of the gate's group, its Idle's channel */
byte released = 0;             /* Reader.Release of the gate */

/* For the checks only. */
byte held[2];                  /* highest position for which local, strict held at one instant */
byte acked = 0;                /* the last request whose Swap returned nil */

#define MIN(a, b) ((a) < (b) -> (a) : (b))
#define MAX(a, b) ((a) > (b) -> (a) : (b))

/* Policy.Evaluate, of view d x p y q with replicas r s in it: persisted>=1; persisted>=2;
   in_memory>=3. */
#define FIRST(d, p, q) MAX(d, MAX(p, q))
#define SECOND(d, p, q) MAX(MIN(d, p), MIN(MAX(d, p), q))
#define THIRD(r, s, x, p, y, q) (r && s -> MIN(MAX(x, p), MAX(y, q)) : 0)

/* The position of a policy over the current cursors; a replica out of view is 0. */
#define NOW_LOCAL FIRST(disk, per[0], per[1])
#define NOW_STRICT MIN(SECOND(disk, per[0], per[1]), THIRD(on[0], on[1], mem[0], per[0], mem[1], per[1]))

/* Signal.Wake and Idle.Wake. */
#define wake_gate d_step { if :: parked -> parked = 0; token = 1 :: else fi }

/* Lock and odd version; even version and unlock. */
#ifdef NOMUTEX
#define begin_write d_step { odd = !odd; moved = 1 }
#else
#define begin_write d_step { !mu -> mu = 1; odd = !odd; moved = 1 }
#endif
#define end_write d_step { \
		odd = !odd; moved = 1; mu = 0; \
		if :: !odd -> held[0] = MAX(held[0], NOW_LOCAL); held[1] = MAX(held[1], NOW_STRICT) :: else fi \
	}

/* All writers of Cursors, one write after the other, as the lock orders them. Each wakes the gate after
   its write; a later wake-up would only wake the gate once more. */
proctype Writer() {
	bit j = 0, o = 0;
	byte m = 0, p = 0;
again:	do
	:: disk < N ->                          /* Cursors.SetPersisted: writeMove */
#ifdef WAKEFIRST
		wake_gate;
#endif
		begin_write;
		disk++;
		end_write;
#if !defined(WAKEFIRST) && !defined(NOCURSORWAKE)
		wake_gate
#endif
	:: atomic { true ->
			if :: j = 0 :: j = 1 fi;
			if
			:: on[j] && per[j] < N ->   /* Feed.Advance: writeMove */
				m = mem[j]; p = per[j];
				do :: m < N -> m++ :: p < m -> p++ :: m > mem[j] || p > per[j] -> break od;
				o = 1
#ifndef CALM
			:: true ->                  /* Activate: a new incarnation with any cursors, already in view or not */
				do :: m < N -> m++ :: break od;
				do :: p < m -> p++ :: break od;
				o = 1
			:: on[j] -> o = 0           /* Deactivate: remove */
#endif
			:: else -> goto again
			fi
		};
#ifdef WAKEFIRST
		wake_gate;
#endif
		begin_write;
		mem[j] = m;
		per[j] = p;
		on[j] = o;
		end_write;
		atomic { m = 0; p = 0; j = 0; o = 0 };
#if !defined(WAKEFIRST) && !defined(NOCURSORWAKE)
		wake_gate
#endif
	:: break                                /* no cursor moves any more */
	od
}

/* Switch.Swap, for a few policies in a row. If the context of one ends, its request remains; the last
   one waits. */
proctype Operator() {
	byte k = 1;
	do
	:: k > SWAPS -> break
	:: k <= SWAPS ->
		d_step { strict[k] = !strict[k - 1]; wanted = k };
#ifndef NOSWAPWAKE
		wake_gate;
#endif
		if
#ifdef ACKEARLY
		:: d_step { acked = k; k++ }
#else
		:: d_step { adopted == k -> acked = k; k++ }
#endif
		:: d_step { ended -> k++ }               /* ErrSwitchClosed */
		:: d_step { k < SWAPS -> k++ }           /* context.Cause */
		fi
	od
}

#ifdef IGNOREODD
#define MAYBEGIN true
#else
#define MAYBEGIN (!odd)
#endif
#ifdef IGNORECHANGE
#define WHOLE true
#else
#define WHOLE (!moved)
#endif
#ifdef BYVALUE
#define CHANGED (strict[next] != strict[adopted])
#else
#define CHANGED (next != adopted)
#endif
/* A read of a Snapshot that will fail has no effect; it fails at once. */
#define read2(v, e, w, f) atomic { if :: WHOLE -> v = e; w = f :: else -> goto torn fi }
#define read(v, e) read2(v, e, v, v)
#define forget_view r = 0; s = 0; d = 0; x = 0; p = 0; y = 0; q = 0

proctype Gate() {
	byte next = 0, proven = 0;
	bit armed = 0;
	byte d, x, p, y, q;             /* the view */
	bit r, s;
#ifdef ADOPTLATE
	byte was = 0;
#endif
#ifdef TORNSNAP
	bit second = 0;
	byte clause;
#endif
round:	/* gate.Step: Switch.Adopt, then the slots that are proven already */
	atomic {
		next = wanted;
		if
		:: CHANGED -> goto adopt
		:: else -> next = 0; if :: released < proven -> goto pass :: else -> goto look fi
		fi
	};
adopt:	atomic {
#ifndef ADOPTLATE
		adopted = next; next = 0;
#endif
#ifndef STALEMARK
		proven = 0;
#endif
		if :: released < proven -> goto pass :: else -> goto look fi
	};
look:	/* gate.look: Cursors.Snapshot */
	atomic { moved = 0; if :: MAYBEGIN :: else -> goto torn fi };
	read2(r, on[0], s, on[1]);
	read(d, disk);
	read(x, (r && strict[adopted] -> mem[0] : 0)); /* local does not ask for it */
	read(p, (r -> per[0] : 0));
	read(y, (s && strict[adopted] -> mem[1] : 0));
	read(q, (s -> per[1] : 0));
	atomic {
		if :: WHOLE :: else -> goto torn fi;
		/* Policy.Evaluate */
#ifdef TORNSNAP
		if
		:: !second -> clause = SECOND(d, p, q); second = 1; if :: strict[adopted] -> forget_view; goto look :: else fi
		:: second -> second = 0; 
		fi;
		if
		:: strict[adopted] -> proven = MAX(proven, MIN(clause, THIRD(r, s, x, p, y, q)))
#else
		if
		:: strict[adopted] -> proven = MAX(proven, MIN(SECOND(d, p, q), THIRD(r, s, x, p, y, q)))
#endif
		:: !strict[adopted] -> proven = MAX(proven, FIRST(d, p, q))
		fi;
		forget_view;
		goto pass
	};
torn:	atomic {
#ifdef TORNSNAP
		second = 0; clause = 0;
#endif
		forget_view; if :: goto look :: goto pass fi  /* it tries again, or gives up in this step */
	};

#ifdef ADOPTLATE
pass:	atomic { if :: next != 0 -> was = adopted; adopted = next; next = 0 :: else -> was = adopted fi };
	if
#else
pass:	if                                                     /* gate.release; Runner.run, Runner.park */
#endif
	:: atomic { released < proven ->
			released++;
#ifdef ADOPTLATE
			assert(released <= held[strict[was]]);
			assert(was >= acked);
			if :: was != adopted -> proven = 0 :: else fi;
#else
			assert(released <= held[strict[adopted]]);   /* S1 */
			assert(adopted >= acked);                    /* S2 */
#endif
			if :: armed -> goto cancel :: else -> goto more fi
		}
	:: atomic { released >= proven && !armed ->
			parked = 1; armed = 1;                 /* Signal.Prepare */
#ifdef NORECHECK
			goto sleep
#else
			goto round
#endif
		}
	:: released >= proven && armed
	fi;
sleep:	skip;
end:	atomic { token -> token = 0 };                         /* Idle.Sleep, without its timer */
cancel:	atomic { parked = 0; armed = 0; goto more };           /* Signal.Cancel */
more:	if :: released < N -> goto round :: released == N fi;
	ended = 1                                              /* gate.Close: Switch.Close */
}

/* L1: no process can move any more. */
active proctype Monitor() {
	timeout ->
		assert(wanted == SWAPS && (adopted == acked || ended));
		assert(released == N || (adopted == wanted && released >= (strict[wanted] -> NOW_STRICT : NOW_LOCAL)))
}

init {
	atomic {
		on[0] = 1; on[1] = 1;
		if :: strict[0] = 0 :: strict[0] = 1 fi;
		byte i;
		for (i : 1 .. WRITERS) { run Writer() }
		run Operator(); run Gate()
	}
}
