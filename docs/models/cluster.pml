/* The office of a leader: raftlog.Node (begin, depose, look), Leadership, the machine of
   actors/node/cluster, the gate over a leadership's cursors, and tickets of queries.

   Three nodes. Node 0 leads at first, in term 1, and every node has its first entry. Then any node
   may campaign, be cut off for any time, persist late, crash and come back, in any order. A leader
   that is cut off does not know that another one was elected. Messages of a term may arrive at any
   later time: an acknowledgement, once sent, counts for the leadership of its term for ever.

   A log is written as (term, length): the first `length` entries of the log of that term's leader.
   This is the log matching property, which is the library's. A leader's log is that with which it
   was elected, then its own first entry, then its events. An event is the place of its entry.

   Bounds: TERMS terms (3), EVENTS events of a leadership (1) and FIRST of the first one (EVENTS),
   CRASHES crashes (0), no query, or one with QUERY. 8,431,330 states as it stands; 2 minutes at half
   a processor.

     holds: TERMS=2 CRASHES=1
     holds: TERMS=2 QUERY
     mutant: ONECOPY
     mutant: SELFMATCH
     mutant: ACKEARLY TERMS=2 CRASHES=1
     mutant: NOSHUT
     mutant: EARLYOFFICE TERMS=2
     mutant: OWNDISK FIRST=3
     mutant: KEEPSTATE TERMS=2
     mutant: BYNUMBER
     mutant: VOTEBLIND TERMS=2
     mutant: NOTICKET TERMS=2 QUERY
     mutant: EARLYTICKET TERMS=2 QUERY
     mutant: LATECOMMIT TERMS=2 QUERY

   ONECOPY: responses are released under persisted>=1.
   SELFMATCH: the leader's cursor counts what is in its memory.
   ACKEARLY: a node acknowledges an entry before its sync.
   NOSHUT: what waits at the gate when an office ends is released by the node's next one.
   EARLYOFFICE: a leadership begins when the node is elected.
   OWNDISK: a leadership begins when its first entry is committed, although it is not on the node's disk.
   KEEPSTATE: what a leader executed ahead of the log is kept when the office ends.
   BYNUMBER: it is kept if the log has as many events, of whatever term.
   VOTEBLIND: a vote is given without regard to the logs.
   NOTICKET: a query is answered without a proof.
   EARLYTICKET: its ticket is drawn before it is carried out.
   LATECOMMIT: a commit that the leader learns of after the query is taken for a proof.

   Properties. C1: a response is released only if its event is on two disks, and every event that was
   released before is in the same log. C2: a leadership begins with every released event in its log.
   C3: the state with which a leadership begins, and to which a node applies, is that of its log.
   C7: the response to a query shows every event that was released before the query was asked.
*/
#ifndef TERMS
#define TERMS 3
#endif
#ifndef EVENTS
#define EVENTS 1
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef FIRST
#define FIRST EVENTS
#endif

/* Logs of leaders, by term: (bt, bk) with which it was elected, ln its length, ldr the node. */
byte bt[TERMS + 1], bk[TERMS + 1], ln[TERMS + 1], ldr[TERMS + 1];
byte terms = 1;                            /* terms used */
/* Of a node: its term, its log in memory and on disk, the state of its application. */
byte term[3], lt[3], lk[3], dt[3], dk[3], at[3], ak[3];
byte office[3];                            /* term of its Leadership; 0 for none: the cursors are shut */
byte rel[3];                               /* the gate's position in that office */
byte acked[TERMS * 3 + 3];                 /* acked[3t+m]: what node m acknowledged to the leader of term t */
byte crashes = 0;
#ifdef NOSHUT
byte oldterm[3], oldend[3];                /* slots that wait from an earlier office */
#endif
/* For the checks, and the query. */
byte et = 0, ep = 0;                       /* the released event that is furthest in the log */
byte query = 0, qnode, qterm, seen, need;  /* query: 0 not asked, 1 carried out, 2 ticket drawn before, 3 over */
byte conf;                                 /* nodes that confirmed the leader since the ticket was drawn */

/* ENTRY: term of the entry at place p of the log of term t. */
#define ENTRY(t, p) ((p) >= bk[t] -> (t) : ((p) >= bk[bt[t]] -> bt[t] : bt[bt[t]]))
#define HAS(t, k, e, p) ((k) > (p) && ENTRY(t, p) == (e))
#define ONDISK(m, e, p) (HAS(dt[m], dk[m], e, p) -> 1 : 0)
#define MAX(a, b) ((a) > (b) -> (a) : (b))
#define MIN(a, b) ((a) < (b) -> (a) : (b))
#define SECOND(a, b, c) MAX(MIN(a, b), MIN(MAX(a, b), c))
#define ACK(t, m) acked[3 * (t) + (m)]
/* What the library knows to be committed, once it is past the leader's own first entry. */
#define COMMITTED(t) SECOND(ACK(t, 0), ACK(t, 1), ACK(t, 2))
#define LEADS(n) (ldr[term[n]] == (n) && ln[term[n]] > 0 && lt[n] == term[n])

