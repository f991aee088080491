package encode_test

import (
	"testing"

	"sluice/encode"
)

func BenchmarkReport(b *testing.B) {
	b.ReportAllocs()
	var encoder encode.Encoder[trade, int] = tradeEncoder{}
	framer, err := encode.NewFramer(encoder, encode.Framing{}, encode.DefaultMaxFrame)
	if err != nil {
		b.Fatal(err)
	}
	dst := make([]byte, 0, framer.Room())
	report := &trade{Price: 100, Quantity: 7}
	for b.Loop() {
		if _, err := framer.Report(dst, report, true, asked); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEncoderAlone is the cost of Report without the framer: the interface call and the
// encoding.
func BenchmarkEncoderAlone(b *testing.B) {
	b.ReportAllocs()
	var encoder encode.Encoder[trade, int] = tradeEncoder{}
	dst := make([]byte, 0, encode.DefaultMaxFrame)
	report := &trade{Price: 100, Quantity: 7}
	for b.Loop() {
		if _, err := encoder.AppendReport(dst, report); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRefusal is the cost of an encoder's panic, which a client causes once, because it ends
// the connection.
func BenchmarkRefusal(b *testing.B) {
	b.ReportAllocs()
	framer := newFramer(b, func([]byte) ([]byte, error) { panic("no") }, encode.DefaultMaxFrame)
	dst := make([]byte, 0, framer.Room())
	for b.Loop() {
		if _, err := report(framer, dst, new(int), true); err == nil {
			b.Fatal("no error")
		}
	}
}
