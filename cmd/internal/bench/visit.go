package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Guests has the results of the transient clients of a run.
type Guests struct {
	Wanted uint64  // scheduled within the measured time
	Served uint64  // clients that received all of their frames
	P50    float64 // ns from the scheduled connect to the last frame
	P99    float64
	Faults Faults
	First  string // description of the first violation
}

// visits is the parent's side of churn. At fixed times a client connects, receives its frames,
// checks them and disconnects. The number of concurrent visits is bounded, in case the server does
// not respond.
type visits struct {
	spec    *Spec
	address string
	clock   clock
	cancel  context.CancelFunc
	done    chan struct{}
	slots   chan struct{}
	running sync.WaitGroup

	mu   sync.Mutex
	all  Guests                  // guarded by mu
	took *hdrhistogram.Histogram // guarded by mu
}

const (
	visitsMost    = 512             // concurrent visits
	visitPatience = 5 * time.Second // limit of one visit
)

// startVisits starts visits at the time from. Without churn it does nothing.
func startVisits(spec *Spec, address string, c clock, from, to int64) *visits {
	ctx, cancel := context.WithCancel(context.Background())
	v := &visits{
		spec: spec, address: address, clock: c, cancel: cancel, done: make(chan struct{}),
		slots: make(chan struct{}, visitsMost), took: hdrhistogram.New(1, latencyMost, 3),
	}
	go v.run(ctx, from, to)
	return v
}

func (v *visits) run(ctx context.Context, from, to int64) {
	defer close(v.done)
	if v.spec.Churn == 0 {
		return
	}
	every := int64(time.Second) / int64(v.spec.Churn)
	for n := int64(0); from+n*every < to && ctx.Err() == nil; n++ {
		at := from + n*every
		v.clock.sleepUntil(at)
		v.mu.Lock()
		v.all.Wanted++
		v.mu.Unlock()
		select {
		case v.slots <- struct{}{}:
		default:
			continue // too many visits are under way: this one is missed
		}
		v.running.Go(func() {
			defer func() { <-v.slots }()
			faults, first := v.visit(v.spec.Connections+int(n), at)
			v.mu.Lock()
			defer v.mu.Unlock()
			v.all.Faults.add(faults)
			if v.all.First == "" {
				v.all.First = first
			}
			if faults == (Faults{}) {
				v.all.Served++
				_ = v.took.RecordValue(min(max(v.clock.now()-at, 1), latencyMost)) // within the bounds
			}
		})
	}
}

// visit runs one client. at is its scheduled time.
func (v *visits) visit(index int, at int64) (Faults, string) {
	c := checker{conn: uint64(index) + 1}
	if err := v.stay(&c, index, at); err != nil {
		c.faults.Closed++
		c.note("transient client: %v", err)
	}
	c.end(guestFrames)
	return c.faults, c.first
}

func (v *visits) stay(c *checker, index int, at int64) error {
	fd, _, err := dial(v.spec, v.address, hello{index: uint32(index)})
	if err != nil {
		return err
	}
	conn := os.NewFile(uintptr(fd), "guest")
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(visitPatience)); err != nil {
		return fmt.Errorf("deadline: %w", err)
	}
	buf := make([]byte, guestFrames*v.spec.Frame+64)
	for have := 0; c.next < guestFrames; {
		n, err := conn.Read(buf[have:])
		if err != nil {
			return errors.Join(err, io.ErrUnexpectedEOF)
		}
		have += n
		for {
			f, size, err := nextFrame(buf[:have])
			if err != nil {
				return err
			}
			if size == 0 {
				break
			}
			have = copy(buf, buf[size:have])
			if f.Conn != 0 {
				c.frame(&f)
				c.early(v.clock.now()-at, int64(v.spec.Lag))
			}
		}
		if have == len(buf) {
			return errors.New("received more than was published")
		}
	}
	return nil
}

// end waits for the visits that are under way. No more visits start.
func (v *visits) end() Guests {
	<-v.done
	v.running.Wait()
	v.all.P50, v.all.P99 = float64(v.took.ValueAtQuantile(50)), float64(v.took.ValueAtQuantile(99))
	return v.all
}

// stop cancels further visits and waits for the others.
func (v *visits) stop() {
	v.cancel()
	<-v.done
	v.running.Wait()
}
