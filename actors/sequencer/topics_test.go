package sequencer

import (
	"slices"
	"testing"

	"sluice/actors"
	"sluice/encode"
	"sluice/transport/wire"
)

func TestSnapshotAndJoinStandBetweenTwoEvents(t *testing.T) {
	d := newDesk(t, 64, 2, nil)
	d.board.asked = []Event{}
	d.put(9, tagPublish, 3)
	d.subscribe(2, 3, actors.ModeLatest, 0, 0)
	d.put(9, tagPublish, 3, 4, 3)
	d.unsubscribe(2, 3)
	d.put(9, tagPublish, 3)
	got := d.drain()
	shards := uint64(1) << actors.ShardOf(2, 2)
	for i, want := range []struct {
		kind    actors.Kind
		conn    uint64
		request uint64
		seq     uint64 // of the event
		last    bool
		at      address
		n       uint64 // Report.N
	}{
		{actors.KindReport, 9, 7, 1, true, address{}, 0},
		{actors.KindSnapshotBegin, 2, 7, 1, false, address{2, 3, 0, 1001, 0, actors.ModeLatest}, 0},
		{actors.KindQuery, 2, 7, 1, false, address{}, 0},
		{actors.KindReport, 2, 7, 1, false, address{}, 1},
		{actors.KindSnapshotEnd, 2, 7, 1, true, address{2, 3, 0, 1001, 0, actors.ModeLatest}, 0},
		{actors.KindTopic, 3, 1, 2, false, address{0, 3, 1, 0, shards, 0}, 2},
		{actors.KindTopic, 3, 2, 2, false, address{0, 3, 2, 0, shards, 0}, 3},
		{actors.KindReport, 9, 7, 2, true, address{}, 0},
		{actors.KindLeave, 2, 7, 2, true, address{2, 3, 0, 0, 0, 0}, 0},
		{actors.KindTopic, 3, 3, 3, false, address{0, 3, 3, 0, shards, 0}, 4},
		{actors.KindReport, 9, 7, 3, true, address{}, 0},
	} {
		if i >= len(got) {
			t.Fatalf("%d slots", len(got))
		}
		s := &got[i]
		if s.Kind != want.kind || s.Conn != want.conn || s.Request != want.request || uint64(s.Seq) != want.seq ||
			s.Last != want.last || s.Report.N != want.n || s.Bypass || s.Received != 5 || s.Matched == 0 {
			t.Errorf("slot %d is %+v, want %+v", i, s, want)
		}
		if want.at != (address{}) && addressOf(s) != want.at {
			t.Errorf("slot %d is addressed %+v, want %+v", i, addressOf(s), want.at)
		}
	}
	if len(got) != 11 || len(d.events) != 3 {
		t.Errorf("%d slots and %d events, want 11 and 3", len(got), len(d.events))
	}
	asked := d.board.asked
	if len(asked) != 1 || asked[0].Seq != 1 || asked[0].Conn != 2 || asked[0].Request != 7 ||
		asked[0].Identity.Role != RoleReadonly {
		t.Errorf("described for %+v", asked)
	}
	if c := d.seq.Counts(); c.Subscribes != 2 || c.Events != 3 || c.Queries != 0 || c.Refused != 0 {
		t.Errorf("counts %+v", c)
	}
}

