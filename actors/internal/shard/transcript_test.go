package shard

import (
	"cmp"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/actors/internal/run"
	"sluice/actors/internal/transcript"
	"sluice/durability"
	"sluice/encode"
	"sluice/mailbox"
	"sluice/telemetry"
	"sluice/transport"
)

// The transcripts in testdata/*.txt show a shard alone, with what it asks of the kernel. The clock
// moves only by "pass"; a tick is due every 50 ms. The ring carries out four requests at a time.
//
//	open                     a new shard; limits: hard=B soft=B soft-for=D no-progress=D; budget=B of all
//	                         send buffers; heartbeat=D; flush=B, the unsent bytes that queue a send at once;
//	                         tape=B and history=B, the largest of each
//	connect                  clients' sockets, one a line: client=C [read]; with "read" a reader uses it
//	                         until it disconnects
//	disconnect client=C      its reader releases the socket: reason=R accepted=N
//	frames                   responses, one a line: client=C size=B [last] [failed]; they wait in the inbox
//	run client=C             responses in one record, one a line: size=B [last]; from=N, the position of the first
//	topics                   records of topics, one a line: publish topic=T seq=N size=B [key=K] [failed];
//	                         join client=C topic=T seq=N [mode=M], resume (the same), leave client=C topic=T
//	socket client=C          the kernel's side: room=B or errno=E for what follows, unread=B by the peer
//	step                     the shard steps until it finds nothing to do
//	pass time=D              time passes, with a step at every tick
//	busy client=C n=N        N requests of a client were shed
//	kick client=C            an operator ends a connection
//	farewell address=A       the end of the pipeline sends clients to another server
//	drain, stop, fence       the pipeline ends: within=D, its deadline
//	clients                  the connections as a list shows them
//	ledger                   responses delivered and dropped, and topic frames
func TestShardTranscripts(t *testing.T) {
	transcript.Run(t, "testdata/*.txt", func(t *testing.T) func(c *transcript.Command) string {
		s := &script{t: t}
		return s.carryOut
	})
}

// script is a shard that a transcript drives.
type script struct {
	t        *testing.T
	shard    *Shard
	kernel   *kernel
	frames   *mailbox.BytesWriter
	events   *mailbox.Writer[Event]
	notices  *mailbox.Reader[Notice]
	feedback *mailbox.Reader[Feedback]
	permit   atomic.Int64
	limits   atomic.Pointer[[]transport.Limits]
	phase    run.Phase
	farewell atomic.Pointer[encode.Control]
	now      int64
	position uint64 // responses so far, as positions in the slot ring
	done     bool   // shown as done
}

func (s *script) carryOut(c *transcript.Command) string {
	name := c.Name()
	client := uint64(c.Number("client", 0))
	switch name {
	case "open":
		s.open(c)
		return ""
	case "connect":
		for _, line := range c.Input {
			s.connect(line)
		}
	case "disconnect":
		s.tell(Event{
			Kind: EventDisconnect, Conn: client, Owed: uint64(c.Number("accepted", 0)),
			Reason: s.reason(c.Text("reason")),
		})
	case "frames":
		for _, line := range c.Input {
			s.append(line)
		}
		s.frames.Publish()
	case "run":
		s.appendRun(c, client)
		s.frames.Publish()
	case "topics":
		for _, line := range c.Input {
			s.appendTopic(line)
		}
		s.frames.Publish()
	case "socket":
		s.change(int32(client), c)
	case "busy":
		n := c.Number("n", 1)
		s.tell(Event{Kind: EventBusy, Conn: client, Owed: uint64(n), Frame: string(make([]byte, 13*n))})
	case "kick":
		s.tell(Event{Kind: EventKick, Conn: client, Reason: transport.ReasonKicked})
	case "step":
		return s.step()
	case "pass":
		return s.pass(c.Duration("time"))
	case "farewell":
		s.farewell.Store(&encode.Control{Kind: encode.ControlClose, Reason: encode.CloseElsewhere,
			Address: c.Text("address")})
	case "drain":
		s.end(run.PhaseDraining, c.Duration("within"))
	case "stop":
		s.end(run.PhaseStopping, c.Duration("within"))
	case "fence":
		s.end(run.PhaseFenced, c.Duration("within"))
	case "clients":
		return s.clients()
	case "ledger":
		return s.ledger()
	default:
		s.t.Fatalf("unknown command %q", name)
	}
	return s.shown()
}

