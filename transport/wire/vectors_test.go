package wire

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

const number = 0x0102030405060708 // request_seq of the vectors

// vector is a frame of docs/wire.md. want is as printed there: in hexadecimal, where `00..1f` means
// the bytes that count up from the first to the last.
type vector struct {
	name string
	got  []byte
	want string
}

// vectors returns the frames that this package appends.
func vectors() []vector {
	nonce := [NonceSize]byte(pattern(0, NonceSize))
	signed := Hello{Version: 1, Heartbeat: 5 * time.Second, Signature: pattern(0, SignatureSize),
		Key: pattern(0x80, PublicKeySize)}
	extended := signed
	extended.Extensions = []byte{0xfe, 2, 0, 0xaa, 0xbb}
	return []vector{
		{"Heartbeat of a client", []byte(ClientHeartbeat), "09000000 0000000000000000 01"},
		{"Challenge", AppendChallenge(nil, &Challenge{Nonce: nonce}), "22000000 05 00..1f 00"},
		{"Challenge that asks for a signature",
			AppendChallenge(nil, &Challenge{Nonce: nonce, Sign: true}), "22000000 05 00..1f 01"},
		{"Hello", AppendHello(nil, &Hello{Version: 1}), "0f000000 0000000000000000 0c 01 00 00000000"},
		{"signed Hello", AppendHello(nil, &signed),
			"6f000000 0000000000000000 0c 01 01 88130000 00..3f 80..9f"},
		{"Hello with an extension", AppendHello(nil, &extended),
			"74000000 0000000000000000 0c 01 01 88130000 00..3f 80..9f fe 0200 aabb"},
		{"ServerReady", AppendServerReady(nil, &ServerReady{Version: 1, Leads: true, Conn: number,
			MaxRequest: 1024, MaxResponse: 65536, Window: 256, Rate: 1000, Burst: 2000,
			Heartbeat: 10 * time.Second, Silence: 30 * time.Second, Name: "sluice"}),
			"2e000000 08 01 01 0807060504030201 00040000 00000100 00010000 e8030000 d0070000 " +
				"10270000 30750000 06 736c75696365"},
		{"ServerReady without limits", AppendServerReady(nil, &ServerReady{Version: 1, Conn: 1,
			MaxRequest: 1024, MaxResponse: 1048576, Silence: 30 * time.Second}),
			"28000000 08 01 00 0100000000000000 00040000 00001000 00000000 00000000 00000000 " +
				"00000000 30750000 00"},
		{"Close", AppendClose(nil, Close{Reason: CloseShutdown, RetryAfter: time.Second}), "07000000 0d 01 00 e8030000"},
		{"Close for good", AppendClose(nil, Close{Reason: CloseUnauthorized, RetryAfter: Never}),
			"07000000 0d 07 00 ffffffff"},
		{"Close after the last response", AppendClose(nil, Close{Reason: CloseShutdown, RetryAfter: time.Second, Answered: true}),
			"07000000 0d 01 01 e8030000"},
		{"Close with an address", AppendClose(nil, Close{Reason: CloseNotLeader, RetryAfter: 100 * time.Millisecond,
			Address: "node-2:7000"}),
			"13000000 0d 0a 00 64000000 0b 6e6f64652d323a37303030"},
		{"AdminCommand", AppendRequest(nil, number, TagAdminCommand, []byte(`{"path":"/"}`)),
			"15000000 0807060504030201 09 7b2270617468223a222f227d"},
		{"AdminResponse", AppendAdminResponse(nil, number, []byte(`{"status":200}`)),
			"17000000 0a 0807060504030201 7b22737461747573223a3230307d"},
		{"request", AppendRequest(nil, number, RequestFirst, []byte("abc")),
			"0c000000 0807060504030201 10 616263"},
		{"response", AppendResponse(nil, ResponseFirst, []byte("abc")), "04000000 30 616263"},
		{"traced request", AppendTraced(nil, 7, (*[TraceSize]byte)(append(pattern(1, 24), 1)), 0x13,
			[]byte{0xaa, 0xbb}), "25000000 0700000000000000 0b 01..18 01 13 aabb"},
		{"Subscribe", AppendSubscribe(nil, number, Subscribe{Topic: 7}),
			"23000000 0807060504030201 0f 01 0700000000000000 00 0000000000000000 0000000000000000"},
		{"Subscribe behind a frame",
			AppendSubscribe(nil, 1, Subscribe{Topic: 0xf1e2d3c4b5a69788, Mode: TopicLatest, Epoch: 0x1112131415161718,
				After: 1000}),
			"23000000 0100000000000000 0f 01 8897a6b5c4d3e2f1 02 1817161514131211 e803000000000000"},
		{"Unsubscribe", AppendUnsubscribe(nil, number, 7), "12000000 0807060504030201 0f 02 0700000000000000"},
		{"TopicData", AppendTopicData(nil, TopicData{Topic: 7, Seq: 1001, Tag: ResponseFirst, Body: []byte("abc")}),
			"16000000 0f 81 0700000000000000 e903000000000000 30 616263"},
		{"SnapshotBegin", AppendSnapshotBegin(nil, SnapshotBegin{Topic: 7, Epoch: 0x1112131415161718, Seq: 1000}),
			"1a000000 0f 82 0700000000000000 1817161514131211 e803000000000000"},
		{"SnapshotEnd", AppendSnapshotEnd(nil, 7, 1000), "12000000 0f 83 0700000000000000 e803000000000000"},
		{"Gap", AppendGap(nil, 7, 1005), "12000000 0f 84 0700000000000000 ed03000000000000"},
	}
}

