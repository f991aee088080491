//go:build !linux || nogiouring

package transport

// openUringLadder fails: this program was built without the io_uring engine.
func openUringLadder(RingConfig) (Ring, error) { return nil, errNotBuilt }
