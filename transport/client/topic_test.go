package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/transport/wire"
)

const epoch = 0xe1

// events is a function of a subscription that keeps what it receives.
type events struct {
	mu   sync.Mutex
	list []string
	fail string // it returns an error for this event
}

func (e *events) on(v TopicEvent) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	text := fmt.Sprintf("%v %d", v.Kind, v.Seq)
	if v.Tag != 0 {
		text += fmt.Sprintf(" %#x %s", v.Tag, v.Body)
	}
	e.list = append(e.list, text)
	if text == e.fail {
		return errors.New("cannot follow")
	}
	return nil
}

// expect compares all events so far, after everything that can happen now has happened.
func (e *events) expect(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	if !slices.Equal(e.list, want) {
		t.Errorf("events\n  %q\nwant\n  %q", e.list, want)
	}
}

func data(topic, seq uint64, text string) []byte {
	return wire.AppendTopicData(nil, wire.TopicData{Topic: topic, Seq: seq, Tag: 0x30, Body: []byte(text)})
}

func opening(topic, e, seq uint64) []byte {
	return wire.AppendSnapshotBegin(nil, wire.SnapshotBegin{Topic: topic, Epoch: e, Seq: seq})
}

func ending(topic, seq uint64) []byte { return wire.AppendSnapshotEnd(nil, topic, seq) }

// snapshot is a whole snapshot of one frame.
func snapshot(topic, e, seq uint64, text string) []byte {
	return slices.Concat(opening(topic, e, seq), frame(0x31, text), ending(topic, seq))
}

// subscribe reads a request, which must be a Subscribe with these fields.
func (p *peer) subscribe(want wire.Subscribe) (request uint64, err error) {
	r, err := p.request()
	if err != nil {
		return 0, err
	}
	if got, ok := wire.DecodeSubscribe(r.Body); !ok || r.Tag != wire.TagExtended || got != want {
		return 0, fmt.Errorf("tag %#02x, % x, %+v instead of the request %+v", r.Tag, r.Body, got, want)
	}
	return r.Seq, nil
}

// leave reads a request, which must be the Unsubscribe of a topic.
func (p *peer) leave(topic uint64) (request uint64, err error) {
	r, err := p.request()
	if err != nil {
		return 0, err
	}
	if got, ok := wire.DecodeUnsubscribe(r.Body); !ok || r.Tag != wire.TagExtended || got != topic {
		return 0, fmt.Errorf("tag %#02x, % x instead of Unsubscribe of topic %d", r.Tag, r.Body, topic)
	}
	return r.Seq, nil
}

// minute returns a context that ends after a minute of the bubble, when the test has ended long before.
func (w *world) minute() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	w.t.Cleanup(cancel)
	return ctx
}

