package wire

import (
	"encoding/binary"
	"fmt"
)

// Sub-tags: the first byte of the body of a frame with TagExtended.
const (
	SubSubscribe     uint8 = 0x01 // client: a request to follow a topic
	SubUnsubscribe   uint8 = 0x02 // client: a request to follow a topic no longer
	SubTopicData     uint8 = 0x81 // server: a frame of a topic
	SubSnapshotBegin uint8 = 0x82 // server: what follows describes a topic
	SubSnapshotEnd   uint8 = 0x83 // server: the description is complete
	SubGap           uint8 = 0x84 // server: frames of a topic are lost; a snapshot follows
)

// TopicDataSize is how many bytes longer a TopicData is than the application's frame in it.
const TopicDataSize = 1 + 1 + 8 + 8

// TopicMode is what happens to a subscriber that reads too slowly.
type TopicMode uint8

// Modes of a subscription.
const (
	TopicRecover TopicMode = 0 // it gets a Gap, and a snapshot when it reads again
	TopicEvery   TopicMode = 1 // its connection is closed
	TopicLatest  TopicMode = 2 // it gets the newest frame of each key; topic_seq jumps
)

// String is the mode's stable name; "mode 3" for one without a name.
func (m TopicMode) String() string {
	switch m {
	case TopicRecover:
		return "recover"
	case TopicEvery:
		return "every"
	case TopicLatest:
		return "latest"
	}
	return fmt.Sprintf("mode %d", uint8(m))
}

// Subscribe is a request to follow a topic. A client that had frames of it before names the last one,
// and the server goes on behind it if it still can.
type Subscribe struct {
	Topic uint64
	Mode  TopicMode
	Epoch uint64 // of the frame After; 0: the client has none and wants a snapshot
	After uint64 // topic_seq of the last frame that the client has
}

const subscribeSize = 1 + 8 + 1 + 8 + 8 // 26

// AppendSubscribe appends a Subscribe with request_seq seq.
func AppendSubscribe(dst []byte, seq uint64, s Subscribe) []byte {
	return AppendSubscribeBody(appendRequestHeader(dst, seq, TagExtended, subscribeSize), s)
}

// AppendSubscribeBody appends the body of a Subscribe, sub-tag included.
func AppendSubscribeBody(dst []byte, s Subscribe) []byte {
	dst = binary.LittleEndian.AppendUint64(append(dst, SubSubscribe), s.Topic)
	dst = binary.LittleEndian.AppendUint64(append(dst, uint8(s.Mode)), s.Epoch)
	return binary.LittleEndian.AppendUint64(dst, s.After)
}

// DecodeSubscribe decodes the body of a Subscribe, sub-tag included; ok is false if it is another
// sub-tag or too short. The mode is what the client sent, known or not.
func DecodeSubscribe(body []byte) (s Subscribe, ok bool) {
	if len(body) < subscribeSize || body[0] != SubSubscribe {
		return Subscribe{}, false
	}
	return Subscribe{Topic: binary.LittleEndian.Uint64(body[1:]), Mode: TopicMode(body[9]),
		Epoch: binary.LittleEndian.Uint64(body[10:]), After: binary.LittleEndian.Uint64(body[18:])}, true
}

// AppendUnsubscribe appends an Unsubscribe with request_seq seq.
func AppendUnsubscribe(dst []byte, seq, topic uint64) []byte {
	return AppendUnsubscribeBody(appendRequestHeader(dst, seq, TagExtended, 1+8), topic)
}

// AppendUnsubscribeBody appends the body of an Unsubscribe, sub-tag included.
func AppendUnsubscribeBody(dst []byte, topic uint64) []byte {
	return binary.LittleEndian.AppendUint64(append(dst, SubUnsubscribe), topic)
}

// DecodeUnsubscribe decodes the body of an Unsubscribe, sub-tag included; ok is false if it is another
// sub-tag or too short.
func DecodeUnsubscribe(body []byte) (topic uint64, ok bool) {
	return decodeTopic(body, SubUnsubscribe)
}