func (s *script) open(c *transcript.Command) {
	*s = script{t: s.t, kernel: newKernel(), now: int64(time.Hour)}
	limits := transport.DefaultLimits()
	limits.HardBytes = c.Number("hard", limits.HardBytes)
	limits.SoftBytes = c.Number("soft", min(limits.SoftBytes, limits.HardBytes))
	limits.SoftFor = cmp.Or(c.Duration("soft-for"), limits.SoftFor)
	limits.NoProgress = cmp.Or(c.Duration("no-progress"), limits.NoProgress)
	s.limits.Store(&[]transport.Limits{limits})
	slab, err := transport.NewSlab(64<<10, int64(c.Number("budget", 1<<20)))
	if err != nil {
		s.t.Fatal(err)
	}
	frames, inbox := mailbox.NewBytes(1 << 16)
	events, queue := mailbox.NewSPSC[Event](64)
	notices, observer := mailbox.NewSPSC[Notice](64)
	reports, producer := mailbox.NewSPSC[Feedback](64)
	s.frames, s.events, s.notices, s.feedback = frames, events, observer, producer
	s.shard = New(Parts{
		Config: Config{
			Framing:    &encode.Framing{},
			FlushBytes: c.Number("flush", 1<<16), FlushSlots: 256, DrainMax: 1024,
			Tick:      50 * time.Millisecond,
			Heartbeat: cmp.Or(c.Duration("heartbeat"), time.Minute), DrainSpread: 1,
			Pause: time.Second,
			Topics: TopicConfig{TapeBytes: c.Number("tape", 1<<12), HistoryBytes: c.Number("history", 1<<12),
				Linger: 10 * time.Second},
		},
		Frames: inbox, Events: queue, Notices: notices, Feedback: reports, Ring: s.kernel, Slab: slab,
		Sockets: new(Sockets), Limits: &s.limits, Permit: &s.permit, Phase: &s.phase,
		Farewell: &s.farewell,
		Recorder: telemetry.NewCollector(telemetry.NewClock()).Register("egress", 0),
		Box:      telemetry.NewTraceBox(8),
		Sampler:  telemetry.NewSampler(telemetry.Rules{}), Alarm: new(durability.Degradation),
	})
}

func (s *script) connect(line *transcript.Line) {
	client := line.Number("client", 0)
	s.kernel.sockets[int32(client)] = &socket{room: 1 << 30}
	s.permit.Add(1)
	s.tell(Event{
		Kind: EventConnect, Conn: uint64(client), FD: int32(client), WriteOnly: !line.Has("read"),
		Since: s.position,
		Ack: func(err error) {
			if err != nil {
				s.permit.Add(-1)
				s.kernel.show("client %d: %v", client, err)
			}
		},
	})
}

// tell puts an event into the shard's mailbox.
func (s *script) tell(ev Event) {
	ev.Hash = transport.Hash(ev.Conn)
	s.events.Claim(1)[0] = ev
	s.events.Commit(1)
	s.events.Publish()
}

// append puts a response into the inbox, as the encoder does.
func (s *script) append(line *transcript.Line) {
	client, size := uint64(line.Number("client", 0)), line.Number("size", 0)
	room := s.frames.Claim(RecordBytes + size)
	r := Record{Conn: client, Hash: transport.Hash(client), Position: s.position, Received: s.now}
	if line.Has("last") {
		r.Flags |= RecordLast
	}
	if line.Has("failed") {
		r.Flags |= RecordFailed
	}
	*RecordIn(room) = r
	s.frames.Commit(RecordBytes + size)
	s.position++
}

