package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/actors/node/observe"
	"sluice/cmd/internal/config"
	"sluice/transport/client"
)

const adminHead = `usage: sluice admin [flags] COMMAND

  status             print one line: state, clients, policy, and what the gate waits for
  ready              print whether clients are served; exit code 1 if not
  live               print whether every actor steps; exit code 1 if not
  connections        list connections, ordered by --by, at most --top
  topics             list topics that have subscribers, ordered by --by, at most --top
  closed             list the last closed connections with reasons and figures, at most --top
  policy             print the durability policy and the nodes in view
  policy POLICY      swap the policy: local, or clauses such as "persisted>=1 && in_memory>=2";
                     returns when the gate has adopted it
  keys               list the authorized keys, with their open connections
  kick ID            close a connection; connections lists the ids
  kick KEY           close all connections of a key, by its name or fingerprint; keys lists them
  trace              print which responses are traced
  trace ID N         trace the next N responses to a connection; 0 stops tracing it
  reload             read limits, keys, certificate and token again, as SIGHUP does, and print the results
  drain              drain the server and end it

Commands that only read use the admin address by default. policy POLICY, kick, trace ID N, reload
and drain need the admin socket (--admin-socket), which only the user of the server may open, the
admin address with TLS and a token (--admin-tls, --token-file), or the address for clients with a key
of role operator (--address, --key).

Exit codes: 0 done, 1 failed or not ready or live, 64 usage error.`

// adminConfig has the settings of `sluice admin`.
type adminConfig struct {
	Socket, Addr, Key, HTTP string
	adminTLS
	Top               int
	By                string
	Force, JSON       bool
	Deadline, Timeout time.Duration
}

func newAdminConfig() *adminConfig {
	return &adminConfig{HTTP: observe.DefaultAddress, Top: 20, Timeout: 10 * time.Second}
}

// adminFlag is a setting without a group of its own.
func adminFlag(name string, v config.Value, help string) config.Setting {
	return config.Setting{Name: name, Group: "Flags", Value: v, Help: help}
}

// endpoints are the settings that name a server, and how the answer is taken.
func (c *adminConfig) endpoints() []config.Setting {
	flag := adminFlag
	named := func(former string, s config.Setting) config.Setting { s.Former = former; return s }
	return append([]config.Setting{
		named("socket", flag("admin-socket", config.Text(&c.Socket, "PATH"),
			"connect to this admin socket, the --admin-socket of the server")),
		named("addr", flag("address", config.Text(&c.Addr, "ADDR"),
			"connect to this address for clients: host:port, or the path of a unix-domain "+
				"socket; needs --key")),
		flag("key", config.Text(&c.Key, "FILE"),
			"authenticate with the private key in this file, which needs the role operator"),
		named("admin-addr", flag("admin-address", config.Text(&c.HTTP, "ADDR"),
			"connect to this admin address, read-only, if neither --admin-socket nor --address is "+
				"given")),
		c.adminTLS.address(), c.adminTLS.token(),
		flag("json", config.Bool(&c.JSON), "print JSON"),
		flag("timeout", config.Duration(&c.Timeout, time.Millisecond, time.Hour),
			"wait at most this time for the command"),
	}, c.Dial.Settings()...)
}

func (c *adminConfig) set() *config.Set {
	flag := adminFlag
	return config.NewSet("", append(c.endpoints(),
		flag("top", config.Count(&c.Top, 1, 1000, false), "list at most N connections or topics"),
		flag("by", config.Text(&c.By, "ORDER"),
			"order connections by unsent bytes (buffered), by time since connect (age), or by "+
				"time without progress (lag); topics by subscribers, rate, behind, gaps or memory; "+
				"default buffered, subscribers"),
		flag("force", config.Bool(&c.Force),
			"swap to a policy even if it cannot be met now, so that no response leaves until it can; or in "+
				"a cluster to one that is exposed"),
		flag("deadline", config.Duration(&c.Deadline, 0, time.Hour),
			"limit a drain to this time; 0s is the --drain of the server"),
	)...)
}