func TestSubscriptionsAreRefused(t *testing.T) {
	sub := func(topic uint64, mode wire.TopicMode) []byte {
		return wire.AppendSubscribeBody(nil, wire.Subscribe{Topic: topic, Mode: mode})
	}
	for _, tt := range []struct {
		name   string
		role   uint8
		body   []byte
		why    encode.Refusal
		bypass bool
	}{
		{"no sub-tag", RoleTrader, nil, encode.RefusedTag, true},
		{"a sub-tag of the server", RoleTrader, append([]byte{wire.SubTopicData}, make([]byte, 30)...),
			encode.RefusedTag, true},
		{"short", RoleTrader, sub(1, 0)[:25], encode.RefusedSize, true},
		{"short to leave", RoleTrader, wire.AppendUnsubscribeBody(nil, 1)[:8], encode.RefusedSize, true},
		{"no role", 0, sub(1, 0), encode.RefusedRole, true},
		{"unknown role", 4, sub(1, 0), encode.RefusedRole, true},
		{"unknown mode", RoleReadonly, sub(1, 3), encode.RefusedMalformed, true},
		{"no such topic", RoleReadonly, sub(forbidden, 0), encode.RefusedTopic, false},
		{"longer", RoleReadonly, append(sub(1, 0), 1, 2), 0, false},
		{"all right", RoleOperator, sub(1, 2), 0, false},
	} {
		d := newDesk(t, 64, 1, nil)
		d.extended(2, tt.role, tt.body)
		d.put(9, tagPublish, 1, forbidden)
		got := d.drain()
		last := slices.IndexFunc(got, func(s actors.Slot[report, report]) bool { return s.Last })
		if s := &got[last]; tt.why == 0 != (s.Kind == actors.KindSnapshotEnd) || tt.why != 0 &&
			(last != 0 || s.Kind != actors.KindEngineError || s.Refusal != tt.why || s.Bypass != tt.bypass) {
			t.Errorf("%s: answered by %+v, want refusal %v", tt.name, s, tt.why)
		}
		frames, c := 0, d.seq.Counts()
		for i := range got {
			if got[i].Kind == actors.KindTopic {
				frames++
			}
		}
		if joined := min(1, int(c.Subscriptions)); (tt.why == 0) != (joined == 1) || frames != joined ||
			int(c.Refused) != 1-joined || int(c.Subscribes) != joined {
			t.Errorf("%s: %d topic frames, counts %+v", tt.name, frames, c)
		}
	}
}

// plain is a board that is no Publisher.
type plain struct{ Application[report, report] }

func TestSubscriptionWithoutTopicsHasUnknownTag(t *testing.T) {
	for name, change := range map[string]func(*Config[report, report]){
		"no Publisher": func(c *Config[report, report]) { c.Application = plain{c.Application} },
		"no feedback":  func(c *Config[report, report]) { c.Topics.Feedback = nil },
	} {
		d := newDesk(t, 64, 1, change)
		d.subscribe(2, 1, actors.ModeRecover, 0, 0)
		if got := d.drain(); len(got) != 1 || got[0].Refusal != encode.RefusedTag || !got[0].Last {
			t.Errorf("%s: answered by %+v", name, got)
		}
	}
}

func TestSubscriptionsAreLimited(t *testing.T) {
	d := newDesk(t, 256, 1, func(c *Config[report, report]) {
		c.Topics.MaxTopics, c.Topics.MaxSubscriptions = 3, 2
	})
	ask := func(conn, topic uint64, refused bool) {
		t.Helper()
		d.subscribe(conn, topic, actors.ModeRecover, 0, 0)
		got := d.drain()
		if s := &got[len(got)-1]; refused != (s.Kind == actors.KindEngineError) ||
			refused && (s.Refusal != encode.RefusedLimit || !s.Last) {
			t.Errorf("connection %d, topic %d: answered by %+v, want a refusal %v", conn, topic, s, refused)
		}
	}
	ask(1, 1, false)
	ask(1, 2, false)
	ask(1, 3, true) // a third one of the connection
	ask(1, 2, false)
	ask(2, 3, false)
	ask(3, 4, true) // a fourth topic
	ask(3, 1, false)
	d.unsubscribe(2, 3) // topic 3 lingers, and makes room
	ask(3, 4, false)
	ask(2, 3, true)
	d.unsubscribe(3, 4)
	d.unsubscribe(1, 1)
	ask(3, 5, false)
	ask(1, 1, false)
	if c := d.seq.Counts(); c.Topics != 3 || c.Subscriptions != 4 {
		t.Errorf("counts %+v", c)
	}
}

