package main

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"sluice/actors"
	"sluice/transport"
)

// pipeline is one whose responses are lines of text.
type pipeline = actors.Pipeline[string, struct{}]

// upgrader makes connections of HTTP requests.
type upgrader struct {
	pipeline *pipeline
	room     *room
	last     atomic.Uint64 // id of the last connection
}

// acceptOf is the answer to the key of a client (RFC 6455, 4.2.2).
func acceptOf(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// refusal says why a request cannot be upgraded; empty if it can. A page of another site must not
// speak for its visitor.
func refusal(r *http.Request) string {
	token := func(name, want string) bool {
		return strings.Contains(strings.ToLower(r.Header.Get(name)), want)
	}
	origin, err := url.Parse(r.Header.Get("Origin"))
	switch {
	case !token("Connection", "upgrade") || !token("Upgrade", "websocket"):
		return "this address is for WebSocket clients"
	case r.Header.Get("Sec-WebSocket-Version") != "13":
		return "only version 13 of WebSocket is served"
	case r.Header.Get("Sec-WebSocket-Key") == "":
		return "Sec-WebSocket-Key is missing"
	case err != nil || origin.Host != "" && origin.Host != r.Host:
		return "a page of another site may not connect"
	}
	return ""
}

// ServeHTTP implements http.Handler: it takes the connection from the HTTP server, answers, hands a
// duplicate to the pipeline and reads until the client leaves.
func (u *upgrader) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if why := refusal(r); why != "" {
		w.Header().Set("Sec-WebSocket-Version", "13")
		http.Error(w, why, http.StatusBadRequest)
		return
	}
	if !u.room.enter() {
		http.Error(w, "shutting down", http.StatusServiceUnavailable)
		return
	}
	defer u.room.readers.Done()
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer conn.Close()
	id := u.last.Add(1)
	if err := u.connect(id, conn, r); err != nil {
		return // the client is gone, or the pipeline is full or ending
	}
	answered, reason := u.read(id, buffered.Reader)
	u.room.leave(id)
	u.pipeline.Disconnect(id, answered, reason)
}

// connect answers the request and hands the connection over. From then on only the pipeline writes.
func (u *upgrader) connect(id uint64, conn net.Conn, r *http.Request) error {
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"+
		"Upgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		acceptOf(r.Header.Get("Sec-WebSocket-Key"))); err != nil {
		return err
	}
	if err := u.pipeline.ConnectNet(actors.Conn{ID: id}, conn); err != nil {
		return err
	}
	u.room.join(id)
	return nil
}

// read reads the frames of a client until it leaves. It returns how many of them were answered with
// Respond, and why it ends.
func (u *upgrader) read(id uint64, in *bufio.Reader) (answered uint64, why transport.Reason) {
	respond := func(frame []byte) {
		if u.pipeline.Respond(id, frame) == nil {
			answered++
		}
	}
	for {
		opcode, text, err := readFrame(in)
		switch {
		case errors.Is(err, errProtocol):
			return answered, transport.ReasonFrameMalformed
		case errors.Is(err, io.EOF):
			return answered, transport.ReasonPeerClosed
		case err != nil:
			return answered, transport.ReasonPeerReset
		}
		switch opcode {
		case opText:
			u.room.say(id, text)
		case opPing:
			respond(appendFrame(nil, opPong, text))
		case opClose:
			respond(appendClose(nil, statusNormal))
			return answered, transport.ReasonPeerClosed
		case opPong:
		default:
			return answered, transport.ReasonFrameMalformed
		}
	}
}
