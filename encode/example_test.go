package encode_test

import (
	"encoding/binary"
	"fmt"

	"sluice/encode"
)

// trade is the report of a small application; its query result is one number.
type trade struct {
	Price, Quantity uint32
}

// tradeEncoder writes a length, a tag and the fields, all little-endian.
type tradeEncoder struct{}

func (tradeEncoder) AppendReport(dst []byte, report *trade) ([]byte, error) {
	if report.Quantity > 1000 {
		return dst, fmt.Errorf("quantity %d is more than 1000", report.Quantity)
	}
	dst = binary.LittleEndian.AppendUint32(dst, 1+8)
	dst = append(dst, 0x30)
	dst = binary.LittleEndian.AppendUint32(dst, report.Price)
	return binary.LittleEndian.AppendUint32(dst, report.Quantity), nil
}

func (tradeEncoder) AppendQuery(dst []byte, query *int) ([]byte, error) {
	dst = binary.LittleEndian.AppendUint32(dst, 1+8)
	dst = append(dst, 0x31)
	return binary.LittleEndian.AppendUint64(dst, uint64(*query)), nil
}

// The caller claims room for one slot, lets the framer fill it, and keeps only the part that was
// used.
func Example() {
	framer, err := encode.NewFramer[trade, int](tradeEncoder{}, encode.Framing{}, encode.DefaultMaxFrame)
	if err != nil {
		fmt.Println(err)
		return
	}
	claimed := make([]byte, framer.Room())

	response, _ := framer.Report(claimed[:0], &trade{Price: 100, Quantity: 7}, true, 42)
	fmt.Printf("% x\n", response)

	response, err = framer.Report(claimed[:0], &trade{Price: 100, Quantity: 5000}, true, 43)
	fmt.Println(len(response), err)
	// Output:
	// 09 00 00 00 30 64 00 00 00 07 00 00 00 09 00 00 00 02 2a 00 00 00 00 00 00 00
	// 0 encode: encoder refused a report: quantity 5000 is more than 1000
}
