package otel

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"sluice/telemetry"
)

// sampled returns the record of a response that passed every point.
func sampled(r *rig, seq uint64) telemetry.TraceRec {
	rec := telemetry.TraceRec{Received: r.clock.Now(), Seq: seq, Conn: 17, Bytes: 120, Batch: 8,
		Shard: 1, Kind: 2, Policy: 3, Reason: telemetry.TraceReasonRatio}
	for p := range telemetry.Point(telemetry.NumPoints) {
		rec.Stamp(p, rec.Received+int64(p+1)*10_007)
	}
	rec.Flags = telemetry.TraceBlockedByReplica | telemetry.TraceDegraded
	return rec
}

// traced exports records and returns the receiver.
func traced(t *testing.T, protocol string, change func(*Config),
	recs func(r *rig) []telemetry.TraceRec) (*receiver, *Telemetry) {
	t.Helper()
	in := receive(t, protocol)
	r := newRig()
	c := r.config()
	c.Traces, c.TracesProtocol = ExporterOTLP, protocol
	if change != nil {
		change(&c)
	}
	tel := start(t, c)
	for _, rec := range recs(r) {
		if !r.boxes[0].TryPut(&rec) {
			t.Fatal("box full")
		}
	}
	if err := tel.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	return in, tel
}

func named(spans []*tracepb.Span, name string) *tracepb.Span {
	for _, s := range spans {
		if s.Name == name {
			return s
		}
	}
	return nil
}

func TestSpanTreeIsCompleteAndAddsUp(t *testing.T) {
	for _, protocol := range []string{ProtocolHTTP, ProtocolGRPC} {
		t.Run(protocol, func(t *testing.T) {
			var rec telemetry.TraceRec
			in, _ := traced(t, protocol, func(c *Config) {
				c.KindName = func(k uint8) string { return map[uint8]string{2: "report"}[k] }
				c.PolicyName = func(k uint8) string { return map[uint8]string{3: "majority"}[k] }
			}, func(r *rig) []telemetry.TraceRec { rec = sampled(r, 99); return []telemetry.TraceRec{rec} })
			trees := in.trees()
			if len(trees) != 1 {
				t.Fatalf("%d traces", len(trees))
			}
			for _, spans := range trees {
				checkTree(t, spans, &rec)
			}
			if got := attr(in.resource.Attributes,
				"sluice.cluster.id").GetStringValue(); got != "test" {
				t.Errorf("cluster %q", got)
			}
		})
	}
}

func checkTree(t *testing.T, spans []*tracepb.Span, rec *telemetry.TraceRec) {
	t.Helper()
	if len(spans) != 10 {
		t.Fatalf("%d spans, want 10", len(spans))
	}
	root := named(spans, "sluice.response")
	if root == nil || len(root.ParentSpanId) != 0 || root.Kind != tracepb.Span_SPAN_KIND_SERVER {
		t.Fatalf("root %v", root)
	}
	at := root.StartTimeUnixNano
	for i, name := range []string{"match", "handoff", "gate", "encode", "queue", "batch", "send"} {
		s := named(spans, name)
		if s == nil || !bytes.Equal(s.ParentSpanId, root.SpanId) ||
			s.Kind != tracepb.Span_SPAN_KIND_INTERNAL {
			t.Fatalf("%s: %v", name, s)
		}
		if s.StartTimeUnixNano != at {
			t.Errorf("%s begins %d ns after the end of the previous span", name,
				int64(s.StartTimeUnixNano-at))
		}
		want := uint64(10_007)
		if name == "gate" {
			want *= 3 // from seen over journal and replica to released
		}
		if got := s.EndTimeUnixNano - s.StartTimeUnixNano; got != want {
			t.Errorf("%s (%d) lasts %d ns, want %d", name, i, got, want)
		}
		at = s.EndTimeUnixNano
	}
	if at != root.EndTimeUnixNano ||
		at-root.StartTimeUnixNano != uint64(rec.AfterNanos[telemetry.PointCompleted]) {
		t.Errorf("the stages end at %d, the whole at %d", at, root.EndTimeUnixNano)
	}
	gate := named(spans, "gate")
	for name, n := range map[string]uint64{"gate.journal": 1, "gate.replica": 2} {
		s := named(spans, name)
		if s == nil || !bytes.Equal(s.ParentSpanId, gate.SpanId) ||
			s.StartTimeUnixNano != gate.StartTimeUnixNano || s.EndTimeUnixNano-s.StartTimeUnixNano != n*10_007 {
			t.Errorf("%s: %v", name, s)
		}
	}
	for key, want := range map[string]string{
		"sluice.seq": "int_value:99", "sluice.conn.id": "int_value:17",
		"sluice.shard": "int_value:1", "sluice.response.type": `string_value:"report"`,
		"sluice.response.size": "int_value:120", "sluice.batch.size": "int_value:8",
		"sluice.ack_policy":          `string_value:"majority"`,
		"sluice.ack_policy.degraded": "bool_value:true",
		"sluice.gate.blocker":        `string_value:"replication"`,
		"sluice.sampling.reason":     `string_value:"ratio"`,
	} {
		if got := attr(root.Attributes, key).String(); got != want {
			t.Errorf("%s is %s, want %s", key, got, want)
		}
	}
}

