package telemetry

import (
	"strings"
	"testing"
)

func TestEveryGaugeIsDescribed(t *testing.T) {
	seen := map[string]bool{}
	for id := range GaugeID(NumGauges) {
		i := id.Info()
		if i.Name == "" || !strings.HasSuffix(i.Help, ".") || i.Value != "" || seen[i.Name] {
			t.Errorf("gauge %d is not described, or twice: %+v", id, i)
		}
		seen[i.Name] = true
	}
	if i := CustomGauge.Info(); i != (Info{}) {
		t.Errorf("CustomGauge is described: %+v", i)
	}
}

func TestCustomGaugeIsReadUnderItsName(t *testing.T) {
	c := NewCollector(NewClock())
	info := Info{Name: "ledger_accounts", Label: "branch", Value: "north", Unit: "accounts",
		Help: "Accounts."}
	if err := c.CustomGauge(info, 3, func() float64 { return 9 }); err != nil {
		t.Fatal(err)
	}
	read := 0
	c.Gauges(func(g Gauge, value float64) {
		read++
		if g.ID != CustomGauge || g.Info != info || g.Shard != 3 || value != 9 {
			t.Errorf("read %+v = %v", g, value)
		}
	})
	if read != 1 {
		t.Errorf("%d gauges, want 1", read)
	}
}

func TestCustomGaugeRejectsNamesOfTheCatalogue(t *testing.T) {
	c := NewCollector(NewClock())
	for name, want := range map[string]string{"": "without a name",
		"gate_pending": "choose another name"} {
		err := c.CustomGauge(Info{Name: name}, NoShard, func() float64 { return 0 })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("name %q: %v, want an error with %q", name, err, want)
		}
	}
	c.Gauges(func(g Gauge, _ float64) { t.Errorf("%q was registered", g.Name) })
}

func TestGaugeRejectsValueThatDoesNotMatchLabel(t *testing.T) {
	for _, wrong := range []struct {
		id    GaugeID
		value string
	}{{MailboxDepth, ""}, {GatePending, "gate"}, {CustomGauge, ""}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("gauge %d was registered with value %q", wrong.id, wrong.value)
				}
			}()
			NewCollector(NewClock()).Gauge(wrong.id, NoShard, wrong.value, func() float64 { return 0 })
		}()
	}
}
