//go:build !linux || !giouring

package transport

// uringBuilt reports whether this program contains the io_uring engine.
const uringBuilt = false

// probeUring fails: this program was built without the io_uring engine.
func probeUring(RingConfig) (ring Ring, refused, err error) { return nil, nil, errNotBuilt }