// A stage that a response did not pass has no span, and the other spans still add up.
func TestMissingPointsLeaveNoGap(t *testing.T) {
	var want uint64
	in, _ := traced(t, ProtocolHTTP, nil, func(r *rig) []telemetry.TraceRec {
		rec := sampled(r, 5)
		for _, p := range []telemetry.Point{telemetry.PointSeen, telemetry.PointJournal,
			telemetry.PointReplica, telemetry.PointAppended} {
			rec.AfterNanos[p] = 0
		}
		rec.AfterNanos[telemetry.PointFlushed] = rec.AfterNanos[telemetry.PointEncoded] - 5 // out of order by 5 ns
		rec.Flags = telemetry.TraceFailed
		want = uint64(rec.AfterNanos[telemetry.PointCompleted])
		return []telemetry.TraceRec{rec}
	})
	for _, spans := range in.trees() {
		root := named(spans, "sluice.response")
		var total uint64
		for _, s := range spans {
			if bytes.Equal(s.ParentSpanId, root.SpanId) {
				total += s.EndTimeUnixNano - s.StartTimeUnixNano
			}
			if s.EndTimeUnixNano < s.StartTimeUnixNano {
				t.Errorf("%s ends before it begins", s.Name)
			}
		}
		if total != want || root.EndTimeUnixNano-root.StartTimeUnixNano != want {
			t.Errorf("stages %d ns, root %d, want %d", total,
				root.EndTimeUnixNano-root.StartTimeUnixNano, want)
		}
		if root.Status.Code != tracepb.Status_STATUS_CODE_ERROR ||
			attr(root.Attributes, "error.type").GetStringValue() != "dropped" {
			t.Errorf("status %v %v", root.Status, root.Attributes)
		}
	}
}

func TestSampledParentIsContinuedUnsampledParentIsLinked(t *testing.T) {
	parentTrace, _ := hex.DecodeString("4bf92f3577b34da6a3ce929d0e0e4736")
	parentSpan, _ := hex.DecodeString("00f067aa0ba902b7")
	in, _ := traced(t, ProtocolHTTP, nil, func(r *rig) []telemetry.TraceRec {
		child, slow := sampled(r, 1), sampled(r, 2)
		for _, rec := range []*telemetry.TraceRec{&child, &slow} {
			copy(rec.TraceID[:], parentTrace)
			copy(rec.Parent[:], parentSpan)
		}
		child.Reason, child.Flags = telemetry.TraceReasonParent, telemetry.TraceParentSampled
		slow.Reason, slow.Flags = telemetry.TraceReasonSlow, 0
		return []telemetry.TraceRec{child, slow}
	})
	trees := in.trees()
	if len(trees) != 2 {
		t.Fatalf("%d traces, want the parent's and a new one", len(trees))
	}
	for id, spans := range trees {
		root := named(spans, "sluice.response")
		if id == string(parentTrace) {
			if !bytes.Equal(root.ParentSpanId, parentSpan) || len(root.Links) != 0 {
				t.Errorf("child of %x, links %v", root.ParentSpanId, root.Links)
			}
			continue
		}
		if len(root.ParentSpanId) != 0 || len(root.Links) != 1 ||
			!bytes.Equal(root.Links[0].TraceId, parentTrace) || !bytes.Equal(root.Links[0].SpanId,
			parentSpan) {
			t.Errorf("parent %x, links %v", root.ParentSpanId, root.Links)
		}
	}
}

func TestIDsAreDerivedFromClusterAndSeq(t *testing.T) {
	collect := func(cluster string) map[string][]*tracepb.Span {
		in, _ := traced(t, ProtocolHTTP, func(c *Config) { c.ClusterID = cluster },
			func(r *rig) []telemetry.TraceRec {
				first, second, again, other := sampled(r, 1), sampled(r, 2), sampled(r, 2), sampled(r, 2)
				other.Conn = 18
				return []telemetry.TraceRec{first, second, again, other}
			})
		return in.trees()
	}
	a, b, other := collect("a"), collect("a"), collect("b")
	if len(a) != 2 {
		t.Fatalf("%d traces of 2 events", len(a))
	}
	seen := map[string]bool{}
	for id, spans := range a {
		if len(b[id]) != len(spans) {
			t.Errorf("another node of the cluster has no trace %x", id)
		}
		if len(other[id]) != 0 {
			t.Errorf("another cluster has trace %x", id)
		}
		for _, s := range spans {
			if seen[string(s.SpanId)] {
				t.Errorf("span id %x twice", s.SpanId)
			}
			seen[string(s.SpanId)] = true
		}
		for _, s := range b[id] {
			if !seen[string(s.SpanId)] {
				t.Errorf("span id %x is not that of the other node", s.SpanId)
			}
		}
	}
	if len(seen) != 40 {
		t.Errorf("%d spans, want 40", len(seen))
	}
}

