package observe

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"sluice/actors/node/observe/status"
	"sluice/cmd/orderbook/marketdata"
	"sluice/telemetry/otel"
	"sluice/transport/wire"
)

// subscribe subscribes to a topic and reads the snapshot.
func (c *trade) subscribe(topic uint64) {
	c.r.t.Helper()
	c.seq++
	if err := c.Send(c.seq, wire.TagExtended, wire.AppendSubscribeBody(nil, wire.Subscribe{Topic: topic})); err != nil {
		c.r.t.Fatal(err)
	}
	if err := c.Flush(); err != nil {
		c.r.t.Fatal(err)
	}
	for tag := uint8(0); tag != wire.TagBatchEnd; {
		var err error
		if tag, _, err = c.Next(); err != nil || tag == wire.TagEngineError {
			c.r.t.Fatal(tag, err)
		}
	}
}

func TestTopicsAreShown(t *testing.T) {
	r := newRig(t)
	depth, trades := marketdata.KindDepth.Topic(1), marketdata.KindTrades.Topic(1)
	for i := range 3 {
		c := r.dial("unix", r.unix, nil)
		if c.subscribe(depth); i == 0 {
			c.subscribe(trades)
		}
	}
	r.dial("tcp", r.tcp, r.trader).served()
	api := &Client{Socket: r.socket}
	var page Topics
	until(t, "the frame to be counted", func() bool {
		if err := api.Get(soon(t), "/topics", &page); err != nil {
			t.Fatal(err)
		}
		return page.Known == 2 && page.Top[0].Seq == 1
	})
	a, b := page.Top[0], page.Top[1]
	if a.ID != depth || a.Name != "depth/1" || a.Subscribers != 3 || a.Memory == 0 || a.Feeds < 2 ||
		b.ID != trades || b.Name != "trades/1" || b.Subscribers != 1 || page.Subscriptions != 4 {
		t.Errorf("%+v", page)
	}
	if _, text := r.request("tcp", "GET", "/topics?by=memory&top=1", ""); !strings.HasPrefix(text,
		"topics: 2, subscriptions: 4; the first 1 by memory:\n") || !strings.Contains(text, "depth/1  3 ") {
		t.Errorf("%q", text)
	}
	var list Connections
	if err := api.Get(soon(t), "/connections?by=age", &list); err != nil || len(list.Top) != 4 ||
		list.Top[0].Topics != 2 || list.Top[1].Topics != 1 || list.Top[3].Topics != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	until(t, "the live page to have the topics and the deliveries", func() bool {
		answer, err := http.Get("http://" + r.web + "/live.json")
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		var s status.Snapshot
		if err != nil || json.Unmarshal(text, &s) != nil {
			t.Fatalf("%v %s", err, text)
		}
		delivered := 0.0
		for _, p := range s.Points {
			delivered += p.Delivered
		}
		return delivered > 0 && s.Topics == 2 && len(s.Busiest) == 2 && s.Busiest[0].Name == "depth/1"
	})
}

// A traced topic frame is one trace on each shard with subscribers, up to the last send of its round.
func TestTopicFramesAreTraced(t *testing.T) {
	out := new(spans)
	r := newRig(t, func(_ *bookConfig, c *Config) {
		c.Export = otel.Config{Traces: otel.ExporterConsole, TraceRatio: 1, TraceSlow: -1, Console: out}
	})
	depth := marketdata.KindDepth.Topic(1)
	for range 8 { // the shard without the trader's connection has no response to send
		r.dial("unix", r.unix, nil).subscribe(depth)
	}
	r.dial("tcp", r.tcp, r.trader).served()
	want := fmt.Sprintf(`{"Key":"sluice.topic.id","Value":{"Type":"INT64","Value":%d}}`, depth)
	batch := regexp.MustCompile(`"sluice.batch.size","Value":{"Type":"INT64","Value":([0-9]+)}`)
	until(t, "a trace of each shard, with all sends", func() bool {
		if err := r.o.export.Flush(soon(t)); err != nil {
			t.Fatal(err)
		}
		out.mu.Lock()
		defer out.mu.Unlock()
		traces, sends := 0, 0
		for line := range strings.SplitSeq(out.text.String(), "\n") {
			if strings.HasPrefix(line, `{"Name":"sluice.response",`) && strings.Contains(line, want) &&
				strings.Contains(line, `"sluice.response.type","Value":{"Type":"STRING","Value":"topic"}`) {
				n, _ := strconv.Atoi(batch.FindStringSubmatch(line)[1])
				traces, sends = traces+1, sends+n
			}
		}
		return traces == 2 && sends == 8
	})
}