func (s *script) change(fd int32, c *transcript.Command) {
	s.kernel.change(fd, func(k *socket) {
		k.room = c.Number("room", k.room)
		k.unread = c.Number("unread", k.unread)
		if name := c.Text("errno"); name != "" {
			for k.errno = 0; unix.ErrnoName(k.errno) != name; k.errno++ {
				if k.errno > 200 {
					s.t.Fatalf("unknown error number %q", name)
				}
			}
		}
	})
}

func (s *script) reason(name string) transport.Reason {
	for r := range transport.Reason(transport.NumReasons) {
		if r.String() == name {
			return r
		}
	}
	s.t.Fatalf("unknown reason %q", name)
	return transport.ReasonNone
}

func (s *script) end(phase uint32, within time.Duration) {
	if phase != run.PhaseFenced && !s.phase.Ending() {
		s.frames.Close()
	}
	s.phase.Advance(phase, s.now+int64(cmp.Or(within, time.Hour)))
}

// step shows what the shard asks of the kernel and reports until it finds nothing to do.
func (s *script) step() string {
	for steps := 0; s.shard.Step(s.now) > 0; steps++ {
		if steps == 1000 {
			s.t.Fatal("the shard finds work forever")
		}
	}
	if s.shard.Done() && !s.done {
		s.done = true
		s.kernel.show("done")
	}
	return s.shown()
}

// shown returns what was shown since it was last called, then the notices.
func (s *script) shown() string {
	for _, n := range s.notices.Batch(64) {
		reason := ""
		if n.Kind == NoticeClosed {
			reason = ", " + n.Reason.String()
		}
		kind := [...]string{NoticeClosed: "is closed", NoticeSlow: "is slow",
			NoticeRecovered: "has recovered"}[n.Kind]
		s.kernel.show("notice: client %d %s%s; %d B unsent", n.Conn, kind, reason, n.Unsent)
		s.notices.Release(1)
	}
	s.showFeedback()
	text := s.kernel.shown.String()
	s.kernel.shown.Reset()
	return text
}

func (s *script) pass(d time.Duration) string {
	var b strings.Builder
	for passed := time.Duration(0); passed < d; {
		piece := min(s.shard.cfg.Tick, d-passed)
		passed += piece
		s.now += int64(piece)
		if text := s.step(); text != "" {
			fmt.Fprintf(&b, "after %v:\n  %s\n", passed,
				strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n  "))
		}
	}
	return b.String()
}

func (s *script) clients() string {
	var b strings.Builder
	for i := range s.shard.table.conns {
		c := &s.shard.table.conns[i]
		if !c.Has(transport.StateOpen) {
			continue
		}
		f := s.shard.figures(c, s.now)
		fmt.Fprintf(&b, "client %d: %d B sent, %d B unsent of %d responses", f.Conn, f.Sent,
			f.Unsent, f.Responses)
		for _, state := range []struct {
			is   bool
			text string
		}{
			{f.Lag > 0, fmt.Sprintf("blocked for %v", f.Lag)}, {f.Slow, "slow"},
			{f.Half, "half-closed"}, {f.Closing, "closing"},
		} {
			if state.is {
				b.WriteString(", " + state.text)
			}
		}
		b.WriteString("\n")
	}
	return fmt.Sprintf("%s%d permits in use\n", b.String(), s.permit.Load())
}

func (s *script) ledger() string {
	var b strings.Builder
	counters := &s.shard.rec.B.C
	fmt.Fprintf(&b, "taken from the inbox: %d\ndelivered: %d\n", counters[telemetry.EgressSlots],
		counters[telemetry.EgressFramesSent])
	for why := range telemetry.DropReason(telemetry.NumDropReasons) {
		if n := counters[why.Counter()]; n > 0 {
			fmt.Fprintf(&b, "dropped, %s: %d\n", why.Name(), n)
		}
	}
	topicLedger(&b, counters)
	return b.String()
}
