package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path/filepath"

	"sluice/actors/sequencer"
	"sluice/cmd/internal/config"
	"sluice/cmd/orderbook"
	"sluice/durability/journal"
)

const journalHead = `usage: sluice journal [flags] list|verify

  list      print the events of a data directory, one per line: number, connection, request number of
            the client, and request
  verify    read everything, check every checksum and every event, and print a summary

Both only read. They are meant for a stopped server; while it runs they see a part of its journal.

Exit codes: 0 done, 1 failed or damaged, 2 usage error.`

// inspect is `sluice journal`.
func inspect(e *env, args []string) error {
	dir, asJSON := "./sluice-data", false
	from, to := 1, 0
	set := config.NewSet("",
		config.Setting{Name: "data-dir", Group: "Flags",
			Value: config.Text(&dir, "DIR"), Help: "read the data directory of a server"},
		config.Setting{Name: "from", Group: "Flags",
			Value: config.Count(&from, 1, math.MaxInt, false), Help: "list events from number N"},
		config.Setting{Name: "to", Group: "Flags",
			Value: config.Count(&to, 0, math.MaxInt, false),
			Help:  "list events up to number N; 0 for the last"},
		config.Setting{Name: "json", Group: "Flags",
			Value: config.Bool(&asJSON), Help: "list events as one JSON object per line"},
	)
	rest, done, err := load(e, set, args, journalHead)
	if done || err != nil {
		return err
	}
	if len(rest) != 1 || rest[0] != "list" && rest[0] != "verify" {
		return config.Usagef("write sluice journal list or sluice journal verify")
	}
	log, err := journal.Inspect(filepath.Join(dir, "journal"))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w; name the data directory of a server with --data-dir", err)
	}
	if err != nil {
		return err
	}
	if rest[0] == "verify" {
		return verify(e.stdout, dir, log)
	}
	for event, err := range log.Events() {
		if err != nil {
			return err
		}
		if n := uint64(event.Seq); n < uint64(from) || to > 0 && n > uint64(to) {
			continue
		}
		if err := list(e.stdout, event, asJSON); err != nil {
			return err
		}
	}
	return nil
}

// request decodes the request of an event.
func request(event journal.Event) (req sequencer.Event, c orderbook.Command, err error) {
	if err = sequencer.DecodeEvent(event.Payload, &req); err == nil {
		err = orderbook.DecodeRequest(req.Tag, req.Body, &c)
	}
	if err != nil {
		err = fmt.Errorf("event %d: %w", event.Seq, err)
	}
	return req, c, err
}

func list(w io.Writer, event journal.Event, asJSON bool) error {
	req, c, err := request(event)
	if err != nil {
		return err
	}
	if asJSON {
		return json.NewEncoder(w).Encode(map[string]any{"seq": uint64(event.Seq),
			"connection": req.Conn, "request_seq": req.Request,
			"account": c.Account, "client_order_id": c.ClientOrderID, "tag": req.Tag,
			"target": c.Target, "instrument": c.Instrument,
			"side": c.Side, "type": c.Type, "time_in_force": c.TimeInForce, "price": c.Price, "quantity": c.Quantity})
	}
	_, err = fmt.Fprintf(w, "%8d  conn %d.%-6d req %-6d account %-6d #%-6d %s\n", event.Seq,
		req.Conn>>40, req.Conn&(1<<40-1), req.Request, c.Account, c.ClientOrderID, words(&c))
	return err
}

// words formats a command as a request of `sluice client`.
func words(c *orderbook.Command) string {
	switch c.Tag {
	case orderbook.TagCancel:
		return fmt.Sprintf("cancel %d", c.Target)
	case orderbook.TagReplace:
		return fmt.Sprintf("replace %d %d @ %d", c.Target, c.Quantity, c.Price)
	}
	text := fmt.Sprintf("buy %d %d", c.Instrument, c.Quantity)
	if c.Side == orderbook.Sell {
		text = "sell" + text[len("buy"):]
	}
	if c.Type == orderbook.Limit {
		text += fmt.Sprintf(" @ %d", c.Price)
		if c.TimeInForce == orderbook.ImmediateOrCancel {
			text += " ioc"
		}
	}
	return text
}

func verify(w io.Writer, dir string, log *journal.Log) error {
	var events, bytes uint64
	kinds := make(map[uint8]uint64)
	accounts := make(map[uint64]uint64) // last client order id by account
	for event, err := range log.Events() {
		if err != nil {
			return err
		}
		req, c, err := request(event)
		if err != nil {
			return err
		}
		events++
		bytes += uint64(len(event.Payload))
		kinds[req.Tag]++
		accounts[c.Account] = max(accounts[c.Account], c.ClientOrderID)
	}
	fmt.Fprintf(w, "%s is intact\n", dir)
	row := func(name, text string) { fmt.Fprintf(w, "  %-10s %s\n", name, text) }
	if events == 0 {
		row("events", "none")
	} else {
		row("events", fmt.Sprintf("%d to %d: %d of %s in all, from %d accounts", log.First,
			log.Last, events, config.FormatSize(bytes), len(accounts)))
		row("kinds", fmt.Sprintf("%d new, %d cancel, %d replace", kinds[orderbook.TagNew],
			kinds[orderbook.TagCancel], kinds[orderbook.TagReplace]))
	}
	snapshots := "none"
	for i, s := range log.Snapshots {
		if i == 0 {
			snapshots = "after event"
		}
		if snapshots += fmt.Sprint(" ", s.Seq); s.Damaged {
			snapshots += " (damaged)"
		}
	}
	row("directory", log.Directory.String())
	row("snapshots", snapshots)
	if log.Torn != "" {
		row("last write", "incomplete, as after a crash; the next start drops it: "+log.Torn)
	}
	return nil
}
