package client_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"slices"

	"sluice/transport/client"
	"sluice/transport/wire"
)

// price is a state of a topic that consists of one text.
type price struct{ text string }

func (p *price) Begin(uint64)                                {}
func (p *price) Describe(_ uint8, body []byte) error         { p.text = string(body); return nil }
func (p *price) End(uint64) error                            { return nil }
func (p *price) Update(_ uint64, _ uint8, body []byte) error { p.text = string(body); return nil }

// A replica keeps the client's copy of a topic up to date, over breaks of the connection and gaps.
func ExampleFollow() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	const topic, epoch = 7, 1
	go publish(l, slices.Concat(
		wire.AppendSnapshotBegin(nil, wire.SnapshotBegin{Topic: topic, Epoch: epoch, Seq: 40}),
		wire.AppendResponse(nil, 0x30, []byte("100.00")),
		wire.AppendSnapshotEnd(nil, topic, 40)),
		wire.AppendTopicData(nil, wire.TopicData{Topic: topic, Seq: 41, Tag: 0x30, Body: []byte("100.05")}))

	s, err := client.OpenSession(client.SessionOptions{}, l.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	r, err := client.Follow(context.Background(), s, topic, wire.TopicRecover, func() *price { return new(price) })
	if err != nil {
		fmt.Println(err)
		return
	}
	for seen := false; !seen; {
		changed := r.Changed()
		r.View(func(p *price, at client.ReplicaPosition) {
			if seen = at.Seq == 41; seen {
				fmt.Println("the price after frame 41 is", p.text)
			}
		})
		if !seen {
			<-changed
		}
	}
	fmt.Println(r.Unsubscribe(context.Background()))
	// Output:
	// the price after frame 41 is 100.05
	// <nil>
}

// publish is the server's side of one connection that subscribes to a topic and leaves it.
func publish(l net.Listener, snapshot, frame []byte) {
	c, read := admit(l)
	if c == nil {
		return
	}
	defer c.Close()
	end := func(r wire.Request) []byte {
		return wire.AppendResponse(nil, wire.TagBatchEnd, binary.LittleEndian.AppendUint64(nil, r.Seq))
	}
	c.Write(slices.Concat(snapshot, end(read()), frame))
	c.Write(end(read()))
}