// unhex decodes the notation of the vectors.
func unhex(t *testing.T, text string) (b []byte) {
	t.Helper()
	for _, word := range strings.Fields(text) {
		first, last, counts := strings.Cut(word, "..")
		part, err := hex.DecodeString(first)
		if err != nil {
			t.Fatalf("%q: %v", word, err)
		}
		if counts {
			end, err := hex.DecodeString(last)
			if err != nil || len(end) != 1 || len(part) != 1 {
				t.Fatalf("%q: %v", word, err)
			}
			part = pattern(int(part[0]), int(end[0])-int(part[0])+1)
		}
		b = append(b, part...)
	}
	return b
}

func TestFramesMatchTheSpecification(t *testing.T) {
	page, err := os.ReadFile("../../docs/wire.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors() {
		if want := unhex(t, v.want); !bytes.Equal(v.got, want) {
			t.Errorf("%s: % x, want % x", v.name, v.got, want)
		}
		if !strings.Contains(string(page), "`"+v.want+"`") {
			t.Errorf("%s: docs/wire.md has no vector %s", v.name, v.want)
		}
	}
}

// The seed, the public key and the signature are those of docs/wire.md.
func TestSignatureMatchesTheSpecification(t *testing.T) {
	page, err := os.ReadFile("../../docs/wire.md")
	if err != nil {
		t.Fatal(err)
	}
	key := ed25519.NewKeyFromSeed(pattern(0, ed25519.SeedSize))
	message := Signed((*[NonceSize]byte)(pattern(0, NonceSize)), nil)
	if want := unhex(t, "736c7569636520636c69656e742068616e647368616b6520763100 00..1f"); !bytes.Equal(message, want) {
		t.Errorf("signed message % x, want % x", message, want)
	}
	for name, b := range map[string][]byte{"public key": key[32:], "signature": ed25519.Sign(key, message)} {
		if !strings.Contains(string(page), hex.EncodeToString(b)) {
			t.Errorf("docs/wire.md has no %s %x", name, b)
		}
	}
}

// Frames of the pipeline are decoded here and appended in package encode.
func TestFramesOfThePipelineAreDecoded(t *testing.T) {
	body := func(text string) []byte {
		tag, body, size, err := NextResponse(unhex(t, text), MaxResponse)
		if size == 0 || err != nil || tag == 0 {
			t.Fatalf("%s: size %d, %v", text, size, err)
		}
		return body
	}
	if n, ok := DecodeBatchEnd(body("09000000 02 0807060504030201")); !ok || n != number {
		t.Errorf("BatchEnd of %#x, %t", n, ok)
	}
	if n, ok := DecodeServerBusy(body("09000000 04 0807060504030201")); !ok || n != number {
		t.Errorf("ServerBusy of %#x, %t", n, ok)
	}
	n, reason, ok := DecodeEngineError(body("0a000000 03 0807060504030201 03"))
	if !ok || n != number || reason != RefusalRole {
		t.Errorf("EngineError of %#x: %v, %t", n, reason, ok)
	}
	if _, ok := DecodeBatchEnd(make([]byte, 7)); ok {
		t.Error("a BatchEnd of 7 bytes was accepted")
	}
	if _, _, ok := DecodeEngineError(make([]byte, 8)); ok {
		t.Error("an EngineError of 8 bytes was accepted")
	}
}

