package transport

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// checkIndex verifies the invariants of indexEntry, and that the index holds exactly the model.
func checkIndex(t testing.TB, x *Index, model map[uint64]uint32, hash func(uint64) uint64) {
	t.Helper()
	if x.Len() != len(model) {
		t.Fatalf("Len is %d, model holds %d", x.Len(), len(model))
	}
	for id, slot := range model {
		if got, found := x.Get(hash(id), id); !found || got != slot {
			t.Fatalf("Get(%d) = %d, %t; want %d, true (table of %d, %d used)", id, got, found, slot,
				len(x.entries), x.used)
		}
	}
	size := uint64(len(x.entries))
	taken := 0
	for at, entry := range x.entries {
		if entry.taken == 0 {
			continue
		}
		taken++
		if _, known := model[entry.id]; !known {
			t.Fatalf("entry %d holds id %d, which was deleted", at, entry.id)
		}
		for place := uint64(entry.hash) % size; place != uint64(at); place = (place + 1) % size {
			if x.entries[place].taken == 0 {
				t.Fatalf("id %d at %d has the hole %d between it and its home", entry.id, at, place)
			}
		}
	}
	if taken != len(model) {
		t.Fatalf("%d entries taken, model holds %d", taken, len(model))
	}
	if size > 0 && uint64(taken) > size/4*3 {
		t.Fatalf("%d of %d entries taken, more than three quarters", taken, size)
	}
}

func TestIndexPutGetDelete(t *testing.T) {
	var x Index
	if _, found := x.Get(Hash(7), 7); found {
		t.Error("an empty index found something")
	}
	if x.Delete(Hash(7), 7) {
		t.Error("an empty index deleted something")
	}
	if !x.Put(Hash(7), 7, 0) || x.Put(Hash(7), 7, 5) {
		t.Error("Put must succeed the first time and fail the second time")
	}
	if slot, found := x.Get(Hash(7), 7); !found || slot != 0 {
		t.Errorf("Get = %d, %t; a Put that fails must change nothing", slot, found)
	}
	if !x.Delete(Hash(7), 7) || x.Delete(Hash(7), 7) || x.Len() != 0 {
		t.Error("Delete must succeed the first time and fail the second time")
	}
	if !x.Put(Hash(7), 7, 5) {
		t.Error("Put must succeed after Delete")
	}
	// Id 0 looks like an empty entry and must not be found.
	if _, found := x.Get(Hash(0), 0); found {
		t.Error("Get found id 0, which was not put")
	}
}

func TestDuplicatePutDoesNotGrowAFullIndex(t *testing.T) {
	var x Index
	for id := range uint64(indexMin / 4 * 3) {
		x.Put(Hash(id), id, uint32(id))
	}
	if x.Put(Hash(3), 3, 99) {
		t.Error("a duplicate was accepted")
	}
	if len(x.entries) != indexMin {
		t.Errorf("table of %d entries, want %d", len(x.entries), indexMin)
	}
}

func TestIndexWithCollisions(t *testing.T) {
	for _, test := range []struct {
		name string
		hash func(uint64) uint64
	}{
		{"all at one place", func(uint64) uint64 { return 5 }},
		{"all at the last place, so that probes wrap around", func(uint64) uint64 { return 1<<64 - 1 }},
		{"two adjacent places", func(id uint64) uint64 { return 14 + id%2 }},
		{"neighbours", func(id uint64) uint64 { return id % 8 }},
		{"the real hash", Hash},
	} {
		t.Run(test.name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(3, 4))
			var x Index
			model := map[uint64]uint32{}
			for step := range 3000 {
				id := random.Uint64N(40)
				if random.IntN(2) == 0 {
					_, had := model[id]
					if x.Put(test.hash(id), id, uint32(step)) == had {
						t.Fatalf("step %d: Put(%d) returned the wrong result", step, id)
					}
					if !had {
						model[id] = uint32(step)
					}
				} else {
					_, had := model[id]
					if x.Delete(test.hash(id), id) != had {
						t.Fatalf("step %d: Delete(%d) returned the wrong result", step, id)
					}
					delete(model, id)
				}
				checkIndex(t, &x, model, test.hash)
			}
		})
	}
}

func TestPutDoesNotAllocateAfterReserve(t *testing.T) {
	var x Index
	x.Reserve(10_000)
	size := len(x.entries)
	next := uint64(0)
	if n := testing.AllocsPerRun(1, func() {
		for range 5000 {
			x.Put(Hash(next), next, uint32(next))
			next++
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
	if len(x.entries) != size || x.Len() != 10_000 {
		t.Errorf("table of %d entries with %d used, want %d and 10000", len(x.entries), x.Len(), size)
	}
	x.Reserve(1)
	if len(x.entries) != size {
		t.Error("Reserve made the table smaller")
	}
}

func TestPutPanicsOnTheReservedSlot(t *testing.T) {
	var x Index
	if !x.Put(1, 1, 1<<32-2) {
		t.Error("Put rejected the largest slot")
	}
	if slot, _ := x.Get(1, 1); slot != 1<<32-2 {
		t.Errorf("Get = %d", slot)
	}
	defer func() {
		if text := fmt.Sprint(recover()); text != "transport: Index.Put(id 2): slot 4294967295 "+
			"is reserved; slots end at 4294967294" {
			t.Errorf("panic is %q", text)
		}
	}()
	x.Put(2, 2, 1<<32-1)
}

// FuzzIndex compares the index with a Go map. Three bytes are one operation: its kind, and one of
// 4096 ids. The first byte decides how many bits of the hash are used, so that long runs and
// wrap-around are common.
func FuzzIndex(f *testing.F) {
	f.Add([]byte{2, 0, 1, 0, 0, 2, 0, 0, 3, 0, 1, 1, 0, 0, 1, 0})
	f.Add([]byte{0, 0, 1, 0, 0, 2, 0, 0, 3, 0, 1, 2, 0, 1, 1, 0})
	f.Add([]byte{64, 0, 1, 0, 2, 1, 0})
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) == 0 {
			return
		}
		keep := uint64(script[0])
		hash := func(id uint64) uint64 {
			if keep < 16 {
				// Few distinct homes, at the end of any table.
				return ^(Hash(id) % (keep + 1))
			}
			return Hash(id)
		}
		var x Index
		model := map[uint64]uint32{}
		for at := 1; at+2 < len(script); at += 3 {
			id := uint64(script[at+1]) | uint64(script[at+2]&0xf)<<8
			slot, had := model[id]
			switch script[at] % 3 {
			case 0:
				if x.Put(hash(id), id, uint32(at)) == had {
					t.Fatalf("Put(%d) returned the wrong result", id)
				}
				if !had {
					model[id] = uint32(at)
				}
			case 1:
				if x.Delete(hash(id), id) != had {
					t.Fatalf("Delete(%d) returned the wrong result", id)
				}
				delete(model, id)
			case 2:
				if got, found := x.Get(hash(id), id); found != had || got != slot {
					t.Fatalf("Get(%d) = %d, %t; want %d, %t", id, got, found, slot, had)
				}
			}
		}
		checkIndex(t, &x, model, hash)
	})
}
