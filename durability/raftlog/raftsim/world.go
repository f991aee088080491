package raftsim

import (
	"fmt"
	"math/rand/v2"

	"sluice/durability/raftlog"
)

// World is what the machines of a run share. It belongs to one goroutine.
type World struct {
	R        *rand.Rand
	Now      int64 // monotonic ns
	Calm     bool  // no more faults
	Slow     int   // a disk works in one of Slow turns
	Machines []*Machine
	First    int // machines with which the log begins; the others are added later
	// OnRemoved, if set, is called when a machine hears that it is not a member any more.
	OnRemoved func(*Machine)
	// OnFrame, if set, is called before a frame of a start of a machine reaches another one; false drops it.
	OnFrame func(from, to *Machine, incarnation uint64) bool
	// OnSnapshot, if set, delivers a received snapshot, in the place of Node.ReceiveSnapshot.
	OnSnapshot func(from, to *Machine, incarnation uint64, frame []byte, content raftlog.Received) error
	Power      Power // of machines with real files; nil: their disks are simulated
	Links      Links
	Judge      Judge
	Counts     Counts

	// StaleReceipts counts receipts of ended incarnations that arrived. They are rare.
	StaleReceipts int
	// Halfway counts snapshots on real disks that were there although the power was lost before they were known to be.
	// They are rare.
	Halfway int

	failure string
	hash    uint64
}

// Counts are events of disks and links.
type Counts struct {
	Crashes, Truncations, DiskStalls, Poisoned, Snapshots, Received                    int
	Dropped, Duplicated, Lost, Receipts, OldReceipts, StaleIncarnations, WonBeforeSync int
	// Bounds of memory: messages refused, steps with too much that is not on disk, or not applied. 0 with the
	// default bounds.
	InboxFull, BacklogFull, ApplyFull int
}

// NewWorld makes a world without machines.
func NewWorld(seed uint64) *World {
	w := &World{R: rand.New(rand.NewPCG(seed, 77)), Now: 1}
	w.Links = Links{w: w, queues: map[[2]int][]frame{}, cut: map[[2]int]bool{}}
	w.Judge = Judge{w: w, answered: map[uint64]uint64{}, leaders: map[uint64]uint64{},
		votes: map[[2]uint64]uint64{}, members: map[uint64]raftlog.Members{}}
	w.Slow = []int{1, 1, 4, 16}[w.R.IntN(4)]
	return w
}

// AddMachines makes n machines, with the numbers from 1 on. content is the content of an event: equal
// for equal events only. included lists the contents of the events that a snapshot includes.
func (w *World) AddMachines(n int, content func(event []byte) uint64, included func(*Snapshot) []uint64) {
	w.First = n
	for i := range n {
		w.Machines = append(w.Machines, &Machine{ID: uint64(i + 1), w: w, included: included, ended: map[uint64]Copy{},
			Durable: Copy{content: content}, Memory: Copy{content: content}})
	}
}

// Info is what the log knows of a machine.
func (w *World) Info(id uint64) string {
	return fmt.Sprintf("10.0.0.%d:1,10.0.0.%d:2", uint8(id), uint8(id))
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
