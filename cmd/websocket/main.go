package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	_ "embed"

	"sluice/actors"
	"sluice/durability"
	"sluice/encode"
)

//go:embed page.html
var page string

func main() {
	address := "127.0.0.1:8080"
	if len(os.Args) == 2 {
		address = os.Args[1]
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	l, err := net.Listen("tcp", address)
	if err == nil {
		fmt.Printf("open http://%s/\n", l.Addr())
		err = serve(ctx, l, actors.Config{})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "websocket:", err)
		os.Exit(1)
	}
}

// serve serves until ctx ends. The order of the end is: no new clients, no new messages, everything
// delivered, then the readers, whose sockets the pipeline has shut.
func serve(ctx context.Context, l net.Listener, cfg actors.Config) error {
	cfg.Policy = durability.Local()
	cfg.Framing = encode.Framing{Raw: true, Control: appendControl}
	cfg.MaxFrame = maxHeader + nameRoom + maxMessage
	cursors := durability.NewCursors(0)
	p, err := actors.Open(cfg, encoder{}, cursors)
	if err != nil {
		return err
	}
	r := newRoom(p, cursors)
	mux := http.NewServeMux()
	mux.Handle("GET /chat", &upgrader{pipeline: p, room: r})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte(page)) // an error means that the client is gone
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err = <-served:
	case <-p.Ended(): // it failed
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	closed := server.Shutdown(end)
	r.close()
	err = errors.Join(err, closed, p.Drain(end))
	r.readers.Wait()
	return err
}

// encoder makes each line of the chat one frame.
type encoder struct{}

// AppendReport implements encode.Encoder.
func (encoder) AppendReport(dst []byte, line *string) ([]byte, error) {
	return appendFrame(dst, opText, *line), nil
}

// AppendQuery implements encode.Encoder; there are no queries.
func (encoder) AppendQuery([]byte, *struct{}) ([]byte, error) {
	return nil, errors.New("the chat has no queries")
}

// appendControl appends what the pipeline itself tells a client. Messages are not responses, so
// nothing marks their end.
func appendControl(dst []byte, c encode.Control) []byte {
	switch c.Kind {
	case encode.ControlHeartbeat:
		return appendFrame(dst, opPing, "")
	case encode.ControlClose:
		return appendClose(dst, statusOf(c.Reason))
	}
	return dst
}
