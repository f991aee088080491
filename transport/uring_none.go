//go:build !linux || !giouring

package transport

// uringBuilt is whether this program contains the io_uring engine.
const uringBuilt = false

// openUringLadder fails: this program was built without the io_uring engine.
func openUringLadder(RingConfig) (ring Ring, refused, err error) { return nil, nil, errNotBuilt }
