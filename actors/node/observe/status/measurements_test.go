package status

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

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
	fmt.Println(r.Counter("egress_sends"), r.Counter("egress_sends", "ok"),
		r.Gauge(telemetry.JournalCommits))
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

// A symbolic link is followed, and what is not a regular file is refused and left as it is.
func TestWriteFileReplacesRegularFilesOnly(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(at("file"), []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file", at("link")); err != nil {
		t.Fatal(err)
	}
	if err := new(Measurements).WriteFile(at("link")); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadMeasurements(at("file")); err != nil {
		t.Errorf("the file behind the link: %v", err)
	}
	if to, err := os.Readlink(at("link")); err != nil || to != "file" {
		t.Errorf("the link leads to %q, %v", to, err)
	}
	// A link to a file that does not exist yet stays as well.
	if err := os.Symlink("later", at("dangling")); err != nil {
		t.Fatal(err)
	}
	if err := new(Measurements).WriteFile(at("dangling")); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadMeasurements(at("later")); err != nil {
		t.Errorf("the file behind a link that led to nothing: %v", err)
	}
	if to, err := os.Readlink(at("dangling")); err != nil || to != "later" {
		t.Errorf("the link leads to %q, %v", to, err)
	}
	if err := unix.Mkfifo(at("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{at("fifo"), dir} { // not /dev/null, which a mutant would replace
		before, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := new(Measurements).WriteFile(path); err == nil ||
			!strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: error %v, want a refusal", path, err)
		}
		if after, err := os.Lstat(path); err != nil || after.Mode() != before.Mode() {
			t.Errorf("%s was replaced: %v, %v", path, after, err)
		}
	}
}
