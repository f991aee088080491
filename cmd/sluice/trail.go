//go:build linux

package main

import (
	"context"
	"log/slog"
	"os"

	"sluice"
	"sluice/cmd/internal/config"
	"sluice/telemetry"
	"sluice/telemetry/auditfile"
	"sluice/transport/listen"
)

// trail is --audit-file. Without one, every method does nothing.
type trail struct{ file *auditfile.File }

// openTrail opens --audit-file. Like an address in use, what keeps it from being opened is about the machine.
func (s *service) openTrail() (err error) {
	if s.cfg.AuditFile != "" {
		s.trail.file, err = auditfile.Open(s.cfg.AuditFile, s.log)
	}
	return err
}

// checkTrail is openTrail for a configuration that is only checked.
func (s *service) checkTrail() error {
	if s.cfg.AuditFile == "" || s.trail.file != nil {
		return nil
	}
	return auditfile.Check(s.cfg.AuditFile)
}

// logger is what components get; nil without a file.
func (t *trail) logger() *slog.Logger {
	if t.file == nil {
		return nil
	}
	return t.file.Logger()
}

// record writes a line about the server itself.
func (t *trail) record(what string, about ...any) {
	if t.file != nil {
		t.file.Logger().Warn(what, about...)
	}
}

// recordStart says which program starts with which settings that decide who may do what.
func (s *service) recordStart() {
	c := s.cfg
	at := adminAddress(c, s.set, "")
	s.trail.record("start", "version", sluice.ReadBuild().String(), "process", os.Getpid(), "user", os.Geteuid(),
		"data_dir", c.DataDir, "cluster", c.Member, "listen_tcp", c.TCP, "listen_tls", c.TLSListen, "listen_unix", c.Unix,
		"authorized_keys", c.Keys, "insecure", c.Insecure,
		"open", append(listen.Exposure(s.endpoints()), c.Exposed()...),
		"tls_cert", c.Cert, "tls_client_ca", c.ClientCA, "policy", c.Policy, "force_policy", c.ForcePolicy,
		"admin_address", at, "admin_insecure", c.AdminInsecure, "admin_tls", c.AdminTLS, "admin_socket", c.AdminSocket)
}

// reopen is for a rotation of the file.
func (t *trail) reopen() (done string, err error) {
	if t.file == nil {
		return "", nil
	}
	if err := t.file.Reopen(); err != nil {
		return "not reopened: " + err.Error(), err
	}
	return "reopened", nil
}

// measure adds the lines that were lost to the measurements of a node.
func (t *trail) measure(c *telemetry.Collector) {
	if t.file == nil {
		return
	}
	c.Gauge(telemetry.AuditLost, telemetry.NoShard, "dropped", func() float64 { return float64(t.file.Dropped()) })
	c.Gauge(telemetry.AuditLost, telemetry.NoShard, "write_failed", func() float64 { return float64(t.file.Failed()) })
}

// close records the end, with the error that is its cause, and closes the file, for flushFor at most.
func (s *service) closeTrail(result error) {
	if s.trail.file == nil {
		return
	}
	about := []any{}
	if result != nil {
		about = append(about, "error", result)
	}
	s.trail.record("stop", about...)
	ctx, cancel := context.WithTimeout(context.Background(), flushFor)
	defer cancel()
	if err := s.trail.file.Close(ctx); err != nil {
		s.log.Error("audit file is not complete", "error", err)
	}
}

// valuesOf are the settings as text, in their order.
func valuesOf(set *config.Set) (all []string) {
	for i := range set.Settings {
		all = append(all, set.Settings[i].Value.String())
	}
	return all
}

// changed are the settings that a reload has changed, each as "name: before -> after".
func changed(before []string, set *config.Set) []string {
	all := []string{}
	for i, is := range valuesOf(set) {
		if set.Settings[i].Reload && before[i] != is {
			all = append(all, set.Settings[i].Name+": "+before[i]+" -> "+is)
		}
	}
	return all
}
