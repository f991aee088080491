package secure_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"sluice/transport/secure"
)

// A server that reads records and sends records, without a net.Conn between it and its socket.
func Example() {
	pair, err := secure.SelfSigned(time.Now().Add(-time.Hour), time.Now().Add(time.Hour), "localhost")
	if err != nil {
		fmt.Println(err)
		return
	}
	near, far := net.Pipe()
	go func() { // the client
		c := tls.Client(far, &tls.Config{InsecureSkipVerify: true})
		defer c.Close()
		answer := make([]byte, 64)
		_, _ = c.Write([]byte("ping"))
		n, _ := c.Read(answer)
		_, _ = c.Write(append([]byte("got "), answer[:n]...))
	}()

	s := secure.Server(near, secure.Config(pair))
	if err := s.Handshake(); err != nil {
		fmt.Println(err)
		return
	}
	records, plain := make([]byte, 1024), make([]byte, 1024)
	read := func() {
		n, _ := near.Read(records)
		n, _, err := s.Open(plain, records[:n], 0)
		fmt.Printf("%s %v\n", plain[:n], err)
	}
	read()
	sealed, err := s.Seal(nil, []byte("pong"))
	fmt.Println(len(sealed)-len("pong"), "bytes more", err)
	_, _ = near.Write(sealed)
	read()
	// Output:
	// ping <nil>
	// 22 bytes more <nil>
	// got pong <nil>
}