// administer is `sluice admin`.
func administer(e *env, args []string) error {
	c := newAdminConfig()
	set := c.set()
	words, done, err := load(e, set, args, adminHead)
	if done || err != nil {
		return err
	}
	e.json = c.JSON
	run, err := c.command(words)
	if err != nil {
		return err
	}
	api, err := c.client(set)
	if err != nil {
		return err
	}
	return c.carryOut(api, run, e.stdout)
}

// carryOut sends a request within its time and writes the result.
func (c *adminConfig) carryOut(api *observe.Client, run adminRequest, w io.Writer) error {
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
	defer cancel()
	err := run(ctx, api, w)
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return fmt.Errorf("no server answers: %w; start one with `sluice serve`, or name another "+
			"with --admin-address, --admin-socket, --admin-tls, or --address and --key", err)
	}
	return err
}

// client returns the client for the endpoint that is named. SLUICE_ADDRESS and SLUICE_KEY may be
// meant for `sluice client`: alone they name none, and the other settings take precedence.
func (c *adminConfig) client(set *config.Set) (*observe.Client, error) {
	flag := func(name string) bool { return strings.HasPrefix(set.Origin(name), "--") }
	switch {
	case flag("admin-socket") && flag("address"):
		return nil, config.Usagef("both --admin-socket and --address are given; use one of them")
	case flag("admin-tls") && (flag("admin-socket") || flag("address") || flag("admin-address")):
		return nil, config.Usagef("--admin-tls and another address are given; use one of them")
	case flag("address") && c.Key == "" || flag("key") && c.Addr == "":
		return nil, config.Usagef("--address and --key belong together: the address for clients, " +
			"and a key with the role operator")
	case flag("admin-tls"): // as a variable, it is meant for the server
		t, token, err := c.options()
		return &observe.Client{HTTP: c.Address, TLS: t, Token: token}, err
	case c.Socket != "" && !flag("address"):
		return &observe.Client{Socket: c.Socket}, nil
	case c.Addr != "" && c.Key != "":
		key, err := client.ReadKey(c.Key)
		if err != nil {
			return nil, err
		}
		t, err := c.Dial.Options()
		return &observe.Client{Addr: c.Addr, Key: key, TLS: t}, err
	}
	return &observe.Client{HTTP: c.HTTP}, nil
}

// adminRequest sends a request to a server and writes the result.
type adminRequest func(ctx context.Context, client *observe.Client, w io.Writer) error

// command returns the request of the words.
func (c *adminConfig) command(words []string) (adminRequest, error) {
	if len(words) == 0 {
		return nil, config.Usagef("name a command: %s", adminVerbs)
	}
	verb, rest := words[0], words[1:]
	most := map[string]int{"policy": 1, "kick": 1, "trace": 2}[verb]
	if len(rest) > most {
		return nil, config.Usagef("admin %s: unexpected argument %q; a policy of several words "+
			"needs quotes", verb, rest[most])
	}
	top := "?top=" + strconv.Itoa(c.Top)
	switch {
	case verb == "status":
		return c.page("/", new(observe.Status)), nil
	case verb == "ready":
		return c.page("/readyz", new(observe.Readiness)), nil
	case verb == "live":
		return c.page("/livez", new(observe.Life)), nil
	case verb == "connections":
		by, err := c.order("buffered", "age", "lag")
		return c.page("/connections"+top+by, new(observe.Connections)), err
	case verb == "topics":
		by, err := c.order("subscribers", "rate", "behind", "gaps", "memory")
		return c.page("/topics"+top+by, new(observe.Topics)), err
	case verb == "closed":
		return c.page("/connections/closed?last="+strconv.Itoa(c.Top), new(observe.Closed)), nil
	case verb == "policy" && len(rest) == 0:
		return c.page("/policy", new(observe.Policy)), nil
	case verb == "policy":
		return c.change(func(ctx context.Context, client *observe.Client) (string, error) {
			return client.Swap(ctx, rest[0], c.Force)
		}), nil
	case verb == "keys":
		return c.page("/keys", new(observe.Keys)), nil
	case verb == "kick" && len(rest) == 1:
		return c.kick(rest[0])
	case verb == "kick":
		return nil, config.Usagef("admin kick: name a connection or a key; `sluice admin connections` and " +
			"`sluice admin keys` list them")
	case verb == "trace" && len(rest) == 0:
		return c.page("/trace", new(observe.Tracing)), nil
	case verb == "trace":
		return c.trace(rest)
	case verb == "reload":
		return c.change(func(ctx context.Context, client *observe.Client) (string, error) {
			return client.Reload(ctx)
		}), nil
	case verb == "drain":
		return c.change(func(ctx context.Context, client *observe.Client) (string, error) {
			return client.Drain(ctx, c.Deadline)
		}), nil
	}
	return nil, config.Usagef("unknown admin command %q; %sthe commands are %s", verb,
		config.DidYouMean(verb, strings.Split(adminVerbs, ", ")), adminVerbs)
}

