package orderbook

// script is events and the expected outputs of the last one.
type script struct {
	name   string
	config Config
	script string
	want   []string
}

var scripts = []script{
	{"an order without a match rests and is acknowledged", Config{},
		`c1 a1 buy 10@100`,
		[]string{"c1 a1#1 accepted as 1"}},
	{"the older order at a price trades first and both sides receive a fill", Config{},
		`c1 a1 sell 5@100
		c2 a2 sell 5@100
		c3 a3 buy 7@100`,
		[]string{
			"c3 a3#1 accepted as 3",
			"c1 a1#1 sold 5@100 resting, open 0", "c3 a3#1 bought 5@100 taking, open 2",
			"c2 a2#1 sold 2@100 resting, open 3", "c3 a3#1 bought 2@100 taking, open 0",
		}},
	{"a better price trades before an older order, at the resting price", Config{},
		`c1 a1 sell 5@101
		c2 a2 sell 5@99
		c3 a3 buy 6@105`,
		[]string{
			"c3 a3#1 accepted as 3",
			"c2 a2#1 sold 5@99 resting, open 0", "c3 a3#1 bought 5@99 taking, open 1",
			"c1 a1#1 sold 1@101 resting, open 4", "c3 a3#1 bought 1@101 taking, open 0",
		}},
	{"the rest of an immediate-or-cancel order is cancelled last", Config{},
		`c1 a1 buy 5@100
		c2 a2 ioc-sell 8@100`,
		[]string{
			"c2 a2#1 accepted as 2",
			"c1 a1#1 bought 5@100 resting, open 0", "c2 a2#1 sold 5@100 taking, open 3",
			"c2 a2#1 cancelled 3 by 1: nothing left to trade with",
		}},
	{"a market order takes any price and does not rest", Config{},
		`c1 a1 buy 1@-50
		c2 a2 market-sell 2`,
		[]string{
			"c2 a2#1 accepted as 2",
			"c1 a1#1 bought 1@-50 resting, open 0", "c2 a2#1 sold 1@-50 taking, open 1",
			"c2 a2#1 cancelled 1 by 1: nothing left to trade with",
		}},
	{"an immediate-or-cancel order leaves nothing behind", Config{},
		`c1 a1 ioc-buy 5@100
		c2 a2 sell 5@100`,
		[]string{"c2 a2#1 accepted as 2"}},
	{"an order of the same account is cancelled instead of traded with", Config{},
		`c1 a1 sell 5@100
		c2 a2 sell 5@100
		c3 a1 buy 6@100`,
		[]string{
			"c3 a1#2 accepted as 3",
			"c1 a1#1 cancelled 5 by 0: self-trade prevention",
			"c3 a1#1 cancelled 5 by 0: self-trade prevention",
			"c2 a2#1 sold 5@100 resting, open 0", "c3 a1#2 bought 5@100 taking, open 1",
		}},
	{"a cancel names the command and the order", Config{},
		`c1 a1 buy 5@100
		c2 a1 cancel 1`,
		[]string{"c2 a1#1 cancelled 5 by 2: requested"}},
	{"a cancelled order cannot be cancelled again", Config{},
		`c1 a1 buy 5@100
		c1 a1 cancel 1
		c1 a1 cancel 1`,
		[]string{"c1 a1#3 rejected: the account has no such open order"}},
	{"an account cannot cancel another's order", Config{},
		`c1 a1 buy 5@100
		c2 a2 cancel 1 id 5`,
		[]string{"c2 a2#5 rejected: the account has no such open order"}},
	{"a command sent again is a duplicate", Config{},
		`c1 a1 buy 5@100 id 3
		c2 a1 buy 5@100 id 3`,
		[]string{"c2 a1#3 rejected: client order id is not above the last one of the account"}},
	{"a client order id of zero is never new", Config{},
		`c1 a1 buy 5@100 id 0`,
		[]string{"c1 a1#0 rejected: client order id is not above the last one of the account"}},
	{"a rejected command uses up its id", Config{},
		`c1 a1 buy 1@100
		c1 a1 buy 0@100 id 3
		c1 a1 buy 5@100 id 3`,
		[]string{"c1 a1#3 rejected: client order id is not above the last one of the account"}},
	{"reducing the quantity keeps the place in the queue", Config{},
		`c1 a1 sell 5@100
		c2 a2 sell 5@100
		c1 a1 replace 1 3@100
		c3 a3 buy 1@100`,
		[]string{"c3 a3#1 accepted as 4", "c1 a1#1 sold 1@100 resting, open 2",
			"c3 a3#1 bought 1@100 taking, open 0"}},
	{"raising the quantity loses the place in the queue", Config{},
		`c1 a1 sell 5@100
		c2 a2 sell 5@100
		c1 a1 replace 1 6@100
		c3 a3 buy 1@100`,
		[]string{"c3 a3#1 accepted as 4", "c2 a2#1 sold 1@100 resting, open 4",
			"c3 a3#1 bought 1@100 taking, open 0"}},
	{"replacing to another price and back loses the place in the queue", Config{},
		`c1 a1 sell 5@100
		c2 a2 sell 5@100
		c1 a1 replace 1 5@101
		c1 a1 replace 1 5@100
		c3 a3 buy 1@100`,
		[]string{"c3 a3#1 accepted as 5", "c2 a2#1 sold 1@100 resting, open 4",
			"c3 a3#1 bought 1@100 taking, open 0"}},
	{"a replace includes the executed quantity", Config{},
		`c1 a1 sell 5@100
		c2 a2 buy 2@100
		c1 a1 replace 1 4@100`,
		[]string{"c1 a1#1 replaced by 2: 4@100, open 2, kept true"}},
	{"a replace to the executed quantity is rejected", Config{},
		`c1 a1 sell 5@100
		c2 a2 buy 2@100
		c1 a1 replace 1 2@100`,
		[]string{"c1 a1#2 rejected: the quantity is already executed"}},
	{"a replace across the spread trades at once and rests with the remainder", Config{},
		`c1 a1 sell 5@100
		c2 a2 buy 7@99
		c2 a2 replace 1 7@100`,
		[]string{
			"c2 a2#1 replaced by 2: 7@100, open 7, kept false",
			"c1 a1#1 sold 5@100 resting, open 0", "c2 a2#1 bought 5@100 taking, open 2",
		}},
	{"fills follow the order to the connection that replaced it", Config{},
		`c1 a1 sell 5@100
		c9 a1 replace 1 5@100
		c3 a3 buy 5@100`,
		[]string{"c3 a3#1 accepted as 3", "c9 a1#1 sold 5@100 resting, open 0",
			"c3 a3#1 bought 5@100 taking, open 0"}},
	{"a full book rejects an order that may rest", Config{MaxOrders: 1},
		`c1 a1 sell 5@100
		c2 a2 buy 5@100`,
		[]string{"c2 a2#1 rejected: too many open orders"}},
	{"a full book accepts an order that cannot rest", Config{MaxOrders: 1},
		`c1 a1 sell 5@100
		c2 a2 ioc-buy 5@100`,
		[]string{"c2 a2#1 accepted as 2", "c1 a1#1 sold 5@100 resting, open 0",
			"c2 a2#1 bought 5@100 taking, open 0"}},
	{"an existing price needs no new level", Config{MaxLevels: 1},
		`c1 a1 sell 5@100
		c2 a2 sell 5@100`,
		[]string{"c2 a2#1 accepted as 2"}},
	{"a side with the most levels rejects another price", Config{MaxLevels: 1},
		`c1 a1 sell 5@100
		c2 a2 sell 5@101`,
		[]string{"c2 a2#1 rejected: too many price levels"}},
	{"a New cannot exceed the position limit", Config{MaxOrders: 2, MaxQuantity: 1 << 62},
		`c1 a1 buy 4611686018427387904@1
		c2 a2 sell 4611686018427387904@1
		c1 a1 buy 1@1`,
		[]string{"c1 a1#2 rejected: position limit"}},
	{"a replace cannot exceed the position limit", Config{MaxOrders: 2, MaxQuantity: 1 << 62},
		`c1 a1 buy 4611686018427387903@1
		c1 a1 buy 1@2
		c1 a1 replace 2 2@2`,
		[]string{"c1 a1#3 rejected: position limit"}},
	{"a replace to a new price needs a level on a full side", Config{MaxLevels: 1},
		`c1 a1 buy 5@1
		c2 a2 buy 5@1
		c1 a1 replace 1 5@2`,
		[]string{"c1 a1#2 rejected: too many price levels"}},
	{"an order that is alone at its price makes room for its new level", Config{MaxLevels: 1},
		`c1 a1 buy 5@1
		c1 a1 replace 1 6@2`,
		[]string{"c1 a1#1 replaced by 2: 6@2, open 6, kept false"}},
}
