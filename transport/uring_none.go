//go:build !linux || nogiouring

package transport

// openUringLadder fails: this program was built without the io_uring engine.
func openUringLadder(RingConfig) (ring Ring, refused, err error) { return nil, nil, errNotBuilt }