// follow subscribes to topic 7.
func (w *world) follow(e *events, mode wire.TopicMode) *Subscription {
	w.t.Helper()
	b, err := w.Subscribe(w.minute(), wire.Subscribe{Topic: 7, Mode: mode}, e.on)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

func TestSubscriptionReceivesSnapshotThenFrames(t *testing.T) {
	inWorld(t, SessionOptions{}, []string{"a:1"}, func(_ int, _ string, p *peer) error {
		n, err := p.first(wire.ServerReady{}, wire.Subscribe{Topic: 7, Mode: wire.TopicRecover})
		if err != nil {
			return err
		}
		if err := p.send(opening(7, epoch, 40), frame(0x31, "a"), busyBeat, frame(0x32, "b"), ending(7, 40), endOf(n),
			data(7, 41, "c")); err != nil {
			return err
		}
		q, err := p.requests(1)
		if err != nil {
			return err
		}
		// Frames of a topic may stand within a response, and are no part of it.
		if err := p.send(frame(0x33, "x"), data(7, 42, "d"), frame(0x34, "y"), endOf(q[0]), data(7, 43, "")); err != nil {
			return err
		}
		if n, err = p.leave(7); err != nil {
			return err
		}
		return errors.Join(p.send(data(7, 44, "late"), endOf(n)), p.drain())
	}, func(w *world) {
		var e events
		b := w.follow(&e, wire.TopicRecover)
		r, err := wait(w.start("q"))
		if got := texts(r); err != nil || !slices.Equal(got, []string{"0x33 x", "0x34 y"}) {
			t.Errorf("response %q, error %v", got, err)
		}
		want := []string{"snapshot begin 40", "snapshot frame 40 0x31 a", "snapshot frame 40 0x32 b", "snapshot end 40",
			"frame 41 0x30 c", "frame 42 0x30 d", "frame 43 0x30 "}
		e.expect(t, want...)
		if closed(b.Done()) || b.Err() != nil || b.Topic() != 7 {
			t.Errorf("topic %d has ended with %v", b.Topic(), b.Err())
		}
		if _, err := w.Subscribe(w.minute(), wire.Subscribe{Topic: 7}, e.on); err == nil ||
			!strings.Contains(err.Error(), "topic 7 is subscribed already") {
			t.Errorf("a second subscription: %v", err)
		}
		if err := b.Unsubscribe(w.minute()); err != nil || !closed(b.Done()) || b.Err() != nil {
			t.Errorf("unsubscribed with %v, ended with %v", err, b.Err())
		}
		if err := b.Unsubscribe(w.minute()); err != nil {
			t.Errorf("unsubscribed again with %v", err)
		}
		e.expect(t, append(want, "frame 44 0x30 late")...)
	})
}

// busyBeat is what may stand within a snapshot.
var busyBeat = []byte(wire.Heartbeat)

// first does the handshake and reads the first request.
func (p *peer) first(s wire.ServerReady, want wire.Subscribe) (uint64, error) {
	if err := p.admit(s); err != nil {
		return 0, err
	}
	return p.subscribe(want)
}

func TestBrokenSubscriptionIsResumed(t *testing.T) {
	inWorld(t, SessionOptions{}, []string{"a:1"}, func(k int, _ string, p *peer) error {
		want := wire.Subscribe{Topic: 7, Mode: wire.TopicEvery}
		if k > 0 {
			want.Epoch, want.After = epoch, 41
		}
		switch k {
		case 3:
			want.After = 42
		case 4:
			want.Epoch, want.After = epoch+1, 7
		}
		n, err := p.first(wire.ServerReady{}, want)
		if err != nil {
			return err
		}
		switch k {
		case 0:
			return p.send(snapshot(7, epoch, 40, "a"), endOf(n), data(7, 41, "b"))
		case 1: // it breaks before it is resumed
			return nil
		case 2: // the first frame may come before the end of the response
			return p.send(data(7, 42, "c"), endOf(n))
		case 3: // another life of the topic
			return p.send(snapshot(7, epoch+1, 6, "d"), endOf(n), data(7, 7, "e"))
		}
		return errors.Join(p.send(endOf(n), data(7, 8, "f")), p.drain())
	}, func(w *world) {
		var e events
		b := w.follow(&e, wire.TopicEvery)
		elapse(time.Minute)
		e.expect(t, "snapshot begin 40", "snapshot frame 40 0x31 a", "snapshot end 40", "frame 41 0x30 b", "broken 41",
			"resumed 41", "frame 42 0x30 c", "broken 42",
			"snapshot begin 6", "snapshot frame 6 0x31 d", "snapshot end 6", "frame 7 0x30 e", "broken 7",
			"resumed 7", "frame 8 0x30 f")
		if n := w.attempts(); n != 5 || b.Err() != nil {
			t.Errorf("%d connections, ended with %v", n, b.Err())
		}
	})
}

// The caller kept its position from an earlier session.
func TestSubscriptionBeginsWhereItsCallerIs(t *testing.T) {
	at := wire.Subscribe{Topic: 7, Epoch: epoch, After: 12}
	inWorld(t, SessionOptions{}, []string{"a:1"}, func(_ int, _ string, p *peer) error {
		n, err := p.first(wire.ServerReady{}, at)
		return errors.Join(err, p.send(endOf(n), data(7, 13, "x")), p.drain())
	}, func(w *world) {
		var e events
		if _, err := w.Subscribe(w.minute(), at, e.on); err != nil {
			t.Fatal(err)
		}
		e.expect(t, "resumed 12", "frame 13 0x30 x")
	})
}

// A position within a snapshot, or behind a gap, is none that a subscription could be resumed from.
func TestIncompleteTopicBeginsWithSnapshot(t *testing.T) {
	for name, frames := range map[string][][]byte{
		"within the first snapshot": {opening(7, epoch, 40), frame(0x31, "a")},
		"behind a gap":              {snapshot(7, epoch, 40, "a"), endOf(1), data(7, 41, "b"), wire.AppendGap(nil, 7, 45)},
		"within a later snapshot": {snapshot(7, epoch, 40, "a"), endOf(1), wire.AppendGap(nil, 7, 45), opening(7, epoch, 50),
			frame(0x31, "c")},
		"within a snapshot unasked": {snapshot(7, epoch, 40, "a"), endOf(1), opening(7, epoch, 50)},
		"behind a hole":             {snapshot(7, epoch, 40, "a"), endOf(1), data(7, 42, "b")},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			inWorld(t, SessionOptions{}, []string{"a:1"}, func(k int, _ string, p *peer) error {
				n, err := p.first(wire.ServerReady{}, wire.Subscribe{Topic: 7})
				if err == nil && k == 0 {
					return p.send(frames...)
				}
				return errors.Join(err, p.send(snapshot(7, epoch, 60, "z"), endOf(n)), p.drain())
			}, func(w *world) {
				var e events
				w.follow(&e, wire.TopicRecover)
				elapse(time.Minute)
				if n := w.attempts(); n != 2 {
					t.Errorf("%d connections", n)
				}
				if e.list[0] != "snapshot begin 40" || !slices.Contains(e.list, "snapshot end 60") {
					t.Errorf("%q", e.list)
				}
			})
		})
	}
}

