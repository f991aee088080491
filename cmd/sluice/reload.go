//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"sluice/actors/node"
	"sluice/cmd/internal/config"
	"sluice/transport/secure"
)

// reloadFor is how long an operator waits for a reload.
const reloadFor = 8 * time.Second

// reloads reads configuration and keys again, for SIGHUP and for `sluice admin reload`.
type reloads struct {
	service *service
	run     errand

	mu     sync.Mutex // guards all below
	serves bool       // the server has started and does not drain
	done   string     // what the last one did
	err    error      // of the last one
}

func newReloads(s *service) *reloads {
	r := &reloads{service: s}
	r.run = errand{do: r.reload, late: func() {
		s.log.Warn("reload has not finished; the configuration, keys or certificate cannot be read in time")
	}}
	return r
}

// begin allows operators to reload; end ends that.
func (r *reloads) begin() { r.serving(true) }
func (r *reloads) end()   { r.serving(false) }

func (r *reloads) serving(serves bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.serves = serves
}

// ask reloads for an operator, and returns what was done once it is.
func (r *reloads) ask(ctx context.Context) (done string, err error) {
	r.mu.Lock()
	serves := r.serves
	r.mu.Unlock()
	if !serves {
		return "", errors.New("the server starts or drains; nothing is reloaded")
	}
	ctx, cancel := context.WithTimeoutCause(ctx, reloadFor, errors.New("the configuration, keys or "+
		"certificate cannot be read in time; the result will be in the log"))
	defer cancel()
	select {
	case <-r.run.start():
	case <-ctx.Done():
		return "", fmt.Errorf("the reload has not finished: %w", context.Cause(ctx))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.done, r.err
}

// reload puts the limits, the keys and the certificate in force, each as a whole or not at all. None depends on
// another.
func (r *reloads) reload() {
	audit, auditErr := r.service.trail.reopen() // first: the line about this belongs in the new file
	if auditErr != nil {
		r.service.log.Error("audit file not reopened; the one before stays in use", "error", auditErr)
	}
	before := valuesOf(r.service.set)
	limits, limitsErr := r.service.reloadLimits()
	keys, keysErr := r.service.reloadKeys()
	certificate, certificateErr := r.service.reloadTLS()
	token, tokenErr := r.service.reloadAccess()
	done := fmt.Sprintf("limits: %s; keys: %s; certificate: %s", limits, keys, certificate)
	if token != "" {
		done += "; admin-tls: " + token
	}
	if audit != "" {
		done += "; audit: " + audit
	}
	r.service.trail.record("reload", "limits", limits, "changed", changed(before, r.service.set), "keys", keys,
		"certificate", certificate, "admin_tls", token)
	err := errors.Join(limitsErr, keysErr, certificateErr, tokenErr, auditErr)
	if err != nil {
		err = errors.New(done)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done, r.err = done, err
}

// reloadLimits applies the settings that may change while the server runs.
func (s *service) reloadLimits() (done string, err error) {
	fresh, err := s.cfg.Reload(s.set, s.args, s.environ)
	if err == nil {
		changes := node.Changes{Limits: fresh.Limits, EndpointLimits: fresh.ByListener()}
		changes.RequestRate, changes.ConnectRate = fresh.Rates()
		err = s.server.Reload(changes)
	}
	if err != nil {
		s.log.Error("reload of limits rejected; limits unchanged", "error", err)
		return fmt.Sprintf("rejected, unchanged: %v", err), err
	}
	spread := s.cfg.DrainSpread
	s.cfg.Limits, s.cfg.Endpoints, s.set = fresh.Limits, fresh.Endpoints, fresh.Set
	s.cfg.DrainSpread = spread // a change needs a restart
	l := fresh.Limits
	s.log.Info("limits reloaded",
		"hard", config.FormatSize(uint64(l.HardBytes)), "soft", config.FormatSize(uint64(l.SoftBytes)),
		"soft_for", l.SoftFor, "no_progress", l.NoProgress,
		"listeners", fresh.ListenerLimits, "request_rate", fresh.RequestRate,
		"connect_rate", fresh.ConnectRate)
	if len(fresh.Fixed) > 0 {
		s.log.Warn("changed settings need a restart", "settings", fresh.Fixed)
		return fmt.Sprintf("reloaded; these need a restart: %v", fresh.Fixed), nil
	}
	return "reloaded", nil
}

// reloadKeys puts the authorized keys in force.
func (s *service) reloadKeys() (done string, err error) {
	if s.cfg.Keys == "" {
		return "none", nil
	}
	changes, err := s.server.ReloadKeys()
	if err != nil {
		s.log.Error("reload of keys rejected; keys unchanged", "error", err)
		return fmt.Sprintf("rejected, unchanged: %v", err), err
	}
	s.log.Info("keys reloaded", "file", s.cfg.Keys, "keys", changes.Keys,
		"added", changes.Added, "removed", changes.Removed, "changed", changes.Changed, "closed", changes.Closed)
	return fmt.Sprintf("reloaded, %s", changes), nil
}

// reloadTLS puts the certificate in force.
func (s *service) reloadTLS() (done string, err error) {
	if len(s.cfg.TLSListen) == 0 {
		return "none", nil // that of --admin-tls is reloaded by reloadAccess
	}
	leaf, err := s.server.ReloadTLS()
	if err != nil {
		s.log.Error("reload of the certificate rejected; certificate unchanged", "error", err)
		return fmt.Sprintf("rejected, unchanged: %v", err), err
	}
	s.log.Info("certificate reloaded", "file", s.cfg.Cert, "fingerprint", secure.FingerprintOf(leaf).String(),
		"until", leaf.NotAfter.UTC())
	return "reloaded, valid until " + leaf.NotAfter.UTC().Format(time.DateTime), nil
}