/* The cursors of a leadership: its own disk, and the others' acknowledgements in its term. */
#define OTHER(n, m) ACK(office[n], m)
#ifdef SELFMATCH
#define OWN(n) lk[n]
#else
#define OWN(n) dk[n]
#endif
#define CURSOR(n, m) ((n) == (m) -> OWN(n) : OTHER(n, m))
#ifdef ONECOPY
#define PROVEN(n) MAX(CURSOR(n, 0), MAX(CURSOR(n, 1), CURSOR(n, 2)))
#else
#define PROVEN(n) SECOND(CURSOR(n, 0), CURSOR(n, 1), CURSOR(n, 2))
#endif

/* Node.begin: the leader's first entry is committed, applied, and on its own disk. */
#define SETTLED(n) (COMMITTED(term[n]) > bk[term[n]] && at[n] == term[n] && ak[n] == bk[term[n]] + 1)
#ifdef EARLYOFFICE
#define BEGINS(n) (LEADS(n) && at[n] != term[n])
#elif defined(OWNDISK)
#define BEGINS(n) (LEADS(n) && SETTLED(n))
#else
#define BEGINS(n) (LEADS(n) && SETTLED(n) && dt[n] == term[n])
#endif

/* What of its log a node may apply: what its leader knows to be committed. */
#define KNOWN(n) MIN(COMMITTED(term[n]), lk[n])
#define APPLIES(n) (lt[n] == term[n] && KNOWN(n) > bk[term[n]] && !(at[n] == term[n] && ak[n] >= KNOWN(n)))

/* The proof that a query waits for, beside the cursors. */
#ifdef LATECOMMIT
#define ASKS(n) (rel[n] < ak[n])
#else
#define ASKS(n) true
#endif
#ifdef NOTICKET
#define TICKET(n) true
#elif defined(LATECOMMIT)
#define TICKET(n) (rel[n] >= seen)
#else
#define TICKET(n) (conf != (1 << n))
#endif

/* An election is one step at the time of the vote: a candidate that waits for it does nothing. */
#ifdef VOTEBLIND
#define UPTODATE(n, m) true
#else
#define UPTODATE(n, m) (lt[n] > lt[m] || (lt[n] == lt[m] && lk[n] >= lk[m]))
#endif

#define ELECTED(n, m) (terms < TERMS && UPTODATE(n, m))
#define SENDS(m, n) (term[m] >= term[n] && LEADS(m) && !(lt[n] == term[m] && lk[n] >= lk[m]))

#ifdef NOSHUT
#define WAITS(n) (office[n] && (rel[n] < ak[n]) && !oldterm[n])
#else
#define WAITS(n) (office[n] && (rel[n] < ak[n]))
#endif

/* Node.depose: the cursors are shut, the machine gets the state back. */
inline depose(n) {
#ifdef NOSHUT
	if
	:: office[n] && !oldterm[n] && rel[n] < ak[n] -> oldterm[n] = office[n]; oldend[n] = ak[n]
	:: office[n] && !oldterm[n] && rel[n] == ak[n] -> rel[n] = 0
	:: else
	fi;
#else
	rel[n] = 0;
#endif
	office[n] = 0
}

inline begin(n) {
#ifdef NOSHUT
	if :: oldterm[n] :: else -> rel[n] = bk[office[n]] + 1 fi
#else
	rel[n] = ak[n]
#endif
}

inline ends(n) {
#ifdef NOSHUT
	oldterm[n] = 0; oldend[n] = 0;
#endif
	rel[n] = 0
}

inline over() { query = 3; qnode = 0; qterm = 0; seen = 0; need = 0; conf = 0 }

inline elect(n, m) {
	depose(n); depose(m);
	terms++;
	term[n] = terms; term[m] = terms; ldr[terms] = n;
	bt[terms] = lt[n]; bk[terms] = lk[n]; lt[n] = terms; lk[n]++; ln[terms] = lk[n]
}

inline receive(n, m) {
	if :: term[m] > term[n] -> depose(n) :: else fi;
	term[n] = term[m]; lt[n] = term[m]; lk[n] = lk[m];
#ifdef ACKEARLY
	ACK(lt[n], n) = lk[n];
#endif
	skip
}

/* machine.take: the node applies its log up to k, all of it committed. What it executed ahead of the
   log in an office of term at[n] stands if the log has it. */
inline take(n, k) {
	if
#ifdef KEEPSTATE
	:: true
#elif defined(BYNUMBER)
	:: ak[n] <= k
	:: else -> at[n] = 0; ak[n] = 0
#else
	:: ak[n] <= k && (ak[n] == 0 || ENTRY(lt[n], ak[n] - 1) == at[n])
	:: else -> at[n] = 0; ak[n] = 0                      /* it is rebuilt from snapshot and log */
#endif
	fi;
	assert(ak[n] == 0 || ak[n] <= k && ENTRY(lt[n], ak[n] - 1) == at[n]);   /* C3 */
	ak[n] = k;
	at[n] = ENTRY(lt[n], k - 1)
}

