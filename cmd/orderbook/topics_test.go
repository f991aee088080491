package orderbook

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"unsafe"

	"sluice/actors"
	"sluice/actors/sequencer"
	"sluice/cmd/orderbook/marketdata"
)

// A topic frame is a Report in a slot of the ring, so Report must not grow beyond its slot.
func TestSlotHas256Bytes(t *testing.T) {
	if n := unsafe.Sizeof(actors.Slot[Report, Answer]{}); n != 256 {
		t.Errorf("a slot of the order book has %d bytes, want 256", n)
	}
}

// Subscribers join and leave at random while random events are executed. After each event the view of
// each subscriber has what the server would send it as a snapshot; that of one in mode latest, which
// gets only the newest update of each key, after each time that it is sent something.
func TestViewsEqualTheBook(t *testing.T) {
	trials := 60
	if testing.Short() {
		trials = 12
	}
	seen := map[string]int{}
	for seed := range trials {
		data := randomBytes(uint64(seed), 8*250)
		config, scale := limitsOf(data[0])
		x := newExchange(t, config, uint64(seed), seen)
		st := stepper{next: map[uint64]uint64{}, scale: scale}
		for ; len(data) >= 8; data = data[8:] {
			st.spell(data)
			x.step(t, st.event(t))
			x.come(t)
		}
	}
	for _, what := range []string{"top", "trades", "depth", "conflated", "joined", "left"} {
		if seen[what] < 200 {
			t.Errorf("%q happened %d times only", what, seen[what])
		}
	}
	t.Log(seen)
}

// Prices of a level and its key for conflation: the ends of the range have keys of their own.
func TestLevelsHaveDifferentKeys(t *testing.T) {
	e := event{Book: mustNew(t, Config{})}
	keys := map[uint64]string{}
	for _, price := range []int64{-1 << 63, -1<<63 + 1, -1 << 62, -101, -100, -1, 0, 1, 100, 101, 1 << 62,
		1<<63 - 1, 100 - 1<<63, 100 - 1<<62, 101 + 1<<62} {
		for _, side := range []Side{Buy, Sell} {
			name := fmt.Sprint(side, price)
			if other, taken := keys[e.levelKey(side, price)]; taken {
				t.Errorf("%s and %s have one key", name, other)
			}
			keys[e.levelKey(side, price)] = name
		}
	}
}

func TestUnknownTopicsAreRefused(t *testing.T) {
	b := traded(t)
	for _, topic := range []uint64{0, 7, 4 << 56, 0xFF << 56, marketdata.KindDepth.Topic(0) | 1<<32,
		marketdata.KindTop.Topic(8) | 1<<55} {
		if b.Describe(&sequencer.Event{Conn: 9}, topic, &describes{}) {
			t.Errorf("topic %x is described", topic)
		}
	}
}

// An instrument that has no orders yet can be subscribed to.
func TestInstrumentWithoutOrdersIsDescribedAsEmpty(t *testing.T) {
	b := mustNew(t, Config{})
	if n := len(describe(t, b, marketdata.KindDepth.Topic(77))) + len(describe(t, b,
		marketdata.KindTrades.Topic(77))); n != 0 {
		t.Errorf("an empty book is described with %d levels and trades", n)
	}
	want := (&marketdata.Frame{Tag: marketdata.TagQuote, Instrument: 77, Side: marketdata.Buy}).Append(nil)
	if top := describe(t, b, marketdata.KindTop.Topic(77)); len(top) != 2 || !bytes.Equal(top[0], want) {
		t.Errorf("the top of an empty book is %x, want %x and the other side", top, want)
	}
	before := snapshot(t, b)
	describe(t, b, marketdata.KindTop.Topic(78))
	if !bytes.Equal(before, snapshot(t, b)) {
		t.Error("a subscription changed the state")
	}
}

// frames executes New commands, each at the time that is its number from 1, and returns in words what
// the last one publishes.
func frames(t *testing.T, b *Book, commands ...Command) (lines []string) {
	t.Helper()
	for _, c := range commands {
		c.Tag, c.ClientOrderID, c.Type = TagNew, b.seq+1, Limit
		c.TimeInForce = restingFor(c.Expiry)
		ev := request(t, 1, c)
		ev.Seq, ev.Time = b.seq+1, b.time+1
		var out tape
		deliverTo(t, b, ev, &out)
		out.take()
		lines = lines[:0]
		for i := range out.topics {
			f := out.topics[i].report.topicFrame()
			kind, _, _ := marketdata.ParseTopic(out.topics[i].topic)
			lines = append(lines, fmt.Sprintf("%s %s %d@%d %d", kind,
				[]string{"", "buy", "sell"}[f.Side], f.Quantity, f.Price, f.Count))
		}
	}
	return lines
}

// An order that takes two levels and rests above them: three fills, three levels, and a bid that
// follows the ask.
func TestEventPublishesEachLevelOnce(t *testing.T) {
	order := func(account uint64, side Side, quantity uint64, price int64) Command {
		return Command{Account: account, Side: side, Quantity: quantity, Price: price}
	}
	got := frames(t, mustNew(t, Config{}), order(1, Buy, 5, 99), order(2, Sell, 1, 100),
		order(3, Sell, 2, 100), order(2, Sell, 3, 101), order(2, Sell, 4, 105), order(4, Buy, 9, 102))
	want := []string{"trades buy 1@100 1", "trades buy 2@100 2", "trades buy 3@101 3",
		"depth sell 0@100 0", "depth sell 0@101 0", "depth buy 3@102 1", "top sell 4@105 1",
		"top buy 3@102 1"}
	if !slices.Equal(got, want) {
		t.Errorf("published\n%q, want\n%q", got, want)
	}
}

// An order of 5 lots comes when others expire at its price, and one at 90. What is published is the
// difference of the whole event.
func TestEventPublishesTheDifference(t *testing.T) {
	for _, c := range []struct {
		expire []uint64 // quantities
		want   []string
	}{
		{[]uint64{5}, []string{"depth buy 0@90 0"}},
		{[]uint64{3}, []string{"depth buy 0@90 0", "depth buy 5@99 1", "top buy 5@99 1"}},
		{[]uint64{2, 3}, []string{"depth buy 0@90 0", "depth buy 5@99 1", "top buy 5@99 1"}},
	} {
		due := int64(len(c.expire)) + 2
		commands := []Command{{Account: 1, Side: Buy, Quantity: 1, Price: 90, Expiry: due}}
		for _, quantity := range c.expire {
			commands = append(commands, Command{Account: 1, Side: Buy, Quantity: quantity, Price: 99,
				Expiry: due})
		}
		commands = append(commands, Command{Account: 2, Side: Buy, Quantity: 5, Price: 99})
		if got := frames(t, mustNew(t, Config{}), commands...); !slices.Equal(got, c.want) {
			t.Errorf("%v lots expire: published %q, want %q", c.expire, got, c.want)
		}
	}
}
