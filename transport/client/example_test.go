package client_test

import (
	"context"
	"fmt"
	"io"
	"net"

	"sluice/transport/client"
	"sluice/transport/wire"
)

// respondOnce is a small server: it sends ServerReady, answers one request and leaves.
func respondOnce(l net.Listener) {
	c, err := l.Accept()
	if err != nil {
		return
	}
	defer c.Close()
	io.WriteString(c, wire.ReadyFrame)
	io.ReadFull(c, make([]byte, 16))
	c.Write(append(wire.AppendResponse(nil, 0x30, []byte("filled")), wire.BatchEnd...))
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
	// 0x2 ""
	// EOF
}
