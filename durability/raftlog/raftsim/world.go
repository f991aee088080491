package raftsim

import (
	"fmt"
	"math/rand/v2"
)

// World is what the machines of a run share. It belongs to one goroutine.
type World struct {
	R        *rand.Rand
	Now      int64 // monotonic ns
	Calm     bool  // no more faults
	Slow     int   // a disk works in one of Slow turns
	Machines []*Machine
	Links    Links
	Judge    Judge
	Counts   Counts

	// StaleReceipts counts receipts of ended incarnations that arrived. They are rare.
	StaleReceipts int

	failure string
	hash    uint64
}

// Counts are events of disks and links.
type Counts struct {
	Crashes, Truncations, DiskStalls, Poisoned, Snapshots, Received                    int
	Dropped, Duplicated, Lost, Receipts, OldReceipts, StaleIncarnations, WonBeforeSync int
}

// NewWorld makes a world without machines.
func NewWorld(seed uint64) *World {
	w := &World{R: rand.New(rand.NewPCG(seed, 77)), Now: 1}
	w.Links = Links{w: w, queues: map[[2]int][]frame{}, cut: map[[2]int]bool{}}
	w.Judge = Judge{w: w, answered: map[uint64]uint64{}, leaders: map[uint64]uint64{}}
	w.Slow = []int{1, 1, 4, 16}[w.R.IntN(4)]
	return w
}

// AddMachines makes n machines, with the numbers from 1 on. content is the content of an event: equal
// for equal events only. included lists the contents of the events that a snapshot includes.
func (w *World) AddMachines(n int, content func(event []byte) uint64, included func(*Snapshot) []uint64) {
	for i := range n {
		w.Machines = append(w.Machines, &Machine{ID: uint64(i + 1), w: w, included: included, ended: map[uint64]Copy{},
			Durable: Copy{content: content}, Memory: Copy{content: content}})
	}
}

// Fail fails the run; the first failure is kept.
func (w *World) Fail(format string, args ...any) {
	if w.failure == "" {
		w.failure = fmt.Sprintf(format, args...)
	}
}

// Failure is the first failure, "" if there is none.
func (w *World) Failure() string { return w.failure }

// OneIn draws whether a fault happens that has a chance of one in n. There is none while it is calm.
func (w *World) OneIn(n int) bool { return !w.Calm && w.R.IntN(n) == 0 }

// Note enters a number into the run's hash: two runs are the same if they noted the same.
func (w *World) Note(v uint64) { w.hash = (w.hash ^ v) * 0x9E3779B97F4A7C15 }

// Hash is the hash of everything that was noted.
func (w *World) Hash() uint64 { return w.hash }

// Pass lets a little time pass, and up to two frames arrive.
func (w *World) Pass() {
	w.Now += int64(w.R.IntN(400_000))
	for range 2 {
		from, to := 1+w.R.IntN(len(w.Machines)), 1+w.R.IntN(len(w.Machines))
		w.Links.deliver([2]int{from, to})
	}
}

// EndFaults makes the world calm: links are whole, and disks work.
func (w *World) EndFaults() {
	w.Calm = true
	w.Links.Heal()
	for _, m := range w.Machines {
		m.stalled = 0
	}
}