func TestGapIsFollowedBySnapshot(t *testing.T) {
	inWorld(t, SessionOptions{}, []string{"a:1"}, func(_ int, _ string, p *peer) error {
		n, err := p.first(wire.ServerReady{}, wire.Subscribe{Topic: 7})
		return errors.Join(err, p.send(snapshot(7, epoch, 40, "a"), endOf(n), data(7, 41, "b"), wire.AppendGap(nil, 7, 44),
			snapshot(7, epoch, 47, "c"), data(7, 48, "d"), snapshot(7, epoch, 48, "e"), data(7, 49, "f")), p.drain())
	}, func(w *world) {
		var e events
		w.follow(&e, wire.TopicRecover)
		e.expect(t, "snapshot begin 40", "snapshot frame 40 0x31 a", "snapshot end 40", "frame 41 0x30 b", "gap 44",
			"snapshot begin 47", "snapshot frame 47 0x31 c", "snapshot end 47", "frame 48 0x30 d",
			"snapshot begin 48", "snapshot frame 48 0x31 e", "snapshot end 48", "frame 49 0x30 f")
	})
}

func TestLatestSkipsNumbers(t *testing.T) {
	inWorld(t, SessionOptions{}, []string{"a:1"}, func(_ int, _ string, p *peer) error {
		n, err := p.first(wire.ServerReady{}, wire.Subscribe{Topic: 7, Mode: wire.TopicLatest})
		return errors.Join(err, p.send(snapshot(7, epoch, 40, "a"), endOf(n), data(7, 41, "b"), data(7, 50, "c")), p.drain())
	}, func(w *world) {
		var e events
		w.follow(&e, wire.TopicLatest)
		e.expect(t, "snapshot begin 40", "snapshot frame 40 0x31 a", "snapshot end 40", "frame 41 0x30 b", "frame 50 0x30 c")
	})
}

