package journal_test

import (
	"fmt"
	"io"
	"os"

	"sluice/durability/journal"
)

// A server commits three events in two groups, takes a snapshot of its state and is started again.
func Example() {
	dir, err := os.MkdirTemp("", "journal")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	j, found, err := journal.Open(journal.Options{Dir: dir})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("incarnation", found.Incarnation, "last event", found.Last)
	w := j.Writer()
	w.Append([]byte("buy 5"))
	w.Append([]byte("sell 3"))
	fmt.Println(w.Commit())
	state, err := j.PrepareSnapshot(2, func(out io.Writer) error {
		_, err := io.WriteString(out, "position 2")
		return err
	})
	if err == nil {
		err = w.Install(state)
	}
	fmt.Println("snapshot", err)
	w.Append([]byte("buy 1"))
	fmt.Println(w.Commit())
	fmt.Println("close", j.Close())

	j, found, err = journal.Open(journal.Options{Dir: dir})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer j.Close()
	fmt.Println("incarnation", found.Incarnation, "last event", found.Last, "snapshot of",
		found.SnapshotSeq)
	found.Restore(func(in io.Reader) error {
		state, err := io.ReadAll(in)
		fmt.Printf("restored %q\n", state)
		return err
	})
	for event, err := range found.Events() {
		fmt.Printf("replayed %d %q %v\n", event.Seq, event.Payload, err)
	}
	// Output:
	// incarnation 1 last event 0
	// 2 <nil>
	// snapshot <nil>
	// 3 <nil>
	// close <nil>
	// incarnation 2 last event 3 snapshot of 2
	// restored "position 2"
	// replayed 3 "buy 1" <nil>
}
