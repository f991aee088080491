package trials

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"testing"
	"time"

	"sluice/actors"
	"sluice/telemetry"
	"sluice/transport"
)

// mostIdle is what an idle connection may take, in bytes.
const mostIdle = 512

// An idle connection takes at most 512 B of the server's memory (R26), measured with ten thousand
// of them as the growth of the resident set, and of heap and stacks. The server has a process to
// itself, in which nothing else runs. Nothing is sent meanwhile: a shard that has sent something, such as
// heartbeats, keeps one segment of its send buffers, 1 MiB, for all its connections together.
func TestMemoryOfIdleConnection(t *testing.T) {
	engines(t, func(t *testing.T, engine transport.Mode) {
		n := scale(2_000, 10_000, 10_000)
		needFiles(t, n+200)
		server := spawn(t, roleMemory, engine, n)
		clients := spawn(t, roleIdle, "tcp", server.hear("ready")[0], n)
		clients.hear("ready")
		fmt.Fprintln(server.in, "measure")
		var grown [2]int
		for i, text := range server.hear("grown") {
			var err error
			if grown[i], err = strconv.Atoi(text); err != nil {
				t.Fatal(err)
			}
		}
		heap, resident := grown[0]/n, grown[1]/n
		t.Logf("%d idle connections: %d B of heap and stacks each, %d B of resident set each", n, heap, resident)
		if heap > mostIdle {
			t.Errorf("%d B of heap and stacks for an idle connection, want at most %d", heap, mostIdle)
		}
		if resident > mostIdle && !testing.Short() { // with few connections the reserves of the runtime dominate
			t.Errorf("%d B of resident set for an idle connection, want at most %d", resident, mostIdle)
		}
		clients.end()
		server.end()
	})
}

// measureIdle is a server that reports how much it grew by n idle connections, in bytes of heap and
// stacks and of resident set.
func measureIdle(t *testing.T, engine string, n int) {
	mode, err := transport.ParseMode(engine)
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, options{engine: mode, max: 16 << 10, ids: 16, mute: true, heartbeat: time.Hour})
	heap, resident := memory(t)
	fmt.Printf("\nready %s\n", r.tcp.address)
	in := bufio.NewScanner(os.Stdin)
	in.Scan() // the clients are connected
	until(t, "all clients to be connected", func() bool { return r.pipeline.Connections() == n })
	heapThen, residentThen := memory(t)
	late := time.After(10 * time.Second)
	until(t, "the handshakes to be over", func() bool { // on a loaded machine some are still under way
		select {
		case <-late:
			return true
		default:
		}
		h, r := memory(t)
		heapThen, residentThen = min(heapThen, h), min(residentThen, r)
		return heapThen-heap <= n*mostIdle && (residentThen-resident <= n*mostIdle || n < 10_000)
	})
	fmt.Printf("\ngrown %d %d\n", heapThen-heap, residentThen-resident)
	in.Scan() // the end of standard input
	until(t, "all connections to end", func() bool { return r.pipeline.Connections() == 0 })
	r.drain()
}

// memory returns the bytes of heap and stacks in use and of the resident set, after unused memory
// was returned to the system.
func memory(t testing.TB) (heap, resident int) {
	t.Helper()
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var total, pages int
	if _, err := fmt.Sscan(string(text), &total, &pages); err != nil {
		t.Fatal(err)
	}
	return int(m.HeapAlloc + m.StackInuse), pages * os.Getpagesize()
}

// However much blocked clients are owed, the buffers of a shard stay within its budget. The
// connection with most unsent bytes is closed first, and clients that read are not affected.
func TestShardMemoryStaysWithinItsBudget(t *testing.T) {
	engines(t, func(t *testing.T, engine transport.Mode) {
		const budget, size, many = 8 << 20, 1000, 60
		limits := lenient()
		r := newRig(t, options{engine: engine, shards: 1, budget: budget, limits: limits, sendBuffer: 4608})
		stop, checked := make(chan struct{}), watch(r.followers(10, 200))
		streamed := r.stream(2000, endless, stop)
		heap, _ := memory(t)

		mute := func() *reader {
			h := r.tcp
			h.receive = 4 << 10
			c := r.dial(h, size)
			r.need(c.follow())
			return c
		}
		owe := func(c *reader, bytes int) (conn uint64) { // all at once
			r.call(func(f *feed) { conn = f.to(c.token, bytes/size); f.forget(conn) })
			return conn
		}
		worst := owe(mute(), 1000<<10) // near the hard limit, in a block of 1 MiB
		var most float64
		look := func() { most = max(most, r.gauge(telemetry.EgressHeld)) }
		rounds := scale(1, 1, 50)
		for range rounds {
			for range many {
				owe(mute(), 400<<10) // 60 of these come to 24 MiB
				look()
			}
		}
		until(t, "the budget to be enforced", func() bool { look(); return r.ended(transport.ReasonShardBudget) >= many/3 })
		first := r.first(transport.ReasonShardBudget)
		if first.Conn != worst {
			t.Errorf("connection %d was ended first, with %d B unsent; connection %d had more", first.Conn, first.Unsent, worst)
		}
		r.closed(worst)
		heapThen, _ := memory(t)
		t.Logf("%d blocked clients owed %d MiB: at most %.1f MiB held of a budget of %d MiB, heap grew by %.1f MiB, %d ended for the budget, the first with %d B unsent",
			rounds*many+1, rounds*many*400>>10+1, most/(1<<20), budget>>20, float64(heapThen-heap)/(1<<20), r.ended(transport.ReasonShardBudget), first.Unsent)
		if most > budget {
			t.Errorf("the shard held %.0f B, its budget is %d", most, budget)
		}
		if grown := heapThen - heap; grown > budget+8<<20 {
			t.Errorf("the heap grew by %d B, with a budget of %d", grown, budget)
		}
		close(stop)
		<-streamed
		r.need(<-checked)
		look()
		if most > budget {
			t.Errorf("the shard held %.0f B in the end, its budget is %d", most, budget)
		}
		r.end(true, r.pipeline.Stop)
	})
}

// ended counts the connections that were closed for a reason.
func (r *rig) ended(why transport.Reason) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, notice := range r.notices {
		if notice.Kind == actors.NoticeClosed && notice.Reason == why {
			n++
		}
	}
	return n
}

// first returns the earliest notice of a connection closed for a reason.
func (r *rig) first(why transport.Reason) actors.ConnNotice {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, notice := range r.notices {
		if notice.Kind == actors.NoticeClosed && notice.Reason == why {
			return notice
		}
	}
	return actors.ConnNotice{}
}
