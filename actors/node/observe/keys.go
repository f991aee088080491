package observe

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"sluice/transport/listen"
)

// Key is one line of /keys.
type Key struct {
	Name        string     `json:"name,omitempty"`
	Key         string     `json:"key"` // fingerprint
	Role        string     `json:"role"`
	Connections int        `json:"connections"` // open
	Options     string     `json:"options,omitempty"`
	Expires     *time.Time `json:"expires,omitempty"`
	Expired     bool       `json:"expired,omitempty"`
}

// Keys is the page at /keys.
type Keys struct {
	Keys []Key `json:"keys"` // in the order of the keys file
}

// Text implements page.
func (k *Keys) Text(w io.Writer) error {
	if len(k.Keys) == 0 {
		_, err := fmt.Fprintln(w, "no authorized keys")
		return err
	}
	t := table(w)
	fmt.Fprintln(t, "key\tfingerprint\trole\tconnections\toptions\t")
	for _, x := range k.Keys {
		name, options := x.Name, x.Options
		if name == "" {
			name = "-"
		}
		if x.Expired {
			options += " (expired)"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t\n", name, x.Key, x.Role, x.Connections, options)
	}
	return t.Flush()
}

// KeyOf describes an identity.
func KeyOf(id *listen.Identity, now time.Time) Key {
	k := Key{Name: id.Name, Key: id.Key.String(), Role: id.Role.String(), Options: id.Options(),
		Expired: id.Expired(now)}
	if !id.Expires.IsZero() {
		k.Expires = &id.Expires
	}
	return k
}

func (a *admin) keys(context.Context, url.Values) (page, int, error) {
	k := &Keys{Keys: []Key{}}
	for _, use := range a.node.Keys() {
		key := KeyOf(use.Identity, time.Now())
		key.Connections = use.Open
		k.Keys = append(k.Keys, key)
	}
	return k, http.StatusOK, nil
}
