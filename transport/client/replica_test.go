package client

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"sluice/transport/wire"
)

// words is a state of a topic: what it was described with, and what was applied.
type words struct{ text string }

func (w *words) Describe(_ uint8, body []byte) error {
	w.text += "<" + string(body) + ">"
	return nil
}

func (w *words) Begin(seq uint64) { w.text += fmt.Sprint(seq) }

func (w *words) End(seq uint64) error {
	if seq == 66 {
		return errors.New("a bad end")
	}
	w.text += ";"
	return nil
}

func (w *words) Update(_ uint64, _ uint8, body []byte) error {
	if string(body) == "bad" {
		return errors.New("a bad word")
	}
	w.text += string(body)
	return nil
}

func newWords() *words { return new(words) }

func TestReplicaIsReplacedByWholeSnapshots(t *testing.T) {
	var steps chan [][]byte // of the bubble
	inWorld(t, SessionOptions{}, []string{"a:1"}, func(k int, _ string, p *peer) error {
		if k > 0 {
			n, err := p.first(wire.ServerReady{}, wire.Subscribe{Topic: 7, Epoch: epoch, After: 51})
			return errors.Join(err, p.send(endOf(n), data(7, 52, "f")), p.drain())
		}
		steps = make(chan [][]byte)
		n, err := p.first(wire.ServerReady{}, wire.Subscribe{Topic: 7})
		if err := errors.Join(err, p.send(snapshot(7, epoch, 40, "a"), endOf(n))); err != nil {
			return err
		}
		for frames := range steps {
			if err := p.send(frames...); err != nil {
				return err
			}
		}
		return nil
	}, func(w *world) {
		r, err := Follow(w.minute(), w.Session, 7, wire.TopicRecover, newWords)
		if err != nil {
			t.Fatal(err)
		}
		expect := func(want string) {
			t.Helper()
			synctest.Wait()
			r.View(func(s *words, at ReplicaPosition) {
				if got := fmt.Sprintf("%s %+v", s.text, at); got != want {
					t.Errorf("%s, want %s", got, want)
				}
			})
		}
		expect("40<a>; {Epoch:225 Seq:40 Snapshots:1 Live:true}")
		changed := r.Changed()
		if closed(changed) || changed != r.Changed() {
			t.Error("a change before a frame")
		}
		steps <- [][]byte{data(7, 41, "b"), data(7, 42, "c")}
		expect("40<a>;bc {Epoch:225 Seq:42 Snapshots:1 Live:true}")
		if !closed(changed) || closed(r.Changed()) {
			t.Error("no change behind a frame, or another one")
		}
		steps <- [][]byte{wire.AppendGap(nil, 7, 45)}
		expect("40<a>;bc {Epoch:225 Seq:42 Snapshots:1 Live:false}")
		steps <- [][]byte{opening(7, epoch, 50), frame(0x31, "d")}
		expect("40<a>;bc {Epoch:225 Seq:42 Snapshots:1 Live:false}") // half a snapshot is not to be seen
		steps <- [][]byte{ending(7, 50), data(7, 51, "e")}
		expect("50<d>;e {Epoch:225 Seq:51 Snapshots:2 Live:true}")
		close(steps) // and the connection
		elapse(time.Second)
		expect("50<d>;ef {Epoch:225 Seq:52 Snapshots:2 Live:true}")
	})
}

func TestErrorOfAReplicaEndsIt(t *testing.T) {
	inWorld(t, SessionOptions{}, []string{"a:1"}, func(_ int, _ string, p *peer) error {
		n, err := p.first(wire.ServerReady{}, wire.Subscribe{Topic: 7})
		if err := errors.Join(err, p.send(snapshot(7, epoch, 1, "a"), endOf(n))); err != nil {
			return err
		}
		if _, err := p.requests(1); err != nil {
			return err
		}
		if err := p.send(data(7, 2, "bad"), data(7, 3, "c")); err != nil {
			return err
		}
		n, err = p.leave(7)
		return errors.Join(err, p.send(endOf(n)), p.drain())
	}, func(w *world) {
		r, err := Follow(w.minute(), w.Session, 7, wire.TopicRecover, newWords)
		if err != nil {
			t.Fatal(err)
		}
		w.start("bad")
		<-r.Done()
		if err := r.Err(); err == nil || err.Error() != "client: topic 7, frame 2: a bad word" {
			t.Error(err)
		}
		r.View(func(s *words, at ReplicaPosition) {
			if s.text != "1<a>;" || at.Live || at.Seq != 1 {
				t.Errorf("%q at %+v", s.text, at)
			}
		})
	})
}

func TestSnapshotThatAReplicaRejectsEndsIt(t *testing.T) {
	inWorld(t, SessionOptions{}, []string{"a:1"}, func(_ int, _ string, p *peer) error {
		n, err := p.first(wire.ServerReady{}, wire.Subscribe{Topic: 7})
		return errors.Join(err, p.send(snapshot(7, epoch, 66, "a"), endOf(n)), p.drain())
	}, func(w *world) {
		_, err := Follow(w.minute(), w.Session, 7, wire.TopicRecover, newWords)
		if err == nil || err.Error() != "client: topic 7, snapshot end 66: a bad end" {
			t.Error(err)
		}
	})
}
