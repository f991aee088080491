//go:build !unix

package actors

import "errors"

// closeDescriptor is never called: no engine sends on sockets here.
func closeDescriptor(int32) error { return errors.ErrUnsupported }
