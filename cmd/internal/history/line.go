package history

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"

	"github.com/cespare/xxhash/v2"
)

// version is that of the format.
const version = 1

// Head is the first line of a history.
type Head struct {
	Version int    `json:"history"` // of the format, 1
	Client  string `json:"client"`  // its name, for people
	Clock   string `json:"clock"`   // times of histories with the same clock can be compared
}

// Outcome is what a client knows of a request.
type Outcome string

// Outcomes.
const (
	Answered Outcome = "answered" // the response is complete
	Refused  Outcome = "refused"  // the server said that it did not execute the request
	Unknown  Outcome = "unknown"  // no response: the request may have been executed
)

// Line is a line behind the Head: a request and what became of it, or only frames.
type Line struct {
	Conn    uint64 `json:"conn,omitempty"`    // id of the connection, as the server gave it; 0 if it is not known
	Request uint64 `json:"request,omitempty"` // number that the client gave the request
	Hash    Hash   `json:"hash,omitempty"`    // of the request, if it belongs into the log
	Query   Bytes  `json:"query,omitempty"`   // tag and body of the request, if it is a query
	Sent    int64  `json:"sent,omitempty"`    // ns of the clock

	Outcome  Outcome `json:"outcome,omitempty"`
	Answered int64   `json:"answered,omitempty"` // ns of the clock
	Event    uint64  `json:"event,omitempty"`    // number of the request in the log; 0 if the response has none
	AsOf     uint64  `json:"as_of,omitempty"`    // last event that the response to a query takes into account
	Answer   []Hash  `json:"answer,omitempty"`   // frames of the response to a query

	Frames []Hash `json:"frames,omitempty"` // others that arrived on the connection since its line before
}

// Bytes are bytes whose text is hexadecimal.
type Bytes []byte

// MarshalText implements encoding.TextMarshaler.
func (b Bytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, b), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *Bytes) UnmarshalText(text []byte) (err error) {
	*b, err = hex.DecodeString(string(text))
	return err
}

// Hash identifies a request or a frame: xxhash of its tag and its body. Its text is 16 hex digits.
type Hash uint64

// HashOf is the hash of a request or a frame.
func HashOf(tag uint8, body []byte) Hash {
	var d xxhash.Digest
	d.Reset()
	_, _ = d.Write([]byte{tag}) // never fails
	_, _ = d.Write(body)
	return Hash(d.Sum64())
}

// String is the hash in hex digits.
func (h Hash) String() string { return fmt.Sprintf("%016x", uint64(h)) }

// MarshalText implements encoding.TextMarshaler.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hash) UnmarshalText(text []byte) error {
	v, err := strconv.ParseUint(string(text), 16, 64)
	if err != nil || len(text) != 16 {
		return fmt.Errorf("history: hash %q; want 16 hex digits", text)
	}
	*h = Hash(v)
	return nil
}

// Read reads a history. The lines are to be read before the next use of r; an error ends them. It names
// the line.
func Read(r io.Reader) (Head, iter.Seq2[Line, error], error) {
	var head Head
	in := bufio.NewReader(r)
	if text, err := in.ReadBytes('\n'); err != nil {
		return head, nil, fmt.Errorf("history: the first line is not whole: %w", err)
	} else if err := decode(text, &head); err != nil {
		return head, nil, fmt.Errorf("history: line 1: %w", err)
	}
	if head.Version != version {
		return head, nil, fmt.Errorf("history: line 1 says format %d, this program reads %d", head.Version, version)
	}
	return head, func(yield func(Line, error) bool) {
		for number := 2; ; number++ {
			text, err := in.ReadBytes('\n')
			if errors.Is(err, io.EOF) {
				return // text is a line that was being written when the client was killed
			}
			var line Line
			if err == nil {
				err = decode(text, &line)
			}
			if err == nil {
				err = line.check()
			}
			if err != nil {
				yield(Line{}, fmt.Errorf("history: line %d: %w", number, err))
				return
			}
			if !yield(line, nil) {
				return
			}
		}
	}, nil
}

// decode reads one object and nothing else.
func decode(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the object")
	}
	return nil
}

func (l *Line) check() error {
	query := len(l.Query) > 0
	switch {
	case l.Outcome != "" && l.Outcome != Answered && l.Outcome != Refused && l.Outcome != Unknown:
		return fmt.Errorf("outcome %q; want answered, refused or unknown", l.Outcome)
	case l.Outcome == "" && (l.Hash != 0 || query || l.Request != 0):
		return errors.New("a request without an outcome")
	case l.Outcome != Answered && (l.Event != 0 || l.AsOf != 0 || l.Answered != 0 || len(l.Answer) > 0):
		return errors.New("event, as_of, answer and answered belong to a request that was answered")
	case query && l.Event != 0 || !query && (l.AsOf != 0 || len(l.Answer) > 0):
		return errors.New("a query has as_of and answer, another request has event")
	case l.Conn == 0 && len(l.Frames) > 0:
		return errors.New("frames without a connection")
	}
	return nil
}
