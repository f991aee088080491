// Package config is how programs of this project are told what to do: one table of settings for each command, from which
// flags, environment, file, help text and printout are all made, so they cannot disagree.
//
//	--max-connections=100        flag          ─┐
//	SLUICE_MAX_CONNECTIONS=100   environment   ─┤ first one that is given
//	max-connections: 100         YAML file     ─┤ wins              ==> Set.Load ==> the field, and where it came from
//	16384                        default       ─┘
//
// Promises:
//
//   - A setting has one name, everywhere, and one help text with unit and default.
//   - An unknown name is an error that says which one is nearest; a bad value is an error that says where it stands, what it
//     is, and what to write instead. Both are a *UsageError.
//   - Nothing is half applied: after an error the fields are as they were.
//   - What Print writes is a file that Load reads back to the same values.
//
// Start reading at Setting and Set.Load; Server is the configuration of `sluice serve`.
package config
