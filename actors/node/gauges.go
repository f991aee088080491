package node

import (
	"io"
	"time"

	"sluice/actors"
	"sluice/cmd/orderbook"
	"sluice/telemetry"
	"sluice/transport/listen"
)

// collectEvery keeps the actors' blocks from overflowing while nobody asks for numbers.
const collectEvery = 10 * time.Second

// WriteStats writes everything that is measured, for people. It says little before Start.
func (s *Server) WriteStats(w io.Writer) error {
	s.mu.Lock()
	p := s.pipeline
	s.mu.Unlock()
	if p == nil {
		_, err := io.WriteString(w, "not started\n")
		return err
	}
	p.Collector().Collect(0)
	return p.Collector().WriteText(w)
}

// Pipeline is the response stage, for its policy, limits and connections; nil before Start.
func (s *Server) Pipeline() *actors.Pipeline[orderbook.Report, orderbook.Answer] { return s.pipeline }

// Listener is what takes connections in, for its counters and keys.
func (s *Server) Listener() *listen.Server { return s.listener }

// collect adds up what the actors measured, until the end.
func (s *Server) collect() {
	tick := time.NewTicker(collectEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.ended:
			return
		case <-tick.C:
			s.pipeline.Collector().Collect(time.Second)
		}
	}
}

// gauges registers what the components before the pipeline count.
func (s *Server) gauges() {
	add := func(name, unit, help string, read func() float64) {
		s.pipeline.Collector().Gauge(telemetry.Gauge{Name: name, Unit: unit, Help: help, Shard: telemetry.NoShard, Read: read})
	}
	seq, in := s.sequencer, s.listener
	add("sequencer_last_event", "", "Last event sequenced.", func() float64 { return float64(seq.Sequenced()) })
	add("journal_last_event", "", "Last event on disk.", func() float64 { return float64(s.persists.Load()) })
	add("sequencer_queue", "By", "Requests on their way to the sequencer.", func() float64 { return float64(s.queue.Len()) })
	add("sequencer_queue_capacity", "By", "Room for requests on their way to the sequencer.", func() float64 { return float64(s.cfg.QueueBytes) })
	add("sequencer_events", "events", "Events sequenced in this run.", func() float64 { return float64(seq.Counts().Events) })
	add("sequencer_queries", "queries", "Queries answered in this run.", func() float64 { return float64(seq.Counts().Queries) })
	add("sequencer_refused", "requests", "Requests refused before they were sequenced.", func() float64 { return float64(seq.Counts().Refused) })
	add("sequencer_waits", "waits", "Times the sequencer waited for the journal or the pipeline.", func() float64 { return float64(seq.Counts().Waits) })
	add("listener_connections", "connections", "Connections a reader reads.", func() float64 { return float64(in.Counters().Live) })
	add("listener_handshakes", "connections", "Handshakes going on.", func() float64 { return float64(in.Counters().Handshakes) })
	add("listener_requests", "requests", "Requests read.", func() float64 { return float64(in.Counters().Requests) })
	add("listener_accept_pauses", "pauses", "Times accepting rested because descriptors or memory had run out.", func() float64 { return float64(in.Counters().AcceptPauses) })
	add("listener_crowd_pauses", "pauses", "Times accepting rested because all places for handshakes were taken.", func() float64 { return float64(in.Counters().CrowdPauses) })
	for c := listen.HandshakeTimeout; c <= listen.SetupFailed; c++ {
		s.pipeline.Collector().Gauge(telemetry.Gauge{
			Name: "listener_refused", Unit: "connections", Help: "Clients that never got in, by reason.", Shard: telemetry.NoShard,
			Label: "reason", Value: label(c), Read: func() float64 { return float64(in.Counters().Ended[c]) },
		})
	}
	add("listener_shed", "requests", "Requests above a connection's rate.", func() float64 { return float64(in.Counters().Shed) })
}
