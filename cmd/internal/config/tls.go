package config

import "sluice/transport/secure"

// ClientTLS is the addresses on which clients speak TLS, and the files of the certificate.
type ClientTLS struct {
	TLSListen []string
	secure.Files
}

func (t *ClientTLS) settings() []Setting {
	return []Setting{
		{Name: "listen-tls", Value: List(&t.TLSListen, "ADDR,..."),
			Help: "listen for TCP clients that speak TLS 1.3 on these host:port addresses"},
		{Name: "tls-cert", Value: Text(&t.Cert, "FILE"),
			Help: "present the certificate in this PEM file on --listen-tls, followed by those of the authorities " +
				"between; SIGHUP reads certificate, key and authorities again"},
		{Name: "tls-key", Value: Text(&t.Key, "FILE"),
			Help: "use the private key of --tls-cert in this PEM file"},
		{Name: "tls-client-ca", Value: Text(&t.ClientCA, "FILE"),
			Help: "ask clients for a certificate and accept those of the authorities in this PEM file; a client " +
				"may have none"},
	}
}

// validate checks the settings of TLS against the rest of the configuration.
func (t *ClientTLS) validate(c *Server) error {
	if len(t.TLSListen) == 0 {
		if t.Files != (secure.Files{}) && c.AdminTLS == "" {
			return Usagef("--tls-cert, --tls-key and --tls-client-ca are for --listen-tls and --admin-tls, which are empty")
		}
		return nil
	}
	for _, a := range t.TLSListen {
		if err := c.checkReach("--listen-tls", a); err != nil {
			return err
		}
	}
	if t.Cert == "" || t.Key == "" {
		return Usagef("--listen-tls needs a certificate: name it with --tls-cert, and its key with --tls-key")
	}
	return nil
}