// TopicData is a frame of a topic.
type TopicData struct {
	Topic uint64
	Seq   uint64 // topic_seq
	Tag   uint8  // of the application's frame: ResponseFirst or above
	Body  []byte // of that frame; points into the body that was decoded
}

// AppendTopicData appends a frame of a topic. Servers append theirs in package encode.
func AppendTopicData(dst []byte, d TopicData) []byte {
	dst = appendResponseHeader(dst, TagExtended, TopicDataSize+len(d.Body))
	dst = appendTopic(dst, SubTopicData, d.Topic, d.Seq)
	return append(append(dst, d.Tag), d.Body...)
}

// DecodeTopicData decodes the body of a TopicData, sub-tag included; ok is false if it is another
// sub-tag, too short, or contains anything but an application's frame.
func DecodeTopicData(body []byte) (d TopicData, ok bool) {
	if len(body) < TopicDataSize || body[0] != SubTopicData || body[17] < ResponseFirst {
		return TopicData{}, false
	}
	return TopicData{Topic: binary.LittleEndian.Uint64(body[1:]), Seq: binary.LittleEndian.Uint64(body[9:]),
		Tag: body[17], Body: body[18:len(body):len(body)]}, true
}

// SnapshotBegin says that the application frames up to SnapshotEnd describe a topic as it is after
// frame Seq.
type SnapshotBegin struct{ Topic, Epoch, Seq uint64 }

// AppendSnapshotBegin appends a SnapshotBegin. Servers append theirs in package encode.
func AppendSnapshotBegin(dst []byte, s SnapshotBegin) []byte {
	dst = appendTopic(appendResponseHeader(dst, TagExtended, 25), SubSnapshotBegin, s.Topic, s.Epoch)
	return binary.LittleEndian.AppendUint64(dst, s.Seq)
}

// DecodeSnapshotBegin decodes the body of a SnapshotBegin, sub-tag included; ok is false if it is
// another sub-tag or too short.
func DecodeSnapshotBegin(body []byte) (s SnapshotBegin, ok bool) {
	if s.Topic, s.Epoch, ok = decodePair(body, SubSnapshotBegin); !ok || len(body) < 25 {
		return SnapshotBegin{}, false
	}
	s.Seq = binary.LittleEndian.Uint64(body[17:])
	return s, true
}

// AppendSnapshotEnd appends a SnapshotEnd. Servers append theirs in package encode.
func AppendSnapshotEnd(dst []byte, topic, seq uint64) []byte {
	return appendTopic(appendResponseHeader(dst, TagExtended, 17), SubSnapshotEnd, topic, seq)
}

// DecodeSnapshotEnd decodes the body of a SnapshotEnd, sub-tag included; ok is false if it is another
// sub-tag or too short.
func DecodeSnapshotEnd(body []byte) (topic, seq uint64, ok bool) {
	return decodePair(body, SubSnapshotEnd)
}

// AppendGap appends a Gap. Servers append theirs in package encode.
func AppendGap(dst []byte, topic, seq uint64) []byte {
	return appendTopic(appendResponseHeader(dst, TagExtended, 17), SubGap, topic, seq)
}

// DecodeGap decodes the body of a Gap, sub-tag included; ok is false if it is another sub-tag or too
// short. seq is the topic_seq of the last frame that is lost.
func DecodeGap(body []byte) (topic, seq uint64, ok bool) { return decodePair(body, SubGap) }

// appendTopic appends a sub-tag, a topic and the number behind it.
func appendTopic(dst []byte, sub uint8, topic, n uint64) []byte {
	dst = binary.LittleEndian.AppendUint64(append(dst, sub), topic)
	return binary.LittleEndian.AppendUint64(dst, n)
}

func decodeTopic(body []byte, sub uint8) (topic uint64, ok bool) {
	if len(body) < 1+8 || body[0] != sub {
		return 0, false
	}
	return binary.LittleEndian.Uint64(body[1:]), true
}

func decodePair(body []byte, sub uint8) (topic, n uint64, ok bool) {
	if topic, ok = decodeTopic(body, sub); !ok || len(body) < 1+8+8 {
		return 0, 0, false
	}
	return topic, binary.LittleEndian.Uint64(body[9:]), true
}
