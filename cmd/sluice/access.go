//go:build linux

package main

import (
	"fmt"

	"sluice/actors/node/observe"
)

// reloadAccess puts certificate and token of --admin-tls in force, both or none.
func (s *service) reloadAccess() (done string, err error) {
	if s.cfg.AdminTLS == "" {
		return "", nil
	}
	to := observe.Access{}
	if to.TLS, err = s.cfg.Files.Load(); err == nil && s.cfg.AdminToken != "" {
		to.Token, err = observe.ReadToken(s.cfg.AdminToken)
	}
	if err != nil {
		s.log.Error("certificate and token of the admin address rejected; unchanged", "error", err)
		return fmt.Sprintf("rejected, unchanged: %v", err), err
	}
	s.listeners.SetAccess(to)
	return "reloaded", nil
}
