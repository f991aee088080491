package cluster

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"sluice/cmd/orderbook/marketdata"
	"sluice/transport/client"
	"sluice/transport/wire"
)

// Subscribers go on with the next leader, with its book and another epoch.
func TestSubscribersFollowTheLeader(t *testing.T) {
	c := newTrio(t, nil)
	var addresses []string
	for _, m := range c.all {
		addresses = append(addresses, m.Client)
	}
	follow := func() *client.Replica[*marketdata.BookView] {
		s, err := client.OpenSession(client.SessionOptions{MaxBackoff: 100 * time.Millisecond}, addresses...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		r, err := client.Follow(c.ctx(), s, marketdata.KindDepth.Topic(1), wire.TopicEvery,
			func() *marketdata.BookView { return marketdata.NewBookView(1, false) })
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	see := func(r *client.Replica[*marketdata.BookView]) (book []byte, at client.ReplicaPosition) {
		r.View(func(v *marketdata.BookView, p client.ReplicaPosition) { book, at = v.AppendSnapshot(nil, 0), p })
		return book, at
	}
	first, trader := follow(), c.trader(1)
	epochs := map[uint64]bool{}
	for round := range 3 {
		var orders sync.WaitGroup
		orders.Go(func() {
			for i := range int64(20) {
				order(t, trader, 100+i)
			}
		})
		if round > 0 { // the leadership moves while there are orders
			var from uint8
			c.until("a transfer", func() bool { from = c.leader(); return c.nodes[from].Transfer(0) == nil })
			c.until("another leader", func() bool {
				st := c.nodes[from].Log()
				return st.Leader != 0 && st.Leader != uint64(from)
			})
		}
		orders.Wait()
		second, epoch := follow(), uint64(0)
		c.until("the book of the leader", func() bool {
			if err := first.Err(); err != nil {
				t.Fatal(err)
			}
			want, end := see(second)
			got, at := see(first)
			epoch = at.Epoch
			return at.Live && end.Live && epoch == end.Epoch && at.Seq == end.Seq && bytes.Equal(got, want)
		})
		if epochs[epoch] {
			t.Errorf("epoch %#x is that of an earlier leader", epoch)
		}
		epochs[epoch] = true
	}
}
