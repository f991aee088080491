// Package config reads the settings of a command. One table of settings per command defines its
// flags, environment variables, file keys, help text and printout, so they cannot disagree.
//
//	--max-connections=100        flag          ─┐
//	SLUICE_MAX_CONNECTIONS=100   environment   ─┤ first one given
//	max-connections: 100         YAML file     ─┤ wins              ==> Set.Load ==> field and origin
//	16384                        default       ─┘
//
// Promises:
//
//   - A setting has one name everywhere, and one help text with its unit and default.
//   - An unknown name is an error that names the nearest known one. A bad value is an error that
//     names its place, the value, and what to write instead. Both are a *UsageError.
//   - Settings are applied all or none: after an error the fields are unchanged.
//   - Print writes a file that Load reads back to the same values. It refuses texts that are not UTF-8.
//
// Start reading at Setting and Set.Load; Server is the configuration of `sluice serve`.
package config