func TestWrongFramesOfTopicsAreProtocolErrors(t *testing.T) {
	whole := slices.Concat(snapshot(7, epoch, 40, "a"), endOf(1))
	for name, v := range map[string]struct {
		mode   wire.TopicMode
		frames []byte
		want   string
	}{
		"hole of one": {0, slices.Concat(whole, data(7, 42, "")),
			"topic 7, epoch 0xe1: frame 42 came after frame 40: frame 41 is missing"},
		"hole": {1, slices.Concat(whole, data(7, 44, "")),
			"frame 44 came after frame 40: frames 41 to 43 are missing"},
		"repetition":     {0, slices.Concat(whole, data(7, 40, "")), "frame 40 came after frame 40: it was received before"},
		"back in latest": {2, slices.Concat(whole, data(7, 50, ""), data(7, 49, "")), "frame 49 came after frame 50"},
		"old snapshot":   {0, slices.Concat(whole, snapshot(7, epoch, 39, "")), "frame 39 came after frame 40"},
		"old gap":        {0, slices.Concat(whole, wire.AppendGap(nil, 7, 39)), "frame 39 came after frame 40"},
		"after a gap": {0, slices.Concat(whole, wire.AppendGap(nil, 7, 41), data(7, 42, "")),
			"frame 42 of topic 7 without a snapshot"},
		"before snapshot": {0, data(7, 1, ""), "frame 1 of topic 7 without a snapshot"},
		"no snapshot":     {0, endOf(1), "Subscribe of topic 7, without a snapshot"},
		"other topic":     {0, slices.Concat(whole, data(8, 1, "")), "TopicData of topic 8, which is not subscribed"},
		"other gap":       {0, slices.Concat(whole, wire.AppendGap(nil, 8, 1)), "Gap of topic 8, which is not subscribed"},
		"other snapshot":  {0, opening(8, 1, 1), "SnapshotBegin of topic 8, which is not subscribed"},
		"other end": {0, slices.Concat(opening(7, epoch, 40), ending(8, 40)),
			"SnapshotEnd of topic 8 after frame 40, and the snapshot that has begun is of topic 7"},
		"other number": {0, slices.Concat(opening(7, epoch, 40), ending(7, 41)),
			"SnapshotEnd of topic 7 after frame 41, and the snapshot that has begun is of topic 7 after frame 40"},
		"end alone": {0, ending(7, 40), "no snapshot has begun"},
		"data inside": {0, slices.Concat(opening(7, epoch, 40), data(7, 41, "")),
			"TopicData within the snapshot of topic 7"},
		"begin inside": {0, slices.Concat(opening(7, epoch, 40), opening(7, epoch, 40)),
			"SnapshotBegin within the snapshot of topic 7"},
		"gap inside": {0, slices.Concat(opening(7, epoch, 40), wire.AppendGap(nil, 7, 40)),
			"Gap within the snapshot of topic 7"},
		"response inside": {0, slices.Concat(opening(7, epoch, 40), endOf(1)), "tag 0x02 within the snapshot of topic 7"},
		"refusal inside": {0, slices.Concat(opening(7, epoch, 40), refusal(1, 6)),
			"tag 0x03 within the snapshot of topic 7"},
		"unknown sub-tag": {0, frame(wire.TagExtended, "\x85"), "sub-tag 0x85"},
		"short":           {0, frame(wire.TagExtended, "\x81\x00"), "sub-tag 0x81, which is unknown, or too short"},
		"empty":           {0, frame(wire.TagExtended, ""), "without a sub-tag"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			inWorld(t, SessionOptions{}, []string{"a:1"}, func(k int, _ string, p *peer) error {
				if k > 0 {
					return errors.Join(p.admit(wire.ServerReady{}), p.drain())
				}
				_, err := p.first(wire.ServerReady{}, wire.Subscribe{Topic: 7, Mode: v.mode})
				return errors.Join(err, p.send(v.frames), p.drain())
			}, func(w *world) {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				var e events
				_, _ = w.Subscribe(ctx, wire.Subscribe{Topic: 7, Mode: v.mode}, e.on) // accepted or not
				if s := w.last(Disconnected); !strings.Contains(s.Err.Error(), v.want) {
					t.Errorf("%v, want %q", s.Err, v.want)
				}
			})
		})
	}
}
