package mailbox

import (
	"runtime"
	"sync"
	"testing"
)

// fullRing is a mailbox with a writer that waits for room as SetRoom describes.
type fullRing struct {
	name    string
	setRoom func(*Signal)
	claim   func() bool // fills the ring, and reports whether there was room
	release func()      // of everything
}

func fullRings() []fullRing {
	w, r := NewSPSC[int](1)
	bw, br := NewBytes(64)
	return []fullRing{
		{"slots", w.SetRoom, func() bool {
			n := len(w.Claim(1))
			w.Commit(n)
			w.Publish()
			return n > 0
		}, func() { r.Release(len(r.Batch(1))) }},
		{"records", bw.SetRoom, func() bool {
			n := 0
			for ; n < 2 && bw.Claim(24) != nil; n++ {
				bw.Commit(24)
			}
			bw.Publish()
			return n > 0
		}, func() {
			for _, ok := br.Next(); ok; _, ok = br.Next() {
			}
			br.Release()
		}},
	}
}

// Room wakes a writer that found none, once, and no writer that sleeps for another reason.
func TestRoomWakesOnlyWriterThatFoundNone(t *testing.T) {
	for _, ring := range fullRings() {
		t.Run(ring.name, func(t *testing.T) {
			woken := 0
			s := NewSignal(wakeFunc(func() { woken++ }))
			ring.setRoom(s)
			expect := func(n int, after string) {
				t.Helper()
				if woken != n {
					t.Fatalf("woken %d times after %s, want %d", woken, after, n)
				}
			}
			s.Prepare() // the owner sleeps, for another reason
			for n := range 3 {
				if !ring.claim() {
					t.Fatal("no room after a release")
				}
				ring.release()
				expect(n, "a release that was not awaited")
				ring.claim()
				if ring.claim() {
					t.Fatal("room in a full ring")
				}
				ring.release()
				expect(n+1, "a release that was awaited")
				ring.release()
				expect(n+1, "a release of nothing")
			}
			if s.parked.Load() != 1 {
				t.Error("the flag of the other reasons is gone")
			}
		})
	}
}

// TestClaimRacingReleaseIsNotMissed lets a writer find a ring full at the moment at which the reader
// makes room. Either the claim finds the room or the writer is woken.
func TestClaimRacingReleaseIsNotMissed(t *testing.T) {
	if runtime.NumCPU() == 1 {
		t.Skip("needs two cores: on one the two steps never overlap")
	}
	for _, ring := range fullRings() {
		t.Run(ring.name, func(t *testing.T) {
			woken, found, lost, n := false, false, 0, rounds(200_000)
			ring.setRoom(NewSignal(wakeFunc(func() { woken = true })))
			duel(n, func() {
				ring.claim()
				ring.release()
				ring.claim()
				woken = false
			}, ring.release, func() { found = ring.claim() }, func() {
				if !found && !woken {
					lost++
				}
				ring.release()
			})
			if lost != 0 {
				t.Errorf("%d of %d wake-ups lost", lost, n)
			}
		})
	}
}

// A goroutine in the middle waits for slots and for room with one token: it passes on what it reads.
// All three sleep, and the bubble panics at once if a wake-up is lost.
func TestRelayStressWithTwoReasonsToSleep(t *testing.T) {
	onProcs(t, func(t *testing.T) {
		total := rounds(200_000)
		first, in := NewSPSC[int](4)
		out, last := NewBytes(64)
		writing, relaying, reading := newSleeper(), newSleeper(), newSleeper()
		first.SetSignal(writing.signal)
		in.SetSignal(relaying.signal)
		out.SetRoom(relaying.signal)
		last.SetSignal(reading.signal)
		var all sync.WaitGroup
		all.Go(func() { relay(in, out, relaying) })
		all.Go(func() {
			got := 0
			for !last.Done() {
				record, ok := last.Next()
				if !ok {
					last.Release()
					reading.sleepUnless(func() bool { return last.Len() != 0 || last.Done() })
					continue
				}
				if record[0] != byte(got) {
					t.Errorf("record %d holds %d", got, record[0])
				}
				got++
			}
			if got != total {
				t.Errorf("done after %d of %d records", got, total)
			}
		})
		for i := range total {
			for first.Claim(1) == nil {
				writing.sleepUnless(func() bool { return first.Claim(1) != nil })
			}
			first.Claim(1)[0] = i
			first.Commit(1)
			first.Publish()
		}
		first.Close()
		all.Wait()
	})
}

// relay passes slots on as records, and sleeps while there are none or there is no room.
func relay(in *Reader[int], out *BytesWriter, s *sleeper) {
	step := func() (worked bool) {
		slot := in.Batch(1)
		if slot == nil {
			return false
		}
		room := out.Claim(8)
		if room == nil {
			return false
		}
		room[0] = byte(slot[0])
		out.Commit(8)
		out.Publish()
		in.Release(1)
		return true
	}
	for !in.Done() {
		if !step() {
			s.sleepUnless(func() bool { return step() || in.Done() })
		}
	}
	out.Close()
}
