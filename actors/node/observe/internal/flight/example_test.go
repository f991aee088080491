package flight_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"sluice/actors/node/observe/internal/flight"
)

func Example() {
	dir, err := os.MkdirTemp("", "flight-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	r, err := flight.Start(flight.Config{Dir: dir, Slow: 20 * time.Millisecond})
	if err != nil {
		panic(err)
	}
	r.Look("answer", 3*time.Millisecond)  // fast enough
	r.Look("answer", 90*time.Millisecond) // worth a look
	if err := r.Close(context.Background()); err != nil {
		panic(err)
	}
	recordings, _ := filepath.Glob(filepath.Join(dir, "flight-*-answer.trace"))
	fmt.Println(len(recordings), "recording")
	// Output: 1 recording
}
