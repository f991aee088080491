/* Slots that overtake: release, scan and overtake of the gate and Step of the encoder, package
   actors, with two connections.

   The gate releases the slot ring up to the first slot that is not durable, and sends bypass slots of
   connections without an earlier waiting slot ahead through the lane. The encoder reads the ring's
   limit, then the lane, and merges. Each slot's connection and bypass flag are arbitrary. Bounds: N
   slots, all published.

     mutant: LANEFIRST
     mutant: NOAFTER
     mutant: NOSKIP
     mutant: OWNCONN

   LANEFIRST: the encoder reads the lane before the ring's limit.
   NOAFTER: the encoder takes a lane entry as soon as it sees it.
   NOSKIP: the encoder does not skip slots that overtook.
   OWNCONN: the gate lets a slot overtake waiting slots of its own connection.

   Properties: each connection gets its slots in order and once (assertion in emit); at the end all are sent
   (assertion in Encode).
*/
#ifndef N
#define N 4
#endif

bit conn[N], bypass[N], over[N];
byte durable = 0;            /* the journal's cursor; slots below it may pass */
byte released = 0;           /* Reader.Release of the gate */
byte lane_slot[N], lane_after[N];
byte lane = 0;               /* Writer.Publish of the lane */
byte next_of[2];             /* 1 + last slot sent, by connection */
byte sent = 0;

proctype Journal() {
	do :: durable < N -> durable++ :: else -> break od
}

proctype Gate() {
	byte pos = 0, s, t;
	bit wait;
	do
	:: pos == N -> break
	:: else ->
		/* gate.Step: release the slots that may pass. */
		do
		:: pos < N ->
			if
			:: bypass[pos] || over[pos] || pos < durable -> pos++
			:: else -> break
			fi
		:: else -> break
		od;
		released = pos;
		/* gate.scan */
		s = pos;
		do
		:: s < N && bypass[s] && !over[s] ->
			d_step {
				wait = 0; t = pos;
				do
				:: t < s ->
					if :: conn[t] == conn[s] && !over[t] -> wait = 1 :: else fi;
					t++
				:: else -> break
				od;
				t = 0
			}
#ifdef OWNCONN
			wait = 0;
#endif
			if
			:: !wait ->
				lane_slot[lane] = s;
				lane_after[lane] = pos;
				over[s] = 1;
				lane = lane + 1    /* publish */
			:: else
			fi;
			s++
		:: s < N && !(bypass[s] && !over[s]) -> s++
		:: s == N -> break
		od
	od
}

inline emit(x) {
	d_step {
		assert(next_of[conn[x]] <= x);
		next_of[conn[x]] = x + 1;
		sent++
	}
}

#ifdef NOAFTER
#define MAYTAKE true
#else
#define MAYTAKE (lane_after[taken] <= q)
#endif

proctype Encode() {
	byte q = 0, taken = 0, limit, entries;
	do
	:: q == N && taken == lane && released == N -> break
	:: else ->
#ifdef LANEFIRST
		entries = lane;
		limit = released;
#else
		limit = released;
		entries = lane;
#endif
		do
		:: taken < entries && MAYTAKE -> emit(lane_slot[taken]); taken++
		:: else ->
			if
			:: q < limit ->
#ifdef NOSKIP
				emit(q);
#else
				if :: !over[q] -> emit(q) :: else fi;
#endif
				q++
			:: else -> break
			fi
		od
	od;
	assert(sent == N)
}

init {
	byte i = 0;
	do
	:: i < N ->
		if :: conn[i] = 0 :: conn[i] = 1 fi;
		if :: bypass[i] = 0 :: bypass[i] = 1 fi;
		i++
	:: else -> break
	od;
	i = 0;
	atomic { run Journal(); run Gate(); run Encode() }
}
