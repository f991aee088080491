package main

import (
	"fmt"
	"io"
	"net"

	"sluice/transport/wire"
)

// discard is a process that does the handshake with any client and drops what it sends. It prints its address,
// and ends with its standard input.
func discard(in io.Reader, out io.Writer) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("discard: %w", err)
	}
	fmt.Fprintln(out, listener.Addr())
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go drop(c)
		}
	}()
	_, err = io.Copy(io.Discard, in)
	return err
}

// drop says what a server says in a handshake, and reads until the client ends.
func drop(c net.Conn) {
	defer c.Close()
	hello := wire.AppendChallenge(nil, &wire.Challenge{Sign: true})
	hello = wire.AppendServerReady(hello, &wire.ServerReady{Version: wire.Version, Leads: true, Conn: 1,
		MaxRequest: 1024, MaxResponse: wire.MaxResponse})
	if _, err := c.Write(hello); err == nil {
		_, _ = io.CopyBuffer(io.Discard, struct{ io.Reader }{c}, make([]byte, 64<<10))
	}
}