/* gate.release of the event (t, p). */
inline answer(t, p) {
#ifndef ONECOPY
	assert(ONDISK(0, t, p) + ONDISK(1, t, p) + ONDISK(2, t, p) >= 2);        /* C1 */
#endif
	if
	:: ep == 0 -> et = t; ep = (p) + 1
	:: ep > 0 && (p) + 1 > ep -> assert(ENTRY(t, ep - 1) == et); et = t; ep = (p) + 1
	:: ep > 0 && (p) + 1 <= ep -> assert(ENTRY(et, p) == t)
	fi
}

proctype Node(byte n) {
	byte t = 0;
	byte m = (n + 1) % 3, o = (n + 2) % 3;     /* the other two */
end:	do
	/* raftlog.Node: it is elected with the vote of another node, and appends its first entry */
	:: d_step { ELECTED(n, m) -> elect(n, m) }
	:: d_step { ELECTED(n, o) -> elect(n, o) }
	/* it receives the log of a leader whose term is not below its own */
	:: d_step { SENDS(m, n) -> receive(n, m) }
	:: d_step { SENDS(o, n) -> receive(n, o) }
	/* its store syncs, and it acknowledges, also to a leader of an earlier term */
	:: d_step { dt[n] != lt[n] || dk[n] != lk[n] -> dt[n] = lt[n]; dk[n] = lk[n]; ACK(lt[n], n) = lk[n] }
	/* it crashes, and comes back from its disk */
	:: d_step { crashes < CRASHES ->
			crashes++; depose(n); ends(n);
			if :: ldr[term[n]] == n -> ldr[term[n]] = 3 :: else fi;
			lt[n] = dt[n]; lk[n] = dk[n]; at[n] = 0; ak[n] = 0
		}
	/* Node.propose */
	:: d_step { office[n] && office[n] == term[n] && lk[n] < ak[n] -> lk[n]++; ln[term[n]] = lk[n] }

	/* the machine: it follows; machine.lend */
	:: d_step { office[n] == 0 && APPLIES(n) -> t = KNOWN(n); take(n, t); t = 0 }
	:: d_step { office[n] == 0 && BEGINS(n) ->
			t = term[n];
#ifdef EARLYOFFICE
			at[n] = t; ak[n]++;                    /* its first entry */
#endif
			assert(ep == 0 || et > t || HAS(t, lk[n], et, ep - 1));   /* C2; a later leader may be at work */
			assert(ak[n] == bk[t] + 1 && at[n] == t);                 /* C3 */
			office[n] = t;
			begin(n);
			t = 0
		}
	/* Sequencer.request: it is carried out ahead of the log */
	:: d_step { office[n] && ak[n] < bk[office[n]] + 1 + (office[n] == 1 -> FIRST : EVENTS) -> ak[n]++ }

	/* the gate */
	:: d_step { WAITS(n) && PROVEN(n) > rel[n] -> answer(office[n], rel[n]); rel[n]++ }
#ifdef NOSHUT
	:: d_step { office[n] && oldterm[n] && PROVEN(n) > rel[n] ->
			answer(oldterm[n], rel[n]); rel[n]++;
			if :: rel[n] == oldend[n] -> ends(n); begin(n) :: else fi
		}
#endif
#ifdef QUERY
#ifdef EARLYTICKET
	:: d_step { query == 0 && office[n] -> query = 2; qnode = n; qterm = office[n]; conf = 1 << n }
	:: d_step { query == 2 && qnode == n && office[n] == qterm -> query = 1; seen = ak[n]; need = ep }
#else
	:: d_step { query == 0 && office[n] && ASKS(n) ->
			query = 1; qnode = n; qterm = office[n]; conf = 1 << n; seen = ak[n]; need = ep
		}
#endif
	/* the response to a heartbeat after the ticket was drawn */
	:: d_step { query && query < 3 && term[n] == qterm && !(conf & (1 << n)) -> conf = conf | (1 << n) }
	:: d_step { query == 1 && qnode == n && office[n] == qterm && PROVEN(n) >= seen && TICKET(n) ->
			assert(seen >= need);                                     /* C7 */
			over()
		}
	:: d_step { query && query < 3 && qnode == n && office[n] != qterm -> over() }
#endif
	od
}

init {
	byte n = 0;
	d_step {
		ln[1] = 1;                             /* term 1 has begun */
		do
		:: n < 3 -> term[n] = 1; lt[n] = 1; lk[n] = 1; dt[n] = 1; dk[n] = 1; ACK(1, n) = 1; n++
		:: else -> break
		od;
		at[0] = 1; ak[0] = 1; office[0] = 1; rel[0] = 1
	};
	atomic { run Node(0); run Node(1); run Node(2) }
}
