package actors_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"sluice/actors"
	"sluice/durability"
	"sluice/transport"
)

// Trade is the response of this example's application.
type Trade struct{ Price, Quantity uint32 }

// Trades encodes them; it has no queries.
type Trades struct{}

func (Trades) AppendReport(dst []byte, t *Trade) ([]byte, error) {
	dst = append(dst, 9, 0, 0, 0, 0x30) // length of what follows, tag
	dst = binary.LittleEndian.AppendUint32(dst, t.Price)
	return binary.LittleEndian.AppendUint32(dst, t.Quantity), nil
}

func (Trades) AppendQuery([]byte, *struct{}) ([]byte, error) {
	return nil, fmt.Errorf("this application has no queries")
}

// A response waits behind the gate until its event is journaled.
func Example() {
	cursors := durability.NewCursors(0)
	p, err := actors.Open(actors.Config{Policy: durability.Local(), Shards: 1,
		IO: transport.ModePoll}, Trades{}, cursors)
	if err != nil {
		fmt.Println(err)
		return
	}

	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	client := os.NewFile(uintptr(fds[1]), "client")
	if err := p.Connect(actors.Conn{ID: 7, FD: fds[0], WriteOnly: true}); err != nil {
		fmt.Println(err)
		return
	}

	slots := p.Slots()
	slot := &slots.Claim(1)[0]
	*slot = actors.Slot[Trade, struct{}]{Conn: 7, Seq: 1, Received: p.Now(), Matched: p.Now(),
		Last: true, Request: 42}
	slot.Report = Trade{Price: 101, Quantity: 5}
	slots.Commit(1)
	slots.Publish() // nothing is sent yet

	cursors.SetPersisted(1) // the journal has event 1: now the response is sent

	frame := make([]byte, 26)
	if _, err := io.ReadFull(client, frame); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("% x\n% x\n", frame[:13], frame[13:])

	slots.Close()
	fmt.Println(p.Drain(context.Background()))
	// Output:
	// 09 00 00 00 30 65 00 00 00 05 00 00 00
	// 09 00 00 00 02 2a 00 00 00 00 00 00 00
	// <nil>
}
