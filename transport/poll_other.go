//go:build !linux

package transport

import (
	"fmt"
	"runtime"
)

// openPoll fails: the portable engine needs epoll. The simulated ring works everywhere.
func openPoll(RingConfig) (Ring, error) {
	return nil, fmt.Errorf("transport: no ring for %s; run on Linux", runtime.GOOS)
}
