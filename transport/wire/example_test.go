package wire_test

import (
	"fmt"

	"sluice/transport/wire"
)

func ExampleNextRequest() {
	received := wire.AppendRequest(nil, 42, 0x10, []byte("buy"))
	received = append(received, wire.ClientHeartbeat[:6]...) // the rest is still on its way
	for {
		r, size, err := wire.NextRequest(received, wire.DefaultMaxRequest)
		if err != nil || size == 0 {
			fmt.Println(len(received), "bytes wait for more, error", err)
			return
		}
		fmt.Printf("request %d, tag %#x, body %q\n", r.Seq, r.Tag, r.Body)
		received = received[size:]
	}
	// Output:
	// request 42, tag 0x10, body "buy"
	// 6 bytes wait for more, error <nil>
}
