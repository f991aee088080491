package config

import (
	"crypto/tls"

	"sluice/transport/client"
	"sluice/transport/secure"
)

// Dial is how a client connects to an address with TLS.
type Dial struct {
	TLS       bool
	CA        string
	Pin       string
	Name      string
	Cert, Key string
}

// Settings are the settings of a client.
func (d *Dial) Settings() []Setting {
	return []Setting{
		{Name: "tls", Group: "Flags", Value: Bool(&d.TLS),
			Help: "speak TLS, to an address of --listen-tls, and verify the certificate of the server"},
		{Name: "ca", Group: "Flags", Value: Text(&d.CA, "FILE"),
			Help: "trust the authorities in this PEM file, in place of those of the system"},
		{Name: "pin", Group: "Flags", Value: Text(&d.Pin, "SHA256"),
			Help: "accept the certificate with this fingerprint alone, from any issuer, as " +
				"`openssl x509 -fingerprint -sha256 -noout -in CERT` prints it"},
		{Name: "tls-name", Group: "Flags", Value: Text(&d.Name, "NAME"),
			Help: "expect a certificate for this name; by default the host of the address"},
		{Name: "client-cert", Group: "Flags", Value: Text(&d.Cert, "FILE"),
			Help: "show the server the client certificate in this PEM file, if it asks for one"},
		{Name: "client-key", Group: "Flags", Value: Text(&d.Key, "FILE"),
			Help: "use the private key of --client-cert in this PEM file"},
	}
}

// Options reads the files; nil without TLS.
func (d *Dial) Options() (*client.TLS, error) {
	if !d.TLS {
		if *d != (Dial{}) {
			return nil, Usagef("--ca, --pin, --tls-name, --client-cert and --client-key are for --tls, " +
				"which is not set")
		}
		return nil, nil
	}
	o := &client.TLS{Name: d.Name}
	var err error
	if d.Pin != "" {
		if o.Pin, err = secure.ParseFingerprint(d.Pin); err != nil {
			return nil, Usagef("--pin: %v", err)
		}
		if d.CA != "" {
			return nil, Usagef("--pin accepts one certificate alone; leave out --ca")
		}
	}
	if d.CA != "" {
		if o.CA, err = secure.ReadAuthorities(d.CA); err != nil {
			return nil, Usagef("--ca: %v", err)
		}
	}
	if d.Cert != "" || d.Key != "" {
		pair, err := tls.LoadX509KeyPair(d.Cert, d.Key)
		if err != nil {
			return nil, Usagef("--client-cert, --client-key: %v", err)
		}
		o.Certificate = &pair
	}
	return o, nil
}
