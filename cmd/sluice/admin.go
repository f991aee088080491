package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"sluice/actors/node/observe"
	"sluice/cmd/internal/config"
)

const adminHead = `usage: sluice admin [flags] WHAT

  status             one line: state, clients, policy, what the gate waits for
  ready              whether clients are served; exit code 1 if not
  live               whether every part of the server still moves; exit code 1 if not
  connections        the first connections in an order: --top, --by
  closed             the connections that ended last, with reasons and figures: --top
  policy             the durability policy and the nodes in view
  policy POLICY      swap it: local, or clauses as "persisted>=1 && in_memory>=2"; done when the gate adopted it
  kick ID            end a connection; its number is in the list of connections
  trace              which responses are traced
  trace ID N         trace the next N responses to a connection; 0 ends that
  drain              end the server in order

Whoever may read may ask at the admin address. policy POLICY, kick, trace ID N and drain need the admin socket of the server's own user
(--socket), or a key with the role operator and the address where clients connect (--addr, --key).`

// adminConfig is what `sluice admin` can be told.
type adminConfig struct {
	Socket, Addr, Key, HTTP string
	Top                     int
	By                      string
	Force, JSON             bool
	Deadline, Timeout       time.Duration
}

func (c *adminConfig) set() *config.Set {
	flag := func(name string, v config.Value, help string) config.Setting {
		return config.Setting{Name: name, Group: "Flags", Value: v, Help: help}
	}
	return config.NewSet("",
		flag("socket", config.Text(&c.Socket, "PATH"), "admin socket of the server, its --admin-socket"),
		flag("addr", config.Text(&c.Addr, "ADDR"), "where clients connect: host:port, or the path of a unix-domain socket; needs --key"),
		flag("key", config.Text(&c.Key, "FILE"), "private key with the role operator"),
		flag("admin-addr", config.Text(&c.HTTP, "ADDR"), "admin address, for reading, when neither --socket nor --addr is given"),
		flag("top", config.Count(&c.Top, 1, 1000, false), "connections to list at most"),
		flag("by", config.Text(&c.By, "buffered|age|lag"), "order of connections: most unsent bytes, connected longest, behind longest"),
		flag("force", config.Bool(&c.Force), "swap to a policy that cannot be met now: nothing is answered until it can"),
		flag("deadline", config.Duration(&c.Deadline, 0, time.Hour), "of drain; 0s is the server's own"),
		flag("json", config.Bool(&c.JSON), "the answer as JSON"),
		flag("timeout", config.Duration(&c.Timeout, time.Millisecond, time.Hour), "for the whole command"),
	)
}

// administer is `sluice admin`.
func administer(e *env, args []string) error {
	c := &adminConfig{HTTP: observe.DefaultAddress, Top: 20, By: "buffered", Timeout: 10 * time.Second}
	set := c.set()
	words, done, err := load(e, set, args, adminHead)
	if done || err != nil {
		return err
	}
	run, err := c.command(words)
	if err != nil {
		return err
	}
	client := &observe.Client{Socket: c.Socket, Addr: c.Addr, HTTP: c.HTTP}
	switch {
	case c.Socket != "" && c.Addr != "":
		return config.Usagef("both --socket and --addr are given; give one")
	case (c.Addr != "") != (c.Key != ""):
		return config.Usagef("--addr and --key belong together: the address where clients connect, and a key with the role operator")
	case c.Key != "":
		if client.Key, err = readKey(c.Key); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
	defer cancel()
	return run(ctx, client, e.stdout)
}

// adminRequest asks a server and writes its answer.
type adminRequest func(ctx context.Context, client *observe.Client, w io.Writer) error

// command understands the words.
func (c *adminConfig) command(words []string) (adminRequest, error) {
	if len(words) == 0 {
		return nil, config.Usagef("name what to do: %s", adminVerbs)
	}
	verb, rest := words[0], words[1:]
	most := map[string]int{"policy": 1, "kick": 1, "trace": 2}[verb]
	if len(rest) > most {
		return nil, config.Usagef("admin %s: %q is left over; a policy of several words needs quotes", verb, rest[most])
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
		return c.page("/connections"+top+"&by="+c.By, new(observe.Connections)), c.checkBy()
	case verb == "closed":
		return c.page("/connections/closed?last="+strconv.Itoa(c.Top), new(observe.Closed)), nil
	case verb == "policy" && len(rest) == 0:
		return c.page("/policy", new(observe.Policy)), nil
	case verb == "policy":
		return c.change(func(ctx context.Context, client *observe.Client) (string, error) {
			return client.Swap(ctx, rest[0], c.Force)
		}), nil
	case verb == "kick" && len(rest) == 1:
		id, err := strconv.ParseUint(rest[0], 10, 64)
		if err != nil || id == 0 {
			return nil, config.Usagef("admin kick: ID is %q; write the number of a connection as `sluice admin connections` shows it", rest[0])
		}
		return c.change(func(ctx context.Context, client *observe.Client) (string, error) { return client.Kick(ctx, id) }), nil
	case verb == "kick":
		return nil, config.Usagef("admin kick: name the connection; `sluice admin connections` lists them")
	case verb == "trace" && len(rest) == 0:
		return c.page("/trace", new(observe.Tracing)), nil
	case verb == "trace":
		return c.trace(rest)
	case verb == "drain":
		return c.change(func(ctx context.Context, client *observe.Client) (string, error) {
			return client.Drain(ctx, c.Deadline)
		}), nil
	}
	best, _ := config.Nearest(verb, strings.Split(adminVerbs, ", "))
	return nil, config.Usagef("unknown admin command %q; did you mean %s? They are %s", verb, best, adminVerbs)
}

const adminVerbs = "status, ready, live, connections, closed, policy, kick, trace, drain"

// trace understands ID N.
func (c *adminConfig) trace(words []string) (adminRequest, error) {
	id, err := strconv.ParseUint(words[0], 10, 64)
	if err != nil || id == 0 {
		return nil, config.Usagef("admin trace: ID is %q; write the number of a connection as `sluice admin connections` shows it", words[0])
	}
	if len(words) < 2 {
		return nil, config.Usagef("admin trace %d: say how many responses to trace, such as 100, or 0 to end it", id)
	}
	n, err := strconv.Atoi(words[1])
	if err != nil || n < 0 {
		return nil, config.Usagef("admin trace: N is %q; write how many responses to trace, such as 100, or 0 to end it", words[1])
	}
	return c.change(func(ctx context.Context, client *observe.Client) (string, error) { return client.Trace(ctx, id, n) }), nil
}

func (c *adminConfig) checkBy() error {
	switch c.By {
	case "buffered", "age", "lag":
		return nil
	}
	return config.Usagef("--by is %q: write buffered, age or lag", c.By)
}

// page reads and writes a page. One that says no is written too, and is an error.
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

// change carries out a command.
func (c *adminConfig) change(f func(ctx context.Context, client *observe.Client) (string, error)) adminRequest {
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
