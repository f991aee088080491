package listen_test

import (
	"context"
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"sluice/transport"
	"sluice/transport/client"
	"sluice/transport/listen"
	"sluice/transport/wire"
)

// echo is a handler that also acts as the shard: it responds on the reader goroutine and closes in
// Disconnect.
type echo struct{ ended chan string }

func (e echo) Connect(c listen.Conn) error { return nil }
func (e echo) Request(c listen.Conn, r wire.Request) error {
	response := wire.AppendResponse(nil, 0x30, r.Body)
	number := binary.LittleEndian.AppendUint64(nil, r.Seq)
	_, err := unix.Write(int(c.FD), wire.AppendResponse(response, wire.TagBatchEnd, number))
	return err
}
func (e echo) Shed(c listen.Conn, requests []uint64) {}
func (e echo) Disconnect(c listen.Conn, requests uint64, reason transport.Reason) {
	unix.Close(int(c.FD))
	e.ended <- fmt.Sprintf("%d request, %v", requests, reason)
}

func ExampleServer() {
	handler := echo{ended: make(chan string, 1)}
	server, err := listen.New(listen.Config{
		Endpoints: []listen.Endpoint{{Network: "tcp", Address: "127.0.0.1:0", Open: true}},
	}, handler)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := server.Listen(); err != nil {
		fmt.Println(err)
		return
	}
	server.Serve()
	defer server.Close()

	c, err := client.Dial(context.Background(), "tcp", server.Addresses()[0], client.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	c.Send(1, 0x10, []byte("hello"))
	c.Flush()
	tag, body, _ := c.Next()
	fmt.Printf("%#x %s\n", tag, body)
	c.Next() // the BatchEnd: closing with unread bytes would be a reset
	c.Close()
	fmt.Println(<-handler.ended)
	// Output:
	// 0x30 hello
	// 1 request, peer_closed
}
