//go:build !linux

package run

import "errors"

// pin binds the calling thread to one CPU where the system can.
func pin(cpu int) error {
	if cpu < 0 {
		return nil
	}
	return errors.ErrUnsupported
}