// Topics without subscribers take no place of others, also if each lingers at several shards, and they
// give way to others.
func TestLingeringTopicsMakeRoom(t *testing.T) {
	const most = 100
	d := newDesk(t, 4096, 2, func(c *Config[report, report]) { c.Topics.MaxTopics = most })
	conns := []uint64{2, other(2, 2)}
	for _, conn := range conns {
		for topic := range uint64(most) {
			d.subscribe(conn, topic, actors.ModeRecover, 0, 0)
		}
		d.drain()
	}
	for _, conn := range conns {
		d.feed(actors.Feedback{Kind: actors.FeedbackGone, Conn: conn})
		d.drain()
	}
	for topic := uint64(forbidden - most/2); topic < forbidden; topic++ {
		d.subscribe(3, topic, actors.ModeRecover, 0, 0)
		if got := d.drain(); got[0].Kind == actors.KindEngineError {
			t.Fatalf("topic %d is refused while %d have subscribers", topic, d.seq.Counts().Topics)
		}
	}
	if n := len(d.seq.out.topics.live); n > most {
		t.Errorf("%d topics live, want at most %d", n, most)
	}
}

func TestSubscriberResumes(t *testing.T) {
	for _, tt := range []struct {
		name           string
		conn           uint64
		change, behind uint64 // of the epoch, and of frame 5
		resumes        bool
	}{
		{"up to date", 3, 0, 0, true},
		{"behind", 3, 0, 3, true},
		{"behind as far as the shard", 3, 0, 4, true},
		{"from before the shard's first frame", 3, 0, 5, false},
		{"ahead", 3, 0, ^uint64(0), false},
		{"another epoch", 3, 1, 0, false},
		{"a subscription that it has", 2, 0, 0, false},
		{"a connection of another shard", other(2, 2), 0, 0, false},
	} {
		d := newDesk(t, 256, 2, nil)
		// A subscriber of the other shard makes frame 1, which this shard does not have.
		d.subscribe(other(2, 2), 7, actors.ModeRecover, 0, 0)
		d.put(9, tagPublish, 7)
		d.subscribe(2, 7, actors.ModeRecover, 0, 0)
		d.put(9, tagPublish, 7, 7, 7, 7)
		d.unsubscribe(other(2, 2), 7)
		d.drain()
		d.now += 3 * int64(DefaultLinger) // the other shard has no frames any more
		d.drain()
		conn := tt.conn
		if conn == 3 {
			conn = same(2, 2)
		}
		d.subscribe(conn, 7, actors.ModeEvery, 1001+tt.change, 5-tt.behind)
		d.put(9, tagPublish, 7)
		got := d.drain()
		kind := actors.KindSnapshotEnd
		if tt.resumes {
			kind = actors.KindResume
		}
		s := &got[0]
		for s.Kind != kind && s.Kind != actors.KindTopic {
			got = got[1:]
			s = &got[0]
		}
		want := address{conn, 7, 5, 1001, 0, actors.ModeEvery}
		if tt.resumes {
			want.seq -= tt.behind
		}
		if addressOf(s) != want || !s.Last || got[1].Kind != actors.KindTopic || got[1].Request != 6 {
			t.Errorf("%s: answered by %+v, %+v, want %+v", tt.name, s, addressOf(s), want)
		}
	}
}

// same is a connection of the same shard as another one, and other one of another shard.
func same(conn uint64, shards int) uint64 {
	for next := conn + 1; ; next++ {
		if actors.ShardOf(next, shards) == actors.ShardOf(conn, shards) {
			return next
		}
	}
}

func other(conn uint64, shards int) uint64 {
	for next := conn + 1; ; next++ {
		if actors.ShardOf(next, shards) != actors.ShardOf(conn, shards) {
			return next
		}
	}
}

func TestTopicLingers(t *testing.T) {
	d := newDesk(t, 64, 1, func(c *Config[report, report]) { c.Topics.Linger = 100 })
	frames := func() (n int) {
		d.put(9, tagPublish, 1)
		for _, s := range d.drain() {
			if s.Kind == actors.KindTopic {
				n++
			}
		}
		return n
	}
	join := func(epoch, after uint64) actors.Slot[report, report] {
		d.subscribe(2, 1, actors.ModeRecover, epoch, after)
		return d.drain()[0]
	}
	join(0, 0)
	d.unsubscribe(2, 1)
	d.drain()
	if n := frames(); n != 1 {
		t.Fatalf("%d frames right after the last subscriber left, want 1", n)
	}
	if s := join(1001, 0); s.Kind != actors.KindResume { // it has left, and comes back in time
		t.Fatalf("answered by %+v", s)
	}
	d.now += 90
	d.unsubscribe(2, 1)
	d.drain()
	d.now += 50 // the first time is over, not the second
	if n := frames(); n != 1 {
		t.Fatalf("%d frames 50 ns after the last subscriber left again, want 1", n)
	}
	d.now += 200
	d.drain()
	if n := frames(); n != 0 {
		t.Fatalf("%d frames long after the last subscriber left, want none", n)
	}
	if s := join(1001, 2); s.Kind != actors.KindSnapshotBegin || addressOf(&s).epoch != 1002 || addressOf(&s).seq != 0 {
		t.Errorf("the topic begins anew with %+v", addressOf(&s))
	}
}

