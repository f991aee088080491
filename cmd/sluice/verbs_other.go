//go:build !linux

package main

import (
	"runtime"

	"sluice/cmd/internal/config"
)

// Verbs that run a server or measure this machine.

func serve(*env, []string) error       { return needsLinux("serve") }
func demonstrate(*env, []string) error { return needsLinux("demo") }
func configure(*env, []string) error   { return needsLinux("config") }
func benchmark(*env, []string) error   { return needsLinux("bench") }
func tuneUp(*env, []string) error      { return needsLinux("tune") }

func needsLinux(verb string) error {
	return config.Usagef("sluice %s needs Linux; this build is for %s", verb, runtime.GOOS)
}
