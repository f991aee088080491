package status

import (
	"fmt"
	"path/filepath"
	"reflect"
	"testing"

	"sluice/telemetry"
	"sluice/transport"
)

func sample() *Measurements {
	c := telemetry.NewCollector(telemetry.NewClock())
	for shard := range 2 {
		r := c.Register("egress", shard)
		r.B.H[telemetry.StageSend].RecordN(1000, 50)
		r.B.C[telemetry.EgressSendOK] += 3
		r.B.C[telemetry.EgressSendAgain] += 1
		r.Park()
	}
	c.Gauge(telemetry.JournalCommits, telemetry.NoShard, "", func() float64 { return 7 })
	return measure(c, transport.Diagnosis{Engine: "poll", Text: "asked for"}, 2)
}

func ExampleMeasurements() {
	r := sample()
	fmt.Println(r.Engine, r.Shards, "shards,", r.Stages[0].Stage, r.Stages[0].Count, "samples")
	fmt.Println(r.Counter("egress_sends"), r.Counter("egress_sends", "ok"), r.Gauge(telemetry.JournalCommits))
	// Output:
	// poll 2 shards, send 100 samples
	// 8 6 7
}

func TestMeasurementsReadBackAsWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stats.json")
	want := sample()
	if err := want.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	got, err := ReadMeasurements(path)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v, %v; wrote %+v", got, err, want)
	}
	if _, err := ReadMeasurements(path + ".tmp"); err == nil {
		t.Error("the temporary file was not removed")
	}
}
