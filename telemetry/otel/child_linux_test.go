package otel

import (
	"os/exec"
	"syscall"
)

// endWithTest kills a command when this process ends, including when that is killed.
func endWithTest(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
