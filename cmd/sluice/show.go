package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"sluice/cmd/orderbook"
	"sluice/transport/client"
	"sluice/transport/wire"
)

// screen prints responses as text or JSON. response, unasked and show may be called from any
// goroutine; each prints its lines together.
type screen struct {
	mu    sync.Mutex // guards w
	w     io.Writer
	json  bool
	clock bool // begins lines with the time of day
}

// response prints the response to a request. executed is false if the server says that the request
// was not executed. The error is that of a response that did not arrive or cannot be decoded.
func (s *screen) response(r client.Response, failure error, took time.Duration) (executed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var refusal *client.RefusedError
	switch {
	case errors.Is(failure, client.ErrBusy):
		s.line("busy", map[string]any{}, "the server shed the request; it was not executed")
		return false, nil
	case errors.As(failure, &refusal):
		text := "refused: the request is malformed: " + refusal.Reason.String()
		if refusal.Reason == wire.RefusalRole {
			text = "refused: the role of the key may not send it"
		}
		s.line("error", map[string]any{"reason": refusal.Reason.String()}, text)
		s.done(took)
		return false, nil
	case failure != nil:
		return false, failure
	}
	executed = true
	for _, f := range r.Frames {
		rejected, err := s.frame(f.Tag, f.Body)
		if err != nil {
			return false, err
		}
		executed = executed && !rejected
	}
	s.done(took)
	return executed, nil
}

// frame prints one frame of a response.
func (s *screen) frame(tag uint8, body []byte) (rejected bool, err error) {
	if !orderbook.IsReport(tag) {
		a, err := orderbook.DecodeAnswer(tag, body)
		if err != nil {
			return false, fmt.Errorf("the server sent a frame that this client cannot decode: %w", err)
		}
		s.answer(a)
		return false, nil
	}
	var r orderbook.Report
	if err := orderbook.DecodeReport(tag, body, &r); err != nil {
		return false, fmt.Errorf("the server sent a frame that this client cannot decode: %w", err)
	}
	s.report(&r)
	return tag == orderbook.TagRejected, nil
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

// unasked prints a report that belongs to no response.
func (s *screen) unasked(r *orderbook.Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report(r)
}

// show prints a line about the connection.
func (s *screen) show(name string, all map[string]any, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.line(name, all, text)
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
