package marketdata

import "fmt"

// Kind is what a topic of the order book is about.
type Kind uint8

const (
	KindTop    Kind = 1 // best bid and ask of an instrument
	KindTrades Kind = 2 // its trades
	KindDepth  Kind = 3 // all its price levels
)

// String returns top, trades or depth.
func (k Kind) String() string {
	switch k {
	case KindTop:
		return "top"
	case KindTrades:
		return "trades"
	case KindDepth:
		return "depth"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Topic returns the number of the topic of this kind for an instrument: the kind in the highest byte,
// the instrument in the lowest four, and zeros between them.
func (k Kind) Topic(instrument uint32) uint64 { return uint64(k)<<56 | uint64(instrument) }

// ParseTopic is the inverse of Kind.Topic. It reports false for a number that is not a topic of the
// order book.
func ParseTopic(topic uint64) (kind Kind, instrument uint32, ok bool) {
	kind, instrument = Kind(topic>>56), uint32(topic)
	return kind, instrument, kind >= KindTop && kind <= KindDepth && kind.Topic(instrument) == topic
}

// tag returns the tag of the frames of the kind.
func (k Kind) tag() uint8 { return TagQuote + uint8(k-KindTop) }

// TopicName names a topic as sluice client does, such as "depth/7"; empty for a number that is no topic of
// the order book.
func TopicName(topic uint64) string {
	kind, instrument, ok := ParseTopic(topic)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%s/%d", kind, instrument)
}
