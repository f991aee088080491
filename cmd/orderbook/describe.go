package orderbook

import "fmt"

// DescribeRequest is a request as `sluice client` takes it, behind its account and number.
func (*Book) DescribeRequest(tag uint8, body []byte) string {
	var c Command
	if err := DecodeRequest(tag, body, &c); err != nil {
		return "malformed: " + err.Error()
	}
	return fmt.Sprintf("account %d #%d %s", c.Account, c.ClientOrderID, c.words())
}

func (c *Command) words() string {
	switch c.Tag {
	case TagCancel:
		return fmt.Sprintf("cancel %d", c.Target)
	case TagReplace:
		return fmt.Sprintf("replace %d %d @ %d", c.Target, c.Quantity, c.Price)
	case TagQueryTop:
		return fmt.Sprintf("top %d", c.Instrument)
	case TagQueryPosition:
		return fmt.Sprintf("position %d", c.Instrument)
	}
	text := fmt.Sprintf("buy %d %d", c.Instrument, c.Quantity)
	if c.Side == Sell {
		text = "sell" + text[len("buy"):]
	}
	if c.Type == Limit {
		text += fmt.Sprintf(" @ %d", c.Price)
		if c.TimeInForce == ImmediateOrCancel {
			text += " ioc"
		}
	}
	return text
}
