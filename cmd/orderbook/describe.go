package orderbook

import (
	"fmt"
	"time"
)

// DescribeRequest describes a request as `sluice client` takes it, after the account and the
// client order id of a command. The text of a malformed request says what is wrong.
func (*Book) DescribeRequest(tag uint8, body []byte) string {
	var c Command
	if err := DecodeRequest(tag, body, &c); err != nil {
		return "malformed: " + err.Error()
	}
	switch {
	case UsesID(tag):
		return fmt.Sprintf("account %d #%d %s", c.Account, c.ClientOrderID, c.String())
	case !namesAccount(tag):
		return c.String()
	}
	return fmt.Sprintf("account %d %s", c.Account, c.String())
}

// String returns the request as `sluice client` takes it.
func (c *Command) String() string {
	switch c.Tag {
	case TagNew:
		return c.describeNew()
	case TagCancel:
		return fmt.Sprintf("cancel %d", c.Target)
	case TagReplace:
		return fmt.Sprintf("replace %d %d @ %d", c.Target, c.Quantity, c.Price)
	case TagSetCancelOnDisconnect:
		if c.On {
			return "cancel-on-disconnect on"
		}
		return "cancel-on-disconnect off"
	case TagRaiseLimits:
		text := "limits"
		for i, f := range c.Limits.fields() {
			if *f != 0 {
				text += fmt.Sprintf(" %s %d", LimitNames()[i], *f)
			}
		}
		return text
	case TagQueryLimits:
		return "limits"
	case TagQueryTop:
		return fmt.Sprintf("top %d", c.Instrument)
	case TagQueryPosition:
		return fmt.Sprintf("position %d", c.Instrument)
	case TagQueryOpenOrders:
		return "orders"
	case TagQueryOutcome:
		return fmt.Sprintf("outcome %d", c.ClientOrderID)
	case TagQueryFills:
		if c.After == 0 {
			return "fills"
		}
		return fmt.Sprintf("fills since %d", c.After)
	}
	return fmt.Sprintf("request 0x%02x", c.Tag)
}

func (c *Command) describeNew() string {
	text := "buy"
	if c.Side == Sell {
		text = "sell"
	}
	text += fmt.Sprintf(" %d %d", c.Instrument, c.Quantity)
	if c.Type == Market {
		return text
	}
	text += fmt.Sprintf(" @ %d", c.Price)
	switch c.TimeInForce {
	case ImmediateOrCancel:
		text += " ioc"
	case GoodTillDate:
		text += " until " + time.Unix(0, c.Expiry).UTC().Format(time.RFC3339Nano)
	}
	return text
}
