package history_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/cmd/internal/history"
)

// recorded returns the lines of what f recorded.
func recorded(t *testing.T, f func(r *history.Recorder)) []history.Line {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.jsonl")
	r, err := history.Create(path, "a", history.NewClock())
	if err != nil {
		t.Fatal(err)
	}
	f(r)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	head, lines, err := history.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	if head.Client != "a" || len(head.Clock) != 16 {
		t.Errorf("head %+v", head)
	}
	var all []history.Line
	for l, err := range lines {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	return all
}

func TestOutcomesAreRecorded(t *testing.T) {
	lines := recorded(t, func(r *history.Recorder) {
		for request := range uint64(5) {
			r.Sent(r.Now(), 7, 1+request, 0x10, []byte{byte(request)})
		}
		r.Answered(7, 2, 40)
		r.Answered(7, 1, 0)
		r.Refused(7, 3)
		r.Unknown(7, 5)
	})
	if len(lines) != 5 {
		t.Fatalf("%+v", lines)
	}
	for i, want := range []history.Line{
		{Request: 2, Outcome: history.Answered, Event: 40}, {Request: 1, Outcome: history.Answered},
		{Request: 3, Outcome: history.Refused}, {Request: 5, Outcome: history.Unknown},
		{Request: 4, Outcome: history.Unknown}, // by Close
	} {
		got := lines[i]
		if got.Request != want.Request || got.Outcome != want.Outcome || got.Event != want.Event ||
			got.Hash != history.HashOf(0x10, []byte{byte(want.Request - 1)}) || got.Conn != 7 {
			t.Errorf("line %d: %+v, want %+v", i, got, want)
		}
		if answered := got.Outcome == history.Answered; answered != (got.Answered >= got.Sent && got.Answered > 0) {
			t.Errorf("line %d: sent %d, answered %d", i, got.Sent, got.Answered)
		}
	}
}

func TestFramesStayInOrderOfArrival(t *testing.T) {
	const frames = 200
	lines := recorded(t, func(r *history.Recorder) {
		r.Sent(r.Now(), 7, 1, 0x10, nil)
		for i := range frames {
			r.Frame(7, 0x30, []byte{byte(i)})
			if i == 90 {
				r.Answered(7, 1, 3)
			}
			r.Frame(8, 0x31, []byte{byte(i)})
		}
		r.Closed(7)
		r.Closed(9)
	})
	got := map[uint64][]history.Hash{}
	for _, l := range lines {
		got[l.Conn] = append(got[l.Conn], l.Frames...)
		if l.Event == 3 && len(got[7]) != 91 {
			t.Errorf("%d frames before the end of the response, want 91", len(got[7]))
		}
	}
	if len(got[7]) != frames || len(got[8]) != frames {
		t.Fatalf("%d and %d frames", len(got[7]), len(got[8]))
	}
	for i := range frames {
		if got[7][i] != history.HashOf(0x30, []byte{byte(i)}) || got[8][i] != history.HashOf(0x31, []byte{byte(i)}) {
			t.Errorf("frame %d is another one", i)
		}
	}
}

func TestQueriesAreKeptWhole(t *testing.T) {
	lines := recorded(t, func(r *history.Recorder) {
		r.Asked(r.Now(), 7, 1, 0x20, []byte{3, 4})
		r.Frame(7, 0x30, []byte{1})
		r.Told(7, 1, 12, history.HashOf(0x40, nil), history.HashOf(0x41, nil))
	})
	if l := lines[0]; len(lines) != 1 || string(l.Query) != "\x20\x03\x04" || l.AsOf != 12 || len(l.Answer) != 2 ||
		l.Answer[1] != history.HashOf(0x41, nil) || len(l.Frames) != 1 || l.Hash != 0 || l.Outcome != history.Answered {
		t.Errorf("%+v", lines)
	}
}

func TestEndOfConnectionMakesItsRequestsUnknown(t *testing.T) {
	lines := recorded(t, func(r *history.Recorder) {
		r.Sent(r.Now(), 7, 1, 0x10, nil)
		r.Sent(r.Now(), 8, 1, 0x10, nil)
		r.Closed(7)
		r.Sent(r.Now(), 7, 1, 0x10, nil) // the number is free again
		r.Answered(8, 1, 2)
		r.Answered(7, 1, 3)
	})
	if len(lines) != 3 || lines[0].Conn != 7 || lines[0].Outcome != history.Unknown || lines[1].Event != 2 ||
		lines[2].Event != 3 {
		t.Errorf("%+v", lines)
	}
}

func TestMisuseIsAnError(t *testing.T) {
	for want, misuse := range map[string]func(*history.Recorder){
		"request 4 of connection 7 is under way and sent again": func(r *history.Recorder) {
			r.Sent(0, 7, 4, 0x10, nil)
			r.Sent(0, 7, 4, 0x10, nil)
		},
		"a frame of connection 0":                    func(r *history.Recorder) { r.Frame(0, 0x30, nil) },
		"request 5 of connection 7 is not under way": func(r *history.Recorder) { r.Answered(7, 5, 1) },
	} {
		path := filepath.Join(t.TempDir(), "a.jsonl")
		r, err := history.Create(path, "a", history.NewClock())
		if err != nil {
			t.Fatal(err)
		}
		misuse(r)
		if err := r.Close(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if _, err := history.Create(path, "a", history.NewClock()); !os.IsExist(err) && !strings.Contains(err.Error(), "exists") {
			t.Errorf("a history that exists was replaced: %v", err)
		}
	}
}

// A killed client does not close its history: here the file is read while the recorder is open.
func TestHistoryOfKilledClientCanBeRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.jsonl")
	r, err := history.Create(path, "a", history.NewClock())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	const requests = 2000 // more than the buffer holds
	for n := range uint64(requests + 1) {
		if n == 0 || n == 1 || n == requests {
			file, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			head, lines, err := history.Read(file)
			if err != nil || head.Client != "a" {
				t.Fatalf("after %d requests: head %+v, %v", n, head, err)
			}
			read := uint64(0)
			for l, err := range lines {
				if read++; err != nil || l.Request != read {
					t.Fatalf("line %d after %d requests: %+v, %v", read, n, l, err)
				}
			}
			if n == requests && read == 0 || read > n {
				t.Errorf("%d lines after %d requests", read, n)
			}
			file.Close()
		}
		r.Sent(r.Now(), 7, n+1, 0x10, nil)
		r.Answered(7, n+1, n+1)
	}
}

const head = `{"history":1,"client":"a","clock":"b"}` + "\n"

func TestUnfinishedLastLineIsIgnored(t *testing.T) {
	_, lines, err := history.Read(strings.NewReader(head + `{"conn":1,"outcome":"unknown"}` + "\n" + `{"conn":1,"o`))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, err := range lines {
		if err != nil {
			t.Error(err)
		}
		n++
	}
	if n != 1 {
		t.Errorf("%d lines", n)
	}
}

func TestReadNamesWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "the first line is not whole",
		`{"history":2}` + "\n":          "line 1 says format 2, this program reads 1",
		"x\n":                           "line 1: invalid",
		head + "x\n":                    "line 2: invalid",
		head + `{"a":1}` + "\n":         `line 2: json: unknown field "a"`,
		head + `{} {}` + "\n":           "line 2: something follows",
		head + `{"hash":"1"}` + "\n":    "want 16 hex digits",
		head + `{"outcome":"x"}` + "\n": `outcome "x"; want answered`,
		head + `{"outcome":"answered","as_of":3}` + "\n":  "another request has event",
		head + `{"query":"2","outcome":"unknown"}` + "\n": "odd length",
		head + `{"outcome":"unknown","event":3}` + "\n":   "belong to a request that was answered",
		head + `{"request":3}` + "\n":                     "a request without an outcome",
		head + `{"frames":["0000000000000001"]}` + "\n":   "frames without a connection",
	} {
		_, lines, err := history.Read(strings.NewReader(text))
		if err == nil {
			for _, err = range lines {
			}
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, _, err := history.Read(iotestErr{}); err == nil {
		t.Error("an error of the file was ignored")
	}
}

type iotestErr struct{}

func (iotestErr) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
