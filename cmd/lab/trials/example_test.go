package trials

import (
	"fmt"

	"sluice/transport/wire"
)

// The checker of every trial compares every byte of a note.
func Example() {
	frame, err := scribe{}.AppendReport(nil, &note{token: 7, n: 1, size: 64})
	if err != nil {
		fmt.Println(err)
		return
	}
	check := func(token, n uint64) {
		tag, body, _, err := wire.NextResponse(frame, maxFrame)
		if err == nil {
			err = verify(tag, body, token, n, 64)
		}
		fmt.Println(err)
	}
	check(7, 1)
	check(7, 2)
	check(8, 1)
	frame[40]++
	check(7, 1)
	// Output:
	// <nil>
	// note 1, want 2
	// a note of token 0x7 for token 0x8: bytes of another client
	// note 1 has wrong bytes
}
