package client_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"sluice/transport/client"
	"sluice/transport/wire"
)

// respondOnce is a small server: it does the handshake, answers one request and leaves.
func respondOnce(l net.Listener) {
	c, err := l.Accept()
	if err != nil {
		return
	}
	defer c.Close()
	c.Write(wire.AppendChallenge(nil, &wire.Challenge{}))
	io.ReadFull(c, make([]byte, 19)) // Hello
	c.Write(wire.AppendServerReady(nil, &wire.ServerReady{Version: wire.Version, MaxRequest: 1024}))
	io.ReadFull(c, make([]byte, 16)) // the request
	frames := wire.AppendResponse(nil, 0x30, []byte("filled"))
	frames = wire.AppendResponse(frames, wire.TagBatchEnd, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	c.Write(wire.AppendClose(frames, wire.Close{Reason: wire.CloseShutdown, RetryAfter: time.Second}))
}

func ExampleDial() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	go respondOnce(l)

	c, err := client.Dial(context.Background(), "tcp", l.Addr().String(), client.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	c.Send(1, 0x10, []byte("buy"))
	c.Flush()
	for {
		tag, body, err := c.Next()
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%#x %q\n", tag, body)
	}
	// Output:
	// 0x30 "filled"
	// 0x2 "\x01\x00\x00\x00\x00\x00\x00\x00"
	// client: the server closed the connection: shutdown (come back after 1s)
}
