package main

import (
	"fmt"
	"strings"

	"sluice/cmd/internal/config"
	"sluice/transport/client"
	"sluice/transport/listen"
)

// keygen makes a private key and prints the line that authorizes it.
func keygen(e *env, words []string) error {
	if len(words) == 0 {
		return config.Usagef("keygen: name the file for the private key")
	}
	role := listen.Trader
	if len(words) > 1 {
		var err error
		if role, err = listen.ParseRole(words[1]); err != nil {
			return config.Usagef("keygen: ROLE is %q; write operator, trader or readonly", words[1])
		}
	}
	public, err := client.GenerateKey(words[0])
	if err != nil {
		return fmt.Errorf("keygen: %w", err)
	}
	fmt.Fprintf(e.stderr,
		"the private key is in %s; keep it secret. Add this line to the authorized keys of the "+
			"server:\n", words[0])
	comment := ""
	if len(words) > 2 {
		comment = strings.Join(words[2:], " ")
	}
	_, err = e.stdout.Write(listen.AppendKeyLine(nil, role, public, comment))
	return err
}
