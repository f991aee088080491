package secure

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"io"
	"strings"
	"testing"
	"time"
)

// half is one direction of a TLS 1.3 connection with AES-128-GCM and SHA-256, made from its traffic secret: crypto/tls
// sends no key updates of its own.
type half struct {
	t      testing.TB
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

func newHalf(t testing.TB, secret []byte) *half {
	h := &half{t: t, secret: secret}
	h.derive()
	return h
}

func (h *half) expand(label string, n int) []byte {
	label = "tls13 " + label
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(append(info, byte(len(label))), label...)
	out, err := hkdf.Expand(sha256.New, h.secret, string(append(info, 0)), n)
	if err != nil {
		h.t.Fatal(err)
	}
	return out
}

func (h *half) derive() {
	block, err := aes.NewCipher(h.expand("key", 16))
	if err != nil {
		h.t.Fatal(err)
	}
	if h.aead, err = cipher.NewGCM(block); err != nil {
		h.t.Fatal(err)
	}
	h.iv, h.seq = h.expand("iv", 12), 0
}

// update moves on to the next keys.
func (h *half) update() {
	h.secret = h.expand("traffic upd", sha256.Size)
	h.derive()
}

func (h *half) nonce() []byte {
	n := append([]byte(nil), h.iv...)
	for i := range 8 {
		n[4+i] ^= byte(h.seq >> (56 - 8*i))
	}
	h.seq++
	return n
}

const (
	typeAlert     = 21
	typeHandshake = 22
	typeData      = 23
)

// seal makes a record of a type.
func (h *half) seal(kind byte, data []byte) []byte {
	inner := append(append([]byte(nil), data...), kind)
	head := binary.BigEndian.AppendUint16([]byte{typeData, 3, 3}, uint16(len(inner)+16))
	return h.aead.Seal(head, h.nonce(), inner, head)
}

// open takes the first record from b.
func (h *half) open(b []byte) (kind byte, data, rest []byte) {
	h.t.Helper()
	size := 5 + int(binary.BigEndian.Uint16(b[3:]))
	inner, err := h.aead.Open(nil, h.nonce(), b[5:size], b[:5])
	if err != nil {
		h.t.Fatalf("a record of %d bytes: %v", size, err)
	}
	return inner[len(inner)-1], inner[:len(inner)-1], b[size:]
}

// keyUpdate is the handshake message, with or without a request for one of the other side.
func keyUpdate(request bool) []byte {
	if request {
		return []byte{24, 0, 0, 1, 1}
	}
	return []byte{24, 0, 0, 1, 0}
}

// raw is a server's session and both directions of its client.
type raw struct {
	*Session
	up, down *half
	plain    []byte
	now      int64
}

// newRaw does a handshake.
func newRaw(t testing.TB) *raw {
	t.Helper()
	pair, err := SelfSigned(time.Now().Add(-time.Hour), time.Now().Add(time.Hour), "localhost")
	if err != nil {
		t.Fatal(err)
	}
	near, far := connected(t)
	var keys bytes.Buffer
	c := tls.Client(far, &tls.Config{InsecureSkipVerify: true, KeyLogWriter: &keys})
	s := Server(near, Config(pair))
	done := make(chan error, 1)
	go func() { done <- s.Handshake() }()
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if suite := c.ConnectionState().CipherSuite; suite != tls.TLS_AES_128_GCM_SHA256 {
		t.Skipf("the test knows AES-128-GCM; this machine prefers %s", tls.CipherSuiteName(suite))
	}
	secrets := map[string][]byte{}
	for lines := bufio.NewScanner(&keys); lines.Scan(); {
		if words := strings.Fields(lines.Text()); len(words) == 3 {
			if secrets[words[0]], err = hex.DecodeString(words[2]); err != nil {
				t.Fatal(err)
			}
		}
	}
	return &raw{Session: s, up: newHalf(t, secrets["CLIENT_TRAFFIC_SECRET_0"]),
		down: newHalf(t, secrets["SERVER_TRAFFIC_SECRET_0"]), plain: make([]byte, 64<<10)}
}

// send gives records to the session and returns what they contain.
func (r *raw) send(records ...[]byte) (string, error) {
	n, used, err := r.Open(r.plain, bytes.Join(records, nil), r.now)
	if err == nil && used != len(bytes.Join(records, nil)) {
		err = io.ErrShortBuffer
	}
	return string(r.plain[:n]), err
}
