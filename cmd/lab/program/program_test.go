package program

import (
	"os"
	"slices"
	"testing"

	"sluice/transport"
)

// As in package transport: a lost build tag fails here and does not skip half of the trials.
func TestWantedEngineIsCompiledIn(t *testing.T) {
	engines := transport.Engines()
	if os.Getenv("SLUICE_WANT_IOURING") == "1" && !slices.Contains(engines, "uring") {
		t.Errorf("SLUICE_WANT_IOURING=1 and these tests were built with %v alone; build with -tags giouring", engines)
	}
}
