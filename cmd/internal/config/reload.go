package config

import (
	"fmt"
	"strings"
)

// Reloaded is a configuration that was read again.
type Reloaded struct {
	*Server
	Set   *Set     // origins of its values
	Fixed []string // settings that differ and cannot change while the server runs
}

// Reload reads the same sources again. was has the origins of c's values. c itself does not change.
//
// A file that is not regular is an error: a start may read one, but here it could hang, or end. So is a
// file that an editor or a copy has not finished: it lacks settings that it had and that would fall
// back to their defaults now, or the line end of its last line.
func (c *Server) Reload(was *Set, args, environ []string) (r Reloaded, err error) {
	r.Server = DefaultServer()
	r.Set = r.Server.Set()
	r.Set.regular = true
	if _, err := r.Set.Load(args, environ); err != nil {
		return r, err
	}
	if err := r.Set.whole(was, c.File); err != nil {
		return r, err
	}
	if err := r.Validate(); err != nil {
		return r, err
	}
	for i, now := range c.Set().Settings {
		if s := r.Set.Settings[i]; !s.Reload && s.Value.String() != now.Value.String() {
			r.Fixed = append(r.Fixed, s.Name)
		}
	}
	return r, nil
}

// whole reports what a file lacks that it had when it was read before.
func (s *Set) whole(was *Set, file string) error {
	if s.cut && !was.cut {
		return Usagef("%s: the last line has no line end, so the file may not be complete; nothing was "+
			"taken from it", file)
	}
	var lost []string
	for i := range was.Settings {
		name, value := was.Settings[i].Name, was.Settings[i].Value.String()
		if was.Settings[i].Reload && was.fromFile(name) && s.origins[name] == "default" && value != s.defaults[name] {
			lost = append(lost, fmt.Sprintf("%s: %s", name, quoteYAML(s.defaults[name])))
		}
	}
	if len(lost) == 0 {
		return nil
	}
	return Usagef("%s: settings that it had are missing, so the file may not be complete; nothing was "+
		"taken from it. To return to defaults, write them: %s", file, strings.Join(lost, "; "))
}

// fromFile reports whether the value of a setting is from the configuration file.
func (s *Set) fromFile(name string) bool {
	origin := s.origins[name]
	return origin != "default" && !strings.HasPrefix(origin, "--") && !strings.HasPrefix(origin, "SLUICE_")
}