func TestGoneSubscriberIsForgotten(t *testing.T) {
	d := newDesk(t, 64, 2, nil)
	for topic := range uint64(3) {
		d.subscribe(2, topic, actors.ModeRecover, 0, 0)
		d.subscribe(3, topic, actors.ModeRecover, 0, 0)
	}
	d.drain()
	for range 3 { // it may come more than once
		d.feed(actors.Feedback{Kind: actors.FeedbackGone, Conn: 2})
	}
	d.drain()
	if c := d.seq.Counts(); c.Topics != 3 || c.Subscriptions != 3 {
		t.Errorf("counts %+v", c)
	}
	// A request of the connection that was on its way subscribes again, until its shard objects.
	d.subscribe(2, 1, actors.ModeRecover, 0, 0)
	d.drain()
	d.feed(actors.Feedback{Kind: actors.FeedbackGone, Conn: 2})
	d.feed(actors.Feedback{Kind: actors.FeedbackGone, Conn: 3})
	d.drain()
	if c := d.seq.Counts(); c.Topics != 0 || c.Subscriptions != 0 {
		t.Errorf("counts %+v", c)
	}
}

func TestResyncIsSnapshotOfNoRequest(t *testing.T) {
	d := newDesk(t, 64, 1, nil)
	key := [8]byte{1, 2}
	if err := d.queue.Introduce(1, key); err != nil {
		t.Fatal(err)
	}
	ev := Event{Conn: 2, Request: 7, Tag: wire.TagExtended, Identity: Identity{Number: 1, Role: RoleTrader, Key: key},
		Body: wire.AppendSubscribeBody(nil, wire.Subscribe{Topic: 5, Mode: wire.TopicLatest})}
	if err := d.queue.Put(&ev, nil, 5); err != nil {
		t.Fatal(err)
	}
	d.put(9, tagPublish, 5, 5)
	d.drain()
	d.board.asked = []Event{}
	for _, f := range []actors.Feedback{
		{Kind: actors.FeedbackResync, Conn: 3, Topic: 5}, // no subscriber
		{Kind: actors.FeedbackResync, Conn: 2, Topic: 6}, // of another topic
		{Kind: actors.FeedbackResync, Conn: 2, Topic: 5, Mode: actors.ModeRecover},
	} {
		d.feed(f)
	}
	got := d.drain()
	want := []actors.Kind{actors.KindSnapshotBegin, actors.KindQuery, actors.KindReport, actors.KindSnapshotEnd}
	if !slices.Equal(kindsOf(got), want) {
		t.Fatalf("slots of kinds %v, want %v", kindsOf(got), want)
	}
	for i := range got {
		if s := &got[i]; s.Last || s.Request != 0 || s.Conn != 2 || s.Bypass || s.Seq != 2 {
			t.Errorf("slot %d is %+v", i, s)
		}
	}
	if at := addressOf(&got[3]); at != (address{2, 5, 2, 1001, 0, actors.ModeLatest}) {
		t.Errorf("the join is %+v", at)
	}
	if asked := d.board.asked; len(asked) != 1 || asked[0].Identity != ev.Identity || asked[0].Seq != 2 ||
		asked[0].Conn != 2 {
		t.Errorf("described for %+v", asked)
	}
	d.board.revoke = map[uint64]bool{5: true}
	d.feed(actors.Feedback{Kind: actors.FeedbackResync, Conn: 2, Topic: 5})
	if got := d.drain(); len(got) != 1 || got[0].Kind != actors.KindLeave || got[0].Last ||
		d.seq.Counts().Subscriptions != 0 {
		t.Errorf("a topic that is not described any more ends with %+v", got)
	}
}
