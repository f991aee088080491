//go:build !linux

package run

import "errors"

// CheckCPU reports why this process cannot pin a thread to a CPU.
func CheckCPU(cpu int) error {
	if cpu < 0 {
		return nil
	}
	return errors.ErrUnsupported
}

// pin fails unless cpu is negative. unpin does nothing.
func pin(cpu int) (unpin func() error, err error) {
	return func() error { return nil }, CheckCPU(cpu)
}
