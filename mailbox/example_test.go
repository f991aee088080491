package mailbox_test

import (
	"context"
	"fmt"
	"runtime"

	"sluice/mailbox"
)

// A gate and an encoder share one ring. The gate holds slots back and releases them in place.
func ExampleNewChain() {
	type slot struct {
		seq  int
		text string
	}
	w, readers := mailbox.NewChain[slot](8, 2)
	gate, encode := readers[0], readers[1]

	claim := w.Claim(3)
	for i := range claim {
		claim[i] = slot{seq: i + 1, text: fmt.Sprint("order ", i+1)}
	}
	w.Commit(len(claim))
	w.Publish() // One atomic store for all three.

	const durable = 2
	n := 0
	for _, s := range gate.Batch(64) {
		if s.seq <= durable {
			n++
		}
	}
	gate.Release(n)

	for _, s := range encode.Batch(64) {
		fmt.Println(s.text)
	}
	fmt.Println("held back:", gate.Len()) // The gate has released two of three.
	// Output:
	// order 1
	// order 2
	// held back: 1
}

// Records of any length are written and read in place.
func ExampleNewBytes() {
	w, r := mailbox.NewBytes(1024)
	for _, text := range []string{"short", "a little longer"} {
		room := w.Claim(64)
		w.Commit(copy(room, text))
	}
	w.Close() // Publishes what is committed.

	for !r.Done() {
		for record, ok := r.Next(); ok; record, ok = r.Next() {
			fmt.Printf("%s\n", record)
		}
		r.Release()
	}
	// Output:
	// short
	// a little longer
}

// token is the usual waker: a channel of capacity one.
type token chan struct{}

func (t token) Wake() {
	select {
	case t <- struct{}{}:
	default:
	}
}

// One goroutine reads two mailboxes and sleeps while both are empty.
func ExampleSignal() {
	wake := make(token, 1)
	signal := mailbox.NewSignal(wake)
	w, slots := mailbox.NewSPSC[int](4)
	send, commands := mailbox.NewMPSC[string](4)
	slots.SetSignal(signal)
	commands.SetSignal(signal)

	go func() {
		w.Claim(1)[0] = 42
		w.Commit(1)
		w.Close()
	}()
	go func() {
		send.TrySend("drain")
		send.Close()
	}()

	sum, count := 0, 0
	step := func() (work int) {
		for _, v := range slots.Batch(16) {
			sum += v
			work++
		}
		slots.Release(work)
		if _, ok := commands.Recv(); ok {
			count++
			work++
		}
		return work
	}
	done := func() bool { return slots.Done() && commands.Done() }
	for !done() {
		if step() > 0 {
			continue
		}
		signal.Prepare()
		if step() > 0 || done() { // The re-check.
			signal.Cancel()
			continue
		}
		<-wake
	}
	fmt.Println(sum, count)
	// Output: 42 1
}

// A goroutine that has nothing else to do waits for room in a full ring.
func ExampleWriter_ClaimWait() {
	w, r := mailbox.NewSPSC[int](2)
	sum := make(chan int)
	go func() {
		total := 0
		for !r.Done() { // a reader that has other work sleeps as at Signal
			batch := r.Batch(2)
			for _, v := range batch {
				total += v
			}
			r.Release(len(batch))
			runtime.Gosched()
		}
		sum <- total
	}()
	for v := range 100 {
		room, err := w.ClaimWait(context.Background(), 1)
		if err != nil {
			fmt.Println(err)
			return
		}
		room[0] = v
		w.Commit(1)
		w.Publish()
	}
	w.Close()
	fmt.Println(<-sum)
	// Output: 4950
}