// Traces that the rules pick, those of sampled parents and those for operators have a rate each, so a
// client that marks all its requests as sampled takes no trace from the others.
func TestTracesHaveARateForEachReason(t *testing.T) {
	reasons := []telemetry.TraceReason{telemetry.TraceReasonRatio, telemetry.TraceReasonParent,
		telemetry.TraceReasonParent, telemetry.TraceReasonDebug}
	in, tel := traced(t, ProtocolHTTP, func(c *Config) { c.TracesPerSecond = 5 },
		func(r *rig) (recs []telemetry.TraceRec) {
			for i := range uint64(400) {
				rec := sampled(r, i)
				rec.Reason = reasons[i%4]
				recs = append(recs, rec)
			}
			return recs
		})
	made := map[string]int{}
	for _, spans := range in.trees() {
		made[attr(named(spans, "sluice.response").Attributes, "sluice.sampling.reason").GetStringValue()]++
	}
	dropped := int(tel.src.self.rate.Load())
	if made["ratio"] < 5 || made["ratio"] > 50 || made["parent"] < 5 || made["parent"] > 50 ||
		made["debug"] < 50 || made["debug"] > 100 ||
		made["ratio"]+made["parent"]+made["debug"]+dropped != 400 {
		t.Errorf("traces %v, %d dropped, of 400", made, dropped)
	}
	body, _ := scrape(t, tel.Handler(), "/metrics", "")
	if line(body, `sluice_trace_dropped_total{reason="rate"}`) == "0" {
		t.Error("the drops are not in the metrics")
	}
}

func TestBucketAdmitsItsRate(t *testing.T) {
	b, n := newBucket(100, 0), 0
	for now := int64(0); now < 10e9; now += 1e6 { // 1000 a second for 10 s
		if b.take(now) {
			n++
		}
	}
	if n < 1090 || n > 1101 {
		t.Errorf("%d of 10000 admitted in 10 s, want 100 and 1000", n)
	}
	for n = 0; b.take(0); n++ {
		if n > 1 {
			t.Fatal("the bucket was refilled by time that goes backwards")
		}
	}
}

func TestExemplarsLinkBucketsToTraces(t *testing.T) {
	var rec telemetry.TraceRec
	in, tel := traced(t, ProtocolHTTP, nil, func(r *rig) []telemetry.TraceRec {
		rec = sampled(r, 77)
		r.record("egress 0", func(b *telemetry.Block) {
			b.H[telemetry.StageWhole].Record(uint64(rec.AfterNanos[telemetry.PointCompleted]))
		})
		return []telemetry.TraceRec{rec}
	})
	var root *tracepb.Span
	for _, spans := range in.trees() {
		root = named(spans, "sluice.response")
	}
	const openMetrics = "application/openmetrics-text;version=1.0.0"
	body, _ := scrape(t, tel.Handler(), "/metrics", openMetrics)
	want := `trace_id="` + hex.EncodeToString(root.TraceId) + `"`
	for l := range strings.SplitSeq(body, "\n") {
		if strings.HasPrefix(l, "sluice_response_duration_seconds_bucket") &&
			strings.Contains(l, want) &&
			strings.Contains(l, hex.EncodeToString(root.SpanId)) && strings.Contains(l, "9.0063e-05") {
			return
		}
	}
	t.Errorf("no bucket has an exemplar with %s", want)
}

// A topic frame has the number of its topic in place of a connection.
func TestTopicFramesNameTheirTopic(t *testing.T) {
	in, _ := traced(t, ProtocolHTTP, nil, func(r *rig) []telemetry.TraceRec {
		rec := sampled(r, 7)
		rec.Flags, rec.Conn, rec.Batch = telemetry.TraceTopic, 3, 500
		return []telemetry.TraceRec{rec}
	})
	for _, spans := range in.trees() {
		for _, s := range spans {
			got := map[string]int64{}
			for _, a := range s.Attributes {
				got[a.Key] = a.Value.GetIntValue()
			}
			if _, conn := got["sluice.conn.id"]; s.Name == spanRoot && (conn || got["sluice.topic.id"] != 3 ||
				got["sluice.batch.size"] != 500) {
				t.Errorf("%v", s.Attributes)
			}
		}
	}
	if len(in.trees()) != 1 {
		t.Errorf("%d traces", len(in.trees()))
	}
}
