package otlp_test

import (
	"context"
	"fmt"

	"sluice/telemetry/otel"
	"sluice/telemetry/otel/otlp"
)

// A program that exports over OTLP names the exporters in its configuration.
func Example() {
	c := otel.Config{OTLP: otlp.Exporters{}}
	exporter, err := c.OTLP.Metrics(context.Background(), false)
	if err != nil {
		panic(err)
	}
	fmt.Println(exporter.Shutdown(context.Background()))
	// Output: <nil>
}
