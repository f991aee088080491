package client_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"

	"sluice/transport/client"
	"sluice/transport/wire"
)

// admit accepts a connection, does the server's side of the handshake, and returns a function that reads
// the next request.
func admit(l net.Listener) (c net.Conn, read func() wire.Request) {
	c, err := l.Accept()
	if err != nil {
		return nil, nil
	}
	c.Write(wire.AppendChallenge(nil, &wire.Challenge{}))
	var in []byte
	read = func() (r wire.Request) {
		for size := 0; size == 0; {
			b := make([]byte, 256)
			n, err := c.Read(b)
			if err != nil {
				return r
			}
			in = append(in, b[:n]...)
			r, size, _ = wire.NextRequest(in, 256)
			in = in[size:]
		}
		return r
	}
	read() // Hello
	c.Write(wire.AppendServerReady(nil, &wire.ServerReady{Version: 1, Leads: true, MaxRequest: 256, Name: "example"}))
	return c, read
}

// exchange is the server's side of one connection that serves a few requests, each with one frame,
// and drains.
func exchange(l net.Listener, responses ...string) {
	c, read := admit(l)
	if c == nil {
		return
	}
	defer c.Close()
	for _, text := range responses {
		r := read()
		frames := wire.AppendResponse(nil, 0x30, []byte(text))
		end := binary.LittleEndian.AppendUint64(nil, r.Seq)
		c.Write(wire.AppendResponse(frames, wire.TagBatchEnd, end))
	}
	c.Write(wire.AppendClose(nil, wire.Close{Reason: wire.CloseShutdown, RetryAfter: wire.Never}))
}

func ExampleSession() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	go exchange(l, "accepted", "filled")

	ended := make(chan error, 1)
	s, err := client.OpenSession(client.SessionOptions{OnState: func(state client.State) {
		switch state.Phase {
		case client.Ready:
			fmt.Println("connected to", state.Server.Name)
		case client.Ended:
			ended <- state.Err
		}
	}}, l.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	for _, order := range []string{"buy", "sell"} {
		r, err := s.Do(context.Background(), 0x10, []byte(order))
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("request %d: %s\n", r.Request, r.Frames[0].Body)
	}
	fmt.Println(<-ended)
	if _, err = s.Do(context.Background(), 0x10, []byte("late")); errors.Is(err, client.ErrNotSent) {
		fmt.Println("not sent")
	}
	// Output:
	// connected to example
	// request 1: accepted
	// request 2: filled
	// client: the server closed the connection: shutdown (do not come back)
	// not sent
}
