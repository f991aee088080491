package bench

import (
	"encoding/binary"
	"fmt"
	"slices"

	"sluice/actors"
	"sluice/cmd/internal/config"
	"sluice/transport/wire"
)

// Fan is the topics of a run. Topics have the numbers from 1 to Topics. The zero value is a run
// without topics.
type Fan struct {
	Topics      int
	Subscribers int    // clients of each topic
	Each        int    // topics of each client
	Mode        string // of the subscriptions
	Own         int    // percentage of the delivered frames that are responses of one client
	Ahead       int    // at full speed, most frames of a client in flight, on average
}

// slotsServer is sluice without topics: a frame for n clients is n slots.
const slotsServer = "slots"

// topicServers are the servers that a run with topics can have.
func topicServers() []string { return []string{"sluice", slotsServer, "loop", "channels", "tape"} }

// topicSettings returns the axes of topics.
func (p *Plan) topicSettings() []config.Setting {
	const group = "Topics (with these axes --rate is topic frames per second, and subscribers are the connections)"
	return []config.Setting{
		{Name: "topics", Group: group,
			Help: "publish frames of this number of topics, in turn; the default of --peer is then sluice, slots " +
				"(sluice, a slot for each client), loop (encodes once, a write for each client) and channels " +
				"(a goroutine for each client); tape only sends",
			Value: config.List(&p.Fan.Topics, "LIST")},
		{Name: "subscribers", Group: group,
			Help: "subscribe this number of clients to each topic", Value: config.List(&p.Fan.Subscribers, "LIST")},
		{Name: "each", Group: group,
			Help:  "let each client subscribe to this number of topics; 0 is all",
			Value: config.List(&p.Fan.Each, "LIST")},
		{Name: "modes", Group: group,
			Help:  "subscribe in these modes: recover, every, latest",
			Value: config.List(&p.Fan.Mode, "LIST")},
		{Name: "own", Group: group,
			Help:  "let this percentage of the delivered frames be responses of one client",
			Value: config.List(&p.Fan.Own, "LIST")},
		{Name: "ahead", Group: group,
			Help:  "allow N frames in flight for each client at --rate 0, on average",
			Value: config.Count(&p.Fan.Ahead, 64, 1<<20, false)},
	}
}

// FanAxes are the axes of topics, as lists of numbers.
type FanAxes struct {
	Topics, Subscribers, Each, Own, Mode []string
	Ahead                                int
}

func defaultFan() FanAxes {
	return FanAxes{Topics: []string{"0"}, Subscribers: []string{"256"}, Each: []string{"1"},
		Own: []string{"0"}, Mode: []string{"recover"}, Ahead: 4096}
}

// cross returns one spec for each spec and combination of topics.
func (a *FanAxes) cross(specs []Spec) ([]Spec, error) {
	for _, l := range []struct {
		flag        string
		texts       []string
		least, most int
		set         func(*Spec, int)
	}{
		{"topics", a.Topics, 0, 1 << 16, func(s *Spec, v int) { s.Fan.Topics = v }},
		{"subscribers", a.Subscribers, 1, 1 << 17, func(s *Spec, v int) { s.Fan.Subscribers = v }},
		{"each", a.Each, 0, 1 << 10, func(s *Spec, v int) { s.Fan.Each = v }},
		{"own", a.Own, 0, 99, func(s *Spec, v int) { s.Fan.Own = v }},
	} {
		values, err := numbers(l.flag, l.texts, l.least, l.most)
		if err != nil {
			return nil, err
		}
		specs = cross(specs, values, l.set)
	}
	if err := words("modes", a.Mode, "recover", "every", "latest"); err != nil {
		return nil, err
	}
	specs = cross(specs, a.Mode, func(s *Spec, v string) { s.Fan.Mode, s.Fan.Ahead = v, a.Ahead })
	return specs, nil
}

