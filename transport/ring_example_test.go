package transport_test

import (
	"fmt"

	"sluice/transport"
)

// A blocked client: the first send is short, the next one is refused, and a poll reports when there
// is room.
func ExampleRing() {
	world := transport.NewSimNet()
	fd, client := world.Open(8) // the connection holds 8 bytes
	ring := transport.NewSimRing(world, transport.SimConfig{
		Entries: 4, Completions: 8, Wake: func() { fmt.Println("woken") },
	})
	defer ring.Close()

	const send, poll = 1, 2
	done := make([]transport.Completion, 4)
	step := func() {
		if err := ring.Submit(); err != nil {
			fmt.Println(err)
		}
		for _, c := range done[:ring.Reap(done)] {
			fmt.Printf("completion of %d: %d\n", c.User, c.Res)
		}
	}
	text := []byte("hello, world")
	ring.Send(fd, text, send)
	step()
	ring.Send(fd, text[8:], send)
	step()
	ring.Poll(fd, poll)
	step()

	ring.Park()
	fmt.Printf("client reads %q\n", client.Read(8))
	ring.Tick()
	step()
	ring.Send(fd, text[8:], send)
	step()
	fmt.Printf("client reads %q\n", client.Read(8))
	// Output:
	// completion of 1: 8
	// completion of 1: -11
	// client reads "hello, w"
	// woken
	// completion of 2: 4
	// completion of 1: 4
	// client reads "orld"
}

func ExampleOpen() {
	ring, diagnosis, err := transport.Open(transport.ModePoll,
		transport.RingConfig{Entries: 1000, Wake: func() {}})
	if err != nil {
		fmt.Println(diagnosis.Text)
		return
	}
	defer ring.Close()
	fmt.Println(diagnosis.Text)
	fmt.Println(ring.Info().Engine, ring.Info().Entries)
	// Output:
	// The portable engine (poll) is in use because it was asked for.
	// poll 1024
}
