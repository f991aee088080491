package otel_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"sluice/telemetry"
	"sluice/telemetry/otel"
)

// A program registers its actors with a collector, starts telemetry and mounts the handler. At the end
// it parks the actors and shuts telemetry down before the HTTP server.
func Example() {
	clock := telemetry.NewClock()
	collector := telemetry.NewCollector(clock)
	shard := collector.Register("egress", 0)

	config, err := otel.FromEnv(otel.Config{Collector: collector, Clock: clock})
	if err != nil {
		panic(err)
	}
	tel, err := otel.Start(context.Background(), config)
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", tel.Handler())
	server := httptest.NewServer(mux)
	defer server.Close()

	for range 3 { // what the actor does in its loop
		shard.B.C[telemetry.EgressFramesSent]++
		shard.B.H[telemetry.StageWhole].Record(20_000)
		shard.Poll()
	}
	shard.Park()

	if err := tel.Shutdown(context.Background()); err != nil {
		panic(err)
	}
	res, err := http.Get(server.URL + "/metrics")
	if err != nil {
		panic(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	for line := range strings.SplitSeq(string(body), "\n") {
		if strings.HasPrefix(line, "sluice_response_sent_total") ||
			strings.HasPrefix(line, `sluice_response_duration_seconds_bucket{le="2.4576e-05"}`) {
			fmt.Println(line)
		}
	}
	// Output:
	// sluice_response_duration_seconds_bucket{le="2.4576e-05"} 3
	// sluice_response_sent_total{shard="0"} 3
}