// settleTopics sets what follows from the topics, and rejects combinations that are not possible.
func (s *Spec) settleTopics() error {
	f := &s.Fan
	if f.Topics == 0 {
		s.Fan = Fan{}
		if slices.Contains(topicServers()[1:], s.Server) {
			return config.Usagef("--peer %s without --topics: it serves topics only; name a number, such as --topics 1",
				s.Server)
		}
		return nil
	}
	if f.Each == 0 {
		f.Each = f.Topics
	}
	clients := f.Topics * f.Subscribers / f.Each
	switch {
	case clients > 1<<17:
		return config.Usagef("--topics %d --subscribers %d: these are %d clients, at most %d are possible", f.Topics,
			f.Subscribers, clients, 1<<17)
	case !slices.Contains(topicServers(), s.Server):
		return config.Usagef("--peer %s with --topics: it knows no topics; use %v", s.Server, topicServers())
	case f.Each > f.Topics:
		return config.Usagef("--each %d with --topics %d: a client cannot subscribe to more topics than there are",
			f.Each, f.Topics)
	case f.Topics*f.Subscribers%f.Each != 0 || clients%f.Topics != 0 && f.Topics%clients != 0 && f.Each != f.Topics:
		return config.Usagef("--topics %d --subscribers %d --each %d: the clients do not divide evenly; "+
			"use numbers that divide each other", f.Topics, f.Subscribers, f.Each)
	case s.Frame < frameLeast+wire.TopicDataSize:
		return config.Usagef("--frame %d with --topics: a topic frame has at least %d bytes", s.Frame,
			frameLeast+wire.TopicDataSize)
	case s.Churn > 0:
		return config.Usagef("--churn %d with --topics: transient clients have no topics; leave it out", s.Churn)
	case s.Server != "sluice" && s.Server != slotsServer && (s.Stalled > 0 || f.Own > 0):
		return config.Usagef("--peer %s with --stalled %d --own %d: it has no limits for clients and no "+
			"responses of their own; leave both out, or use sluice and %s", s.Server, s.Stalled, f.Own, slotsServer)
	}
	s.Connections = clients
	if s.Server != "sluice" {
		f.Mode = "recover"
	}
	return nil
}

// First is the first topic of a client, counted from 0; the client subscribes to Each topics from
// there on, and the first follows the last. Clients with the same First have the same topics.
func (s *Spec) First(client int) int {
	switch f := &s.Fan; {
	case f.Each == f.Topics:
		return 0
	case s.Connections < f.Topics:
		return client * (f.Topics / s.Connections)
	default:
		return client % f.Topics
	}
}

// Groups returns the clients by their First, and the Firsts of the clients of each topic. Clients and
// topics are counted from 0.
func (s *Spec) Groups() (clients, firsts [][]int) {
	clients, firsts = make([][]int, s.Fan.Topics), make([][]int, s.Fan.Topics)
	for i := range s.Connections {
		first := s.First(i)
		if clients[first] = append(clients[first], i); len(clients[first]) > 1 {
			continue
		}
		for j := range s.Fan.Each {
			t := (first + j) % s.Fan.Topics
			firsts[t] = append(firsts[t], first)
		}
	}
	return clients, firsts
}

// perEvent is how many frames that clients read are delivered for each topic frame, on average.
func (s *Spec) perEvent() float64 {
	all := float64(s.Fan.Subscribers)
	return (all + s.ownPerEvent()) * float64(s.Connections-s.Stalled) / float64(s.Connections)
}

// ownPerEvent is how many responses of one client are published for each topic frame, on average.
func (s *Spec) ownPerEvent() float64 {
	return float64(s.Fan.Subscribers) * float64(s.Fan.Own) / float64(100-s.Fan.Own)
}

// text describes the topics of a row.
func (f *Fan) text() string {
	if f.Topics == 0 {
		return ""
	}
	return fmt.Sprintf(", %d topics, %d of each client, %d %% own, %s", f.Topics, f.Each, f.Own, f.Mode)
}

// AppendTopicFrame appends the frame of a topic with the given number, as sluice sends it. r.Size is
// the length of the application's frame in it.
func AppendTopicFrame(dst []byte, topic, seq uint64, r *Report) []byte {
	at := len(dst)
	dst = append(dst, zeroes[:wire.TopicDataSize]...)
	dst = AppendFrame(dst, r)
	binary.LittleEndian.PutUint32(dst[at:], uint32(r.Size)+wire.TopicDataSize-4)
	dst[at+4], dst[at+5] = wire.TagExtended, wire.SubTopicData
	binary.LittleEndian.PutUint64(dst[at+6:], topic)
	binary.LittleEndian.PutUint64(dst[at+14:], seq)
	return dst
}

// TopicSlot reports whether a slot is a topic frame, and appends that to dst.
func TopicSlot(dst []byte, s *Slot) ([]byte, bool) {
	if s.Kind != actors.KindTopic {
		return dst, false
	}
	return AppendTopicFrame(dst, s.Conn, s.Request, &s.Report), true
}
