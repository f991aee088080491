package config

import (
	"strings"
	"testing"
	"time"

	"sluice/transport"
	"sluice/transport/listen"
)

func TestRatesAndListenerLimits(t *testing.T) {
	c := DefaultServer()
	args := []string{"--listen-unix", "/run/a=b", "--request-rate", "1000/50", "--connect-rate",
		"0.5/3", "--listener-limits", "/run/a=b=4MiB/1MiB/3s/10s"}
	if _, err := c.Set().Load(args, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	requests, connects := c.Rates()
	if requests != (listen.Rate{PerSecond: 1000, Burst: 50}) ||
		connects != (listen.Rate{PerSecond: 0.5, Burst: 3}) {
		t.Errorf("%+v, %+v", requests, connects)
	}
	want := transport.Limits{HardBytes: 4 << 20, SoftBytes: 1 << 20, SoftFor: 3 * time.Second,
		NoProgress: 10 * time.Second}
	if all := c.ByListener(); len(all) != 1 || all["/run/a=b"] != want {
		t.Errorf("%+v", all)
	}
}

func TestBadRatesAndListenerLimitsAreRejected(t *testing.T) {
	for _, v := range []struct{ flag, value, want string }{
		{"--request-rate", "1000", "such as 1000/2000"},
		{"--request-rate", "0/1", "such as 1000/2000"}, {"--request-rate", "1/0", "such as 1000/2000"},
		{"--connect-rate", "NaN/1", "such as 1000/2000"},
		{"--listener-limits", "127.0.0.1:9876", "hard/soft/soft-for/no-progress"},
		{"--listener-limits", "=1MiB/1MiB/1s/1s", "hard/soft/soft-for/no-progress"},
		{"--listener-limits", "127.0.0.1:9876=1MiB/2MiB/1s/1s", "hard is 1MiB and soft 2MiB"},
		{"--listener-limits", "a=1MiB/1MiB/1/1s", "time with its unit"},
		{"--listener-limits", "a=1MiB/1MiB/1s/1s", "not an address of"},
		{"--listener-limits", "127.0.0.1:9876=512B/512B/1s/1s",
			"hard is 512B and soft 512B, with --frame-max 512B"},
		{"--drain-spread", "0s", "write a time"},
	} {
		c := DefaultServer()
		_, err := c.Set().Load([]string{v.flag, v.value}, nil)
		if err == nil {
			err = c.Validate()
		}
		if err == nil || !strings.Contains(err.Error(), v.want) {
			t.Errorf("%s %s: %v, want %q", v.flag, v.value, err, v.want)
		}
	}
}