func TestBytesBehindTheKnownFieldsAreIgnored(t *testing.T) {
	challenge := Challenge{Nonce: [NonceSize]byte(pattern(9, NonceSize)), Sign: true}
	ready := ServerReady{Version: 1, Conn: 7, Name: "n"}
	end := Close{Reason: CloseKicked, RetryAfter: Never, Address: "a:1"}
	const later = "later"
	body := func(frame []byte) []byte { return append(frame[PrefixSize+ResponseHeaderSize:], later...) }
	if c, ok := DecodeChallenge(body(AppendChallenge(nil, &challenge))); !ok || c != challenge {
		t.Errorf("%+v, %t", c, ok)
	}
	if s, ok := DecodeServerReady(body(AppendServerReady(nil, &ready))); !ok || s != ready {
		t.Errorf("%+v, %t", s, ok)
	}
	if c, ok := DecodeClose(body(AppendClose(nil, end))); !ok || c != end {
		t.Errorf("%+v, %t", c, ok)
	}
	end.Address = "" // with fields behind it, a Close without an address says so
	if c, ok := DecodeClose(body(append(AppendClose(nil, end), 0))); !ok || c != end {
		t.Errorf("%+v, %t", c, ok)
	}
	if n, ok := DecodeBatchEnd([]byte("\x07\x00\x00\x00\x00\x00\x00\x00" + later)); !ok || n != 7 {
		t.Errorf("%d, %t", n, ok)
	}
}

func TestShortBodiesAreRejected(t *testing.T) {
	hello := Hello{Version: 1, Signature: make([]byte, SignatureSize), Key: make([]byte, PublicKeySize),
		Extensions: []byte{1, 1, 0, 9}}
	ready := ServerReady{Version: 1, Name: "name"}
	for name, v := range map[string]struct {
		frame  []byte
		decode func([]byte) bool
		whole  []int // shorter sizes that are whole too
	}{
		"Challenge": {AppendChallenge(nil, new(Challenge))[5:],
			func(b []byte) bool { _, ok := DecodeChallenge(b); return ok }, nil},
		"Hello": {AppendHello(nil, &hello)[13:],
			func(b []byte) bool { _, ok := DecodeHello(b); return ok }, []int{6 + 96}},
		"ServerReady": {AppendServerReady(nil, &ready)[5:],
			func(b []byte) bool { _, ok := DecodeServerReady(b); return ok }, nil},
		"Close": {AppendClose(nil, Close{Address: "a:1"})[5:],
			func(b []byte) bool { _, ok := DecodeClose(b); return ok }, []int{6}},
		"Subscribe": {AppendSubscribe(nil, 1, Subscribe{})[13:],
			func(b []byte) bool { _, ok := DecodeSubscribe(b); return ok }, nil},
		"Unsubscribe": {AppendUnsubscribe(nil, 1, 2)[13:],
			func(b []byte) bool { _, ok := DecodeUnsubscribe(b); return ok }, nil},
		"TopicData": {AppendTopicData(nil, TopicData{Tag: ResponseFirst})[5:],
			func(b []byte) bool { _, ok := DecodeTopicData(b); return ok }, nil},
		"SnapshotBegin": {AppendSnapshotBegin(nil, SnapshotBegin{})[5:],
			func(b []byte) bool { _, ok := DecodeSnapshotBegin(b); return ok }, nil},
		"SnapshotEnd": {AppendSnapshotEnd(nil, 1, 2)[5:],
			func(b []byte) bool { _, _, ok := DecodeSnapshotEnd(b); return ok }, nil},
		"Gap":           {AppendGap(nil, 1, 2)[5:], func(b []byte) bool { _, _, ok := DecodeGap(b); return ok }, nil},
		"AdminResponse": {AppendAdminResponse(nil, 1, nil)[5:], func(b []byte) bool { _, _, ok := DecodeAdminResponse(b); return ok }, nil},
	} {
		for n := range len(v.frame) + 1 {
			want := n == len(v.frame)
			for _, whole := range v.whole {
				want = want || n == whole
			}
			if v.decode(v.frame[:n]) != want {
				t.Errorf("%s: %d of %d bytes: accepted %t", name, n, len(v.frame), !want)
			}
		}
	}
	for _, body := range [][]byte{{0, 0, 0, 0, 0, 0}, {1, 0, 0, 0, 0, 0, 9, 1, 0}} {
		if h, ok := DecodeHello(body); ok {
			t.Errorf("% x was decoded as %+v", body, h)
		}
	}
}

