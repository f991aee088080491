/* Slots that overtake: actors.Gate.release, Gate.scan, Gate.overtake and Encode.Step, with two connections.

   The gate releases a position of the slot ring as far as slots are durable, and sends bypass slots of connections without an
   earlier waiting slot ahead through the lane. The encoder reads the ring's limit, then the lane, and merges. Every slot's
   connection and bypass flag are chosen freely. Bounds: N slots, all published.

     mutant: LANEFIRST
     mutant: NOAFTER
     mutant: NOSKIP
     mutant: OWNCONN

   LANEFIRST: Encode.Step reads the lane before the ring's limit. NOAFTER: a lane entry is taken as soon as it is seen.
   NOSKIP: the encoder does not skip what overtook. OWNCONN: the gate overtakes waiting slots of the same connection too.

   Properties: each connection gets its slots in order and once (assertion in emit); all are sent in the end (Done).
*/
#ifndef N
#define N 4
#endif

bit conn[N], bypass[N], over[N];
byte durable = 0;            /* the journal's cursor: slots below it may pass */
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
		/* Gate.Step: release what may pass. */
		do
		:: pos < N ->
			if
			:: bypass[pos] || over[pos] || pos < durable -> pos++
			:: else -> break
			fi
		:: else -> break
		od;
		released = pos;
		/* Gate.scan */
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