// kick returns the request to close a connection, or those of a key. The name of a key is no number.
func (c *adminConfig) kick(what string) (adminRequest, error) {
	id, err := strconv.ParseUint(what, 10, 64)
	if err == nil && id == 0 || what == "" {
		return nil, config.Usagef("admin kick: ID is %q; write the id of a connection, or the name of a key", what)
	}
	return c.change(func(ctx context.Context, client *observe.Client) (string, error) {
		if err != nil {
			return client.KickKey(ctx, what)
		}
		return client.Kick(ctx, id)
	}), nil
}

const adminVerbs = "status, ready, live, connections, topics, closed, keys, policy, kick, trace, reload, drain"

// trace returns the request of the words ID N.
func (c *adminConfig) trace(words []string) (adminRequest, error) {
	id, err := strconv.ParseUint(words[0], 10, 64)
	if err != nil || id == 0 {
		return nil, config.Usagef("admin trace: ID is %q; write the id of a connection; `sluice "+
			"admin connections` lists them", words[0])
	}
	if len(words) < 2 {
		return nil, config.Usagef("admin trace %d: write the number of responses to trace, such "+
			"as 100, or 0 to stop", id)
	}
	n, err := strconv.Atoi(words[1])
	if err != nil || n < 0 {
		return nil, config.Usagef("admin trace: N is %q; write the number of responses to trace, "+
			"such as 100, or 0 to stop", words[1])
	}
	return c.change(func(ctx context.Context, client *observe.Client) (string, error) {
		return client.Trace(ctx, id, n)
	}), nil
}

// order is the part of a query that names the order of a list, of which the first is the default.
func (c *adminConfig) order(known ...string) (string, error) {
	by := cmp.Or(c.By, known[0])
	if !slices.Contains(known, by) {
		last := len(known) - 1
		return "", config.Usagef("--by is %q: write %s or %s", by, strings.Join(known[:last], ", "), known[last])
	}
	return "&by=" + by, nil
}

// page reads and writes a page. A page that reports a failure is written too, and returns an error.
func (c *adminConfig) page(path string, page interface{ Text(w io.Writer) error }) adminRequest {
	return func(ctx context.Context, client *observe.Client, w io.Writer) error {
		err := client.Get(ctx, path, page)
		var refused *observe.Error
		if err != nil && (!errors.As(err, &refused) || !refused.Page) {
			return err
		}
		if writeErr := c.write(w, page); writeErr != nil {
			return writeErr
		}
		return err
	}
}

// change returns a request that changes something.
func (c *adminConfig) change(
	f func(ctx context.Context, client *observe.Client) (string, error),
) adminRequest {
	return func(ctx context.Context, client *observe.Client, w io.Writer) error {
		done, err := f(ctx, client)
		if err != nil {
			return err
		}
		return c.write(w, &observe.Done{Done: done})
	}
}

func (c *adminConfig) write(w io.Writer, page interface{ Text(w io.Writer) error }) error {
	if c.JSON {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		return e.Encode(page)
	}
	return page.Text(w)
}
