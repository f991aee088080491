package durability

import (
	"sync"
	"sync/atomic"
	"testing"
)

func BenchmarkEvaluate(b *testing.B) {
	full := view(1<<40, [][2]Seq{{5, 5}, {4, 4}, {7, 7}, {2, 2}, {9, 9}, {6, 6}, {8, 8}, {3, 3},
		{5, 5}, {4, 4}, {7, 7}, {2, 2}, {9, 9}, {6, 6}, {8, 8}}...)
	for _, bench := range []struct {
		name, policy string
		view         *View
	}{
		{"local-1node", "local", view(100)},
		{"hybrid-3nodes", "hybrid", view(100, [2]Seq{90, 80}, [2]Seq{95, 70})},
		{"4clauses-3nodes", "persisted>=1 && persisted>=2 && in_memory>=2 && in_memory>=3",
			view(100, [2]Seq{90, 80}, [2]Seq{95, 70})},
		{"persisted9-16nodes", "persisted>=9", full},
	} {
		b.Run(bench.name, func(b *testing.B) {
			p := must(b, bench.policy, MaxNodes)
			var sum Seq
			b.ReportAllocs()
			for b.Loop() {
				sum += p.Evaluate(bench.view).Position
			}
			_ = sum
		})
	}
}

func BenchmarkSnapshot(b *testing.B) {
	for _, writers := range []int{0, 1} {
		name := map[int]string{0: "quiet", 1: "one-busy-writer"}[writers]
		b.Run(name, func(b *testing.B) {
			c := NewCursors(2)
			c.Activate(1, 0, 0)
			c.Activate(2, 0, 0)
			var done atomic.Bool
			var running sync.WaitGroup
			for range writers {
				running.Go(func() {
					for n := Seq(1); !done.Load(); n++ {
						c.Advance(1, n, n)
					}
				})
			}
			var v View
			refused := 0
			b.ReportAllocs()
			for b.Loop() {
				if !c.Snapshot(&v) {
					refused++
				}
			}
			done.Store(true)
			running.Wait()
			b.ReportMetric(float64(refused)/float64(b.N), "refused/op")
		})
	}
}

func BenchmarkAdvance(b *testing.B) {
	c := NewCursors(2)
	feed := c.Activate(1, 0, 0)
	n := Seq(0)
	b.ReportAllocs()
	for b.Loop() {
		n++
		feed.Advance(n, n)
	}
}

func BenchmarkAdopt(b *testing.B) {
	s := NewSwitch(Hybrid())
	b.ReportAllocs()
	for b.Loop() {
		s.Adopt()
	}
}

func BenchmarkObserve(b *testing.B) {
	var d Degradation
	now := int64(0)
	b.ReportAllocs()
	for b.Loop() {
		now += 1000
		d.Observe(now, false)
	}
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse("persisted>=1 && in_memory>=2", 3); err != nil {
			b.Fatal(err)
		}
	}
}
