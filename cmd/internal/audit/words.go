package audit

import (
	"fmt"

	"sluice/actors/node/inspect"
	"sluice/actors/sequencer"
	"sluice/cmd/orderbook"
)

// connection is a connection's id as people see it: node.start.counter, or start.counter. The start of a node
// of a later generation has 16,384 added for each generation.
func connection(id uint64) string {
	node, start, counter := id>>58, id>>40&(1<<18-1), id&(1<<40-1)
	if node == 0 {
		return fmt.Sprintf("%d.%d", start, counter)
	}
	return fmt.Sprintf("%d.%d.%d", node, start, counter)
}

// describe puts an event in words.
func describe(e inspect.Event) string {
	var ev sequencer.Event
	if err := sequencer.DecodeEvent(e.Payload, &ev); err != nil {
		return fmt.Sprintf("unreadable (%v)", err)
	}
	text := say(&ev)
	if e.Term != 0 {
		text += fmt.Sprintf(" in term %d", e.Term)
	}
	return text
}

// say puts a decoded event in words.
func say(ev *sequencer.Event) string {
	if ev.Kind != sequencer.KindRequest {
		return fmt.Sprintf("a %s event", ev.Kind)
	}
	return fmt.Sprintf("request %d of connection %s (%s)", ev.Request, connection(ev.Conn),
		(*orderbook.Book)(nil).DescribeRequest(ev.Tag, ev.Body))
}

// tell puts a report in words.
func tell(r *orderbook.Report) string {
	order := fmt.Sprintf("order #%d of account %d", r.ClientOrderID, r.Account)
	switch r.Tag {
	case orderbook.TagAccepted:
		return "accepted, " + order
	case orderbook.TagRejected:
		return fmt.Sprintf("rejected, command #%d of account %d: %v", r.ClientOrderID, r.Account, r.Reason)
	case orderbook.TagFill:
		return fmt.Sprintf("a fill of %s: %d @ %d", order, r.Quantity, r.Price)
	case orderbook.TagCancelled:
		return fmt.Sprintf("cancelled, %s: %v", order, r.Reason)
	case orderbook.TagReplaced:
		return fmt.Sprintf("replaced, %s: %d @ %d", order, r.Quantity, r.Price)
	}
	return "cancel on disconnect"
}
