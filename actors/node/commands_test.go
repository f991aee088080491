package node

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/transport"
	"sluice/transport/client"
	"sluice/transport/listen"
	"sluice/transport/wire"
)

// operated is a node with a connected operator, whose commands are carried out by command.
func operated(t *testing.T, log *lines, command Command) (*bookNode, *trader) {
	t.Helper()
	leaks(t)
	dir := t.TempDir()
	cfg := config(dir, transport.ModePoll, log)
	public := operatorKey().Public().(ed25519.PublicKey)
	cfg.KeysFile = filepath.Join(dir, "keys")
	line := listen.AppendKeyLine(nil, listen.Operator, public, "")
	if err := os.WriteFile(cfg.KeysFile, line, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Listen.Endpoints[0].Open = false
	n, _ := serve(t, cfg)
	n.SetCommand(command)
	return n, another(t, n)
}

func operatorKey() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(make([]byte, 32)) }

// another connects one more operator.
func another(t *testing.T, n *bookNode) *trader {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := client.Dial(ctx, "tcp", n.Addresses()[0], client.Options{Key: operatorKey()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &trader{t: t, conn: c}
}

// answer is the body of the next frame, which must answer a command.
func (c *trader) answer() string {
	c.t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		c.t.Fatal(err)
	}
	tag, b, err := c.conn.Next()
	if err != nil || tag != wire.TagAdminResponse {
		c.t.Fatalf("tag %#x, %v; want the answer to a command", tag, err)
	}
	_, text, _ := wire.DecodeAdminResponse(b)
	return string(text)
}

// A command that panics costs its operator an error, and the node nothing.
func TestPanicInCommandIsAnswered(t *testing.T) {
	log := &lines{}
	n, operator := operated(t, log, func(_ context.Context, _ string, body []byte) ([]byte, func()) {
		switch string(body) {
		case "panic":
			panic("in the command")
		case "late":
			return []byte(`{"status":200}`), func() { panic("in then") }
		}
		return []byte(`{"status":201}`), nil
	})
	for range commandsMax + 1 { // each returns its permit
		operator.send(wire.TagAdminCommand, []byte("panic"))
		var failed struct{ Status int }
		text := operator.answer()
		if err := json.Unmarshal([]byte(text), &failed); err != nil || failed.Status != 500 {
			t.Fatalf("%q, %v", text, err)
		}
	}
	operator.send(wire.TagAdminCommand, []byte("late"))
	if text := operator.answer(); text != `{"status":200}` {
		t.Errorf("%q", text)
	}
	for _, want := range []string{"operator command panicked", "in the command", "carryOut",
		"in then"} {
		until(t, want, func() bool { return strings.Contains(log.String(), want) })
	}
	operator.send(wire.TagAdminCommand, []byte("more"))
	if text := operator.answer(); text != `{"status":201}` {
		t.Errorf("%q", text)
	}
	drain(t, n)
}

// Each connection has its own places for commands. A place is free before the answer arrives.
func TestPlacesForCommandsBelongToAConnection(t *testing.T) {
	goOn := make(chan struct{})
	n, busy := operated(t, &lines{}, func(_ context.Context, _ string, body []byte) ([]byte, func()) {
		if string(body) == "wait" {
			<-goOn
		}
		return []byte(`{"status":200}`), func() { <-goOn } // after the answer
	})
	other := another(t, n)
	for range commandsMax {
		busy.send(wire.TagAdminCommand, []byte("wait"))
	}
	busy.send(wire.TagAdminCommand, []byte("one more"))
	busy.expect("error", "end")
	for range 10 { // as soon as it has the answer
		for range commandsMax {
			other.send(wire.TagAdminCommand, []byte("now"))
		}
		for range commandsMax {
			if text := other.answer(); text != `{"status":200}` {
				t.Fatal(text)
			}
		}
	}
	close(goOn)
	for range commandsMax {
		if text := busy.answer(); text != `{"status":200}` {
			t.Fatal(text)
		}
	}
	drain(t, n)
	for _, left := range []int{n.operators.places.work, len(n.operators.places.under)} {
		if left != 0 {
			t.Errorf("%d places are taken after the end", left)
		}
	}
}

// All connections together have a bound.
func TestPlacesForCommandsAreBounded(t *testing.T) {
	o := newOperators()
	for conn := range uint64(commandsAll / commandsMax) {
		for range commandsMax {
			if !o.places.take(conn) {
				t.Fatalf("no place for connection %d", conn)
			}
		}
		if o.places.take(conn) {
			t.Errorf("connection %d has more than its places", conn)
		}
	}
	if o.places.take(1000) {
		t.Error("more places than there are")
	}
	o.places.free(3) // its answer is still on its way
	if o.places.take(3) {
		t.Error("more goroutines than there may be")
	}
	o.places.done()
	if !o.places.take(3) {
		t.Error("the place is not free again")
	}
}

// A drain waits for the command that is under way, and its answer is delivered.
func TestDrainDeliversAnswerOfCommand(t *testing.T) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	n, operator := operated(t, &lines{}, func(context.Context, string, []byte) ([]byte, func()) {
		close(begun)
		<-goOn
		return []byte(`{"status":200}`), nil
	})
	operator.send(wire.TagAdminCommand, []byte("{}"))
	<-begun
	ended := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		ended <- n.Drain(ctx)
	}()
	until(t, "the end to begin", func() bool { return !n.Ready() })
	select {
	case err := <-ended:
		t.Fatalf("the drain did not wait for the command: %v", err)
	case <-time.After(250 * time.Millisecond):
	}
	close(goOn)
	if text := operator.answer(); text != `{"status":200}` {
		t.Errorf("%q", text)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A stop ends the context of a command, and waits until it has returned.
func TestStopJoinsCommands(t *testing.T) {
	begun := make(chan struct{})
	var returned atomic.Bool
	n, operator := operated(t, &lines{},
		func(ctx context.Context, _ string, _ []byte) ([]byte, func()) {
			close(begun)
			<-ctx.Done()
			return nil, func() {
				<-time.After(20 * time.Millisecond)
				returned.Store(true)
			}
		})
	operator.send(wire.TagAdminCommand, []byte("{}"))
	<-begun
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_ = n.Stop(ctx) // its error is about the connection
	if !returned.Load() {
		t.Error("the command has not returned at the end of the node")
	}
}

// A command that does not return does not hold the end beyond its deadline, and the end says so.
func TestEndGivesUpOnCommandThatHangs(t *testing.T) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	n, operator := operated(t, &lines{}, func(context.Context, string, []byte) ([]byte, func()) {
		close(begun)
		<-goOn
		return nil, nil
	})
	t.Cleanup(func() { close(goOn) })
	operator.send(wire.TagAdminCommand, []byte("{}"))
	<-begun
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	err := n.Stop(ctx)
	if err == nil || !strings.Contains(err.Error(), "an operator's command has not returned in time") {
		t.Errorf("the end: %v", err)
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("the end took %v", took)
	}
}
