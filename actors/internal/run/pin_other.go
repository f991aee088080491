//go:build !linux

package run

import "errors"

// CheckCPU reports why this process cannot pin a thread to a CPU.
func CheckCPU(cpu int) error { return pin(cpu) }

// pin binds the calling thread to one CPU where the system can.
func pin(cpu int) error {
	if cpu < 0 {
		return nil
	}
	return errors.ErrUnsupported
}
