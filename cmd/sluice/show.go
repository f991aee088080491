package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"sluice/cmd/orderbook"
	"sluice/transport/wire"
)

// screen prints responses as text or JSON. It belongs to one goroutine.
type screen struct {
	w     io.Writer
	json  bool
	clock bool // begins lines with the time of day
}

// verdict is the meaning of a frame for its request.
type verdict uint8

const (
	more    verdict = iota // more frames follow
	ended                  // the response is complete
	refused                // the request was rejected
	shed                   // the request was shed; no other frame follows
)

// frame prints one frame of the server.
func (s *screen) frame(tag uint8, body []byte) (verdict, error) {
	switch tag {
	case wire.TagBatchEnd:
		return ended, nil
	case wire.TagEngineError:
		s.line("error", map[string]any{},
			"rejected: the request is malformed, or the role of the key may not send it")
		return refused, nil
	case wire.TagServerBusy:
		s.line("busy", map[string]any{}, "the server shed the request; it was not executed")
		return shed, nil
	case wire.TagHeartbeat:
		s.line("heartbeat", map[string]any{}, "the server is alive")
		return more, nil
	}
	if !orderbook.IsReport(tag) {
		a, err := orderbook.DecodeAnswer(tag, body)
		if err != nil {
			return more, fmt.Errorf("the server sent a frame that this client cannot decode: %w", err)
		}
		s.answer(a)
		return more, nil
	}
	var r orderbook.Report
	if err := orderbook.DecodeReport(tag, body, &r); err != nil {
		return more, fmt.Errorf("the server sent a frame that this client cannot decode: %w", err)
	}
	s.report(&r)
	if tag == orderbook.TagRejected {
		return refused, nil
	}
	return more, nil
}

func plural(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// done prints that a response is complete.
func (s *screen) done(took time.Duration) {
	s.line("done", map[string]any{"round_trip_ns": took.Nanoseconds()},
		"completed in "+took.Round(time.Microsecond).String())
}

func (s *screen) line(name string, all map[string]any, text string) {
	if s.json {
		all["type"] = name
		b, _ := json.Marshal(all) // strings and numbers only
		fmt.Fprintf(s.w, "%s\n", b)
		return
	}
	clock := ""
	if s.clock {
		clock = time.Now().Format("15:04:05.000  ")
	}
	fmt.Fprintf(s.w, "%s%-10s %s\n", clock, name, text)
}
