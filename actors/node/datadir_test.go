package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/cmd/orderbook"
	"sluice/durability/journal"
	"sluice/transport"
)

// used makes a data directory with three events.
func used(t *testing.T, cfg bookConfig) {
	s, at := serve(t, cfg)
	c := dial(t, "tcp", at[0])
	for i := uint64(1); i <= 3; i++ {
		c.command(order(1, i, orderbook.Buy, 100, 1))
		c.expect(fmt.Sprintf("accepted %d seq=%d", i, i), "end")
	}
	drain(t, s)
}

// spoiling is a change of a data directory or a configuration, and the error of Open after it.
type spoiling struct {
	name  string
	spoil func(t *testing.T, cfg *bookConfig)
	is    error
	want  string
}

func (c *spoiling) test(t *testing.T) {
	leaks(t)
	cfg := config(t.TempDir(), transport.ModePoll, &lines{})
	c.spoil(t, &cfg)
	n, err := Open(context.Background(), cfg)
	if err == nil || !strings.Contains(err.Error(), c.want) ||
		c.is != nil && !errors.Is(err, c.is) {
		t.Errorf("error %v, want one that says %q", err, c.want)
	}
	if n != nil {
		t.Error("a node was returned beside the error")
	}
}

func TestOpenNamesMissingAndMixedParts(t *testing.T) {
	for _, c := range []spoiling{
		{"a damaged limits' file", func(t *testing.T, cfg *bookConfig) {
			used(t, *cfg)
			path := filepath.Join(cfg.DataDir, "genesis")
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			text[len(text)-1] ^= 1
			write(t, path, string(text))
		}, journal.ErrCorrupt, "genesis: its checksum is wrong; nothing was changed"},
		{"a list of skips of another directory", func(t *testing.T, cfg *bookConfig) {
			used(t, *cfg)
			write(t, filepath.Join(cfg.DataDir, "skips"),
				string(journal.AppendOwned(nil, journal.Identity{1}, []byte("2\n"))))
		}, journal.ErrForeign, "skips belongs to directory 0100"},
		{"the journal lost", func(t *testing.T, cfg *bookConfig) {
			used(t, *cfg)
			if err := os.RemoveAll(filepath.Join(cfg.DataDir, "journal")); err != nil {
				t.Fatal(err)
			}
		}, nil, "has a file genesis, but there is no journal in"},
		{"an empty volume in the place of the journal", func(t *testing.T, cfg *bookConfig) {
			used(t, *cfg)
			path := filepath.Join(cfg.DataDir, "journal")
			if err := errors.Join(os.RemoveAll(path), os.Mkdir(path, 0o700)); err != nil {
				t.Fatal(err)
			}
		}, nil, "has a file genesis, but there is no journal in"},
		{"a data directory that must exist", func(_ *testing.T, cfg *bookConfig) {
			cfg.DataDirMustExist = true
		}, nil, "must exist (DataDirMustExist); mount its volume"},
		{"an empty data directory that must exist", func(t *testing.T, cfg *bookConfig) {
			cfg.DataDirMustExist = true
			if err := os.Mkdir(cfg.DataDir, 0o700); err != nil {
				t.Fatal(err)
			}
		}, nil, "must exist (DataDirMustExist); mount its volume"},
	} {
		t.Run(c.name, c.test)
	}
}

// A data directory that must exist is opened if it does, and nothing is created if it does not.
func TestDataDirMustExist(t *testing.T) {
	cfg := config(t.TempDir(), transport.ModePoll, &lines{})
	cfg.DataDirMustExist = true
	if _, err := Open(context.Background(), cfg); err == nil {
		t.Fatal("a data directory was created")
	}
	if _, err := os.Stat(cfg.DataDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the refused start left %s: %v", cfg.DataDir, err)
	}
	cfg.DataDirMustExist = false
	s, _ := serve(t, cfg)
	drain(t, s)
	cfg.DataDirMustExist = true
	s, _ = serve(t, cfg)
	drain(t, s)
}
