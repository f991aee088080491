package main

import (
	"sluice/actors/node/observe"
	"sluice/cmd/internal/config"
	"sluice/transport/client"
)

// adminTLS is how the admin address with TLS of a server is reached.
type adminTLS struct {
	Address, Token string
	config.Dial
}

func (a *adminTLS) address() config.Setting {
	return adminFlag("admin-tls", config.Text(&a.Address, "ADDR"),
		"connect to this admin address with TLS, the --admin-tls of the server; the certificate of the server is "+
			"verified with --ca or --pin, or as the system does; SLUICE_ADMIN_TLS is for the server")
}

func (a *adminTLS) token() config.Setting {
	return adminFlag("token-file", config.Text(&a.Token, "FILE"),
		"authenticate at --admin-tls with the token in this file, the --admin-token-file of the server")
}

// options reads the files for --admin-tls.
func (a *adminTLS) options() (t *client.TLS, token string, err error) {
	d := a.Dial
	d.TLS = true
	if t, err = d.Options(); err == nil && a.Token != "" {
		token, err = observe.ReadToken(a.Token)
	}
	return t, token, err
}
