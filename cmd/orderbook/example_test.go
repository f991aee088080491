package orderbook_test

import (
	"fmt"

	"sluice/actors/sequencer"
	"sluice/cmd/orderbook"
)

// printer is an emitter that prints a report when the next one begins. The emitter of the
// sequencer returns slots of the ring instead.
type printer struct {
	conn   uint64
	report orderbook.Report
}

func (p *printer) Report(conn uint64) *orderbook.Report {
	p.flush()
	p.conn, p.report = conn, orderbook.Report{}
	return &p.report
}

func (p *printer) Query(uint64) *orderbook.Answer { return new(orderbook.Answer) }

func (p *printer) Publish(_, _ uint64) *orderbook.Report { return new(orderbook.Report) }

func (p *printer) flush() {
	if p.report.Tag == 0 {
		return
	}
	frame, err := orderbook.Encoder{}.AppendReport(nil, &p.report)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("to connection %d: tag 0x%02x, %d bytes, traded %d, open %d\n",
		p.conn, p.report.Tag, len(frame), p.report.Quantity, p.report.Open)
	p.report = orderbook.Report{}
}

// A buy order rests, a sell order trades with it, and both sides receive a report.
func Example() {
	book, err := orderbook.New(orderbook.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	var out printer
	for i, side := range []orderbook.Side{orderbook.Buy, orderbook.Sell} {
		seq := uint64(i + 1)
		frame, err := orderbook.AppendRequest(nil, 1, &orderbook.Command{
			Tag: orderbook.TagNew, Account: 10 * seq, ClientOrderID: 1, Instrument: 7, Side: side,
			Type: orderbook.Limit, TimeInForce: orderbook.GoodTillCancel, Price: 100, Quantity: 4 + seq,
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		ev := &sequencer.Event{Seq: seq, Conn: seq, Tag: frame[12], Body: frame[13:]}
		if err := book.Check(ev); err != nil {
			fmt.Println(err)
			return
		}
		book.Apply(ev, &out)
	}
	out.flush()
	// Output:
	// to connection 1: tag 0x30, 37 bytes, traded 0, open 0
	// to connection 2: tag 0x30, 37 bytes, traded 0, open 0
	// to connection 1: tag 0x32, 71 bytes, traded 5, open 0
	// to connection 2: tag 0x32, 71 bytes, traded 5, open 1
}
