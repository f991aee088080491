package history_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"sluice/cmd/internal/history"
)

func Example() {
	dir, err := os.MkdirTemp("", "history-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "trader.jsonl")
	r, err := history.Create(path, "trader 1", history.NewClock())
	if err != nil {
		log.Fatal(err)
	}
	const conn = 1<<40 + 1 // as the server says in ServerReady
	order := []byte("an order")
	r.Sent(r.Now(), conn, 1, 0x10, order)
	r.Frame(conn, 0x30, []byte("accepted as event 4"))
	r.Answered(conn, 1, 4)
	r.Sent(r.Now(), conn, 2, 0x10, order)
	r.Closed(conn)
	if err := r.Close(); err != nil {
		log.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	head, lines, err := history.Read(f)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(head.Client)
	for l, err := range lines {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(l.Request, l.Outcome, l.Event, len(l.Frames))
	}
	// Output:
	// trader 1
	// 1 answered 4 1
	// 2 unknown 0 0
}
