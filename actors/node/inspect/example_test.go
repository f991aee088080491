package inspect_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"sluice/actors/node/inspect"
	"sluice/actors/sequencer"
	"sluice/durability/journal"
)

// counter is an application that adds numbers; only its table and its words matter here.
type counter struct{}

func (counter) Requests() []sequencer.RequestType {
	return []sequencer.RequestType{{Tag: 0x10, Name: "add", Size: 1, Role: sequencer.RoleTrader}}
}

func (counter) DescribeRequest(tag uint8, body []byte) string { return fmt.Sprint(body) }

// write makes a data directory whose journal has these events, as a node would.
func write(dir string, events ...sequencer.Event) error {
	j, r, err := journal.Open(journal.Options{Dir: filepath.Join(dir, "journal"),
		SegmentBytes: 64 << 10})
	if err != nil {
		return err
	}
	for i := range events {
		if _, err := j.Writer().Append(sequencer.AppendEvent(nil, &events[i])); err != nil {
			return err
		}
	}
	if _, err := j.Writer().Commit(); err != nil {
		return err
	}
	if err := j.Close(); err != nil {
		return err
	}
	genesis := journal.AppendOwned(nil, r.Directory, nil)
	return os.WriteFile(filepath.Join(dir, "genesis"), genesis, 0o600)
}

func Example() {
	dir, err := os.MkdirTemp("", "inspect-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	const conn = 1<<40 + 1 // the first connection after the first start
	err = write(dir,
		sequencer.Event{Kind: sequencer.KindConnected, Time: 1e18, Conn: conn,
			Identity: sequencer.Identity{Role: sequencer.RoleTrader}},
		sequencer.Event{Kind: sequencer.KindRequest, Time: 1e18 + 1500, Conn: conn, Request: 7,
			Identity: sequencer.Identity{Role: sequencer.RoleTrader}, Tag: 0x10, Body: []byte{42}})
	if err != nil {
		log.Fatal(err)
	}
	j, err := inspect.Open(dir, counter{})
	if err != nil {
		log.Fatal(err)
	}
	if err := j.List(os.Stdout, inspect.Options{}); err != nil {
		log.Fatal(err)
	}
	if err := j.List(os.Stdout, inspect.Options{From: 2, JSON: true}); err != nil {
		log.Fatal(err)
	}
	summary, err := j.Verify()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(summary.Kinds, summary.Requests)
	// Output:
	//        1  2001-09-09T01:46:40.000000000Z  1.1      trader                   connected
	//        2  2001-09-09T01:46:40.000001500Z  1.1      trader                   request 7 add: [42]
	// {"seq":2,"time":"2001-09-09T01:46:40.000001500Z","kind":"request","connection":1099511627777,"request_seq":7,"role":"trader","tag":16,"name":"add","text":"[42]"}
	// map[connected:1 request:1] map[add:1]
}
