package run_test

import (
	"fmt"

	"sluice/actors/internal/run"
	"sluice/telemetry"
)

// countdown is an actor that has three steps of work.
type countdown struct{ left int }

func (c *countdown) Name() string { return "countdown" }
func (c *countdown) Step(int64) int {
	if c.left == 0 {
		return 0
	}
	fmt.Println(c.left)
	c.left--
	return 1
}
func (c *countdown) Done() bool                    { return c.left == 0 }
func (c *countdown) Close() error                  { fmt.Println("closed"); return nil }
func (c *countdown) Park()                         {}
func (c *countdown) Unpark()                       {}
func (c *countdown) Recorder() *telemetry.Recorder { return nil }

// A runner steps an actor until it is done, and closes it.
func Example() {
	g := run.NewGroup("example", run.NewAdaptive(), &countdown{left: 3})
	r := run.NewRunner(func() int64 { return 0 }, nil, g)
	r.Start()
	fmt.Println(r.Wait())
	// Output:
	// 3
	// 2
	// 1
	// closed
	// <nil>
}