// A TopicData carries frames of the application only, so no frame of the transport hides in one, and
// no body is two things.
func TestBodiesOfTopicsAreTold(t *testing.T) {
	for tag := range 256 {
		body := AppendTopicData(nil, TopicData{Topic: 1, Seq: 2, Tag: uint8(tag), Body: []byte{3}})[5:]
		if d, ok := DecodeTopicData(body); ok != (tag >= int(ResponseFirst)) {
			t.Errorf("tag %#02x in a TopicData: %+v, %t", tag, d, ok)
		}
	}
	for sub := range 256 {
		body := make([]byte, 40)
		body[0], body[17] = uint8(sub), ResponseFirst
		_, subscribe := DecodeSubscribe(body)
		_, unsubscribe := DecodeUnsubscribe(body)
		_, data := DecodeTopicData(body)
		_, begin := DecodeSnapshotBegin(body)
		_, _, end := DecodeSnapshotEnd(body)
		_, _, gap := DecodeGap(body)
		for of, ok := range map[uint8]bool{SubSubscribe: subscribe, SubUnsubscribe: unsubscribe, SubTopicData: data,
			SubSnapshotBegin: begin, SubSnapshotEnd: end, SubGap: gap} {
			if ok != (int(of) == sub) {
				t.Errorf("sub-tag %#02x was decoded as %#02x: %t", sub, of, ok)
			}
		}
	}
}

func TestDurationsOutOfRangeAreClamped(t *testing.T) {
	for _, v := range []struct{ in, want time.Duration }{
		{0, 0}, {time.Nanosecond, time.Millisecond}, {1500 * time.Microsecond, time.Millisecond},
		{1 << 62, (1<<32 - 2) * time.Millisecond}, {Never, Never}, {-1 << 40, Never},
	} {
		c, ok := DecodeClose(AppendClose(nil, Close{RetryAfter: v.in})[5:])
		if !ok || c.RetryAfter != v.want {
			t.Errorf("%v became %v, want %v", v.in, c.RetryAfter, v.want)
		}
	}
	if s, _ := DecodeServerReady(AppendServerReady(nil, &ServerReady{Version: 1, Heartbeat: -1,
		Name: strings.Repeat("n", 300)})[5:]); s.Heartbeat != 0 || len(s.Name) != 255 {
		t.Errorf("%+v", s)
	}
}

func TestAddressOfCloseIsBounded(t *testing.T) {
	longest := Close{Address: strings.Repeat("a", MaxAddress)}
	if c, ok := DecodeClose(AppendClose(nil, longest)[5:]); !ok || c != longest {
		t.Errorf("%+v, %t", c, ok)
	}
	if c, ok := DecodeClose(AppendClose(nil, Close{Address: longest.Address + "a"})[5:]); !ok || c != (Close{}) {
		t.Errorf("an address that is too long became %+v, %t", c, ok)
	}
}

func TestReasonsHaveNames(t *testing.T) {
	for reason, want := range map[CloseReason]string{CloseShutdown: "shutdown", CloseSlowFeed: "slow_feed",
		0: "reason 0", 14: "reason 14", 200: "reason 200"} {
		if got := reason.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := fmt.Sprint(TopicRecover, TopicEvery, TopicLatest, TopicMode(3)); got != "recover every latest mode 3" {
		t.Error(got)
	}
	if RefusalRole.String() != "role not permitted" || Refusal(9).String() != "reason 9" {
		t.Error(RefusalRole, Refusal(9))
	}
}
