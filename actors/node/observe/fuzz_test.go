package observe

import (
	"context"
	"encoding/json"
	"testing"
)

// Any command is answered once, and one that fails changes nothing.
func FuzzCommand(f *testing.F) {
	for _, seed := range []string{
		swapCommand, `{"method":"GET","path":"/connections?top=3&by=lag"}`,
		`{"method":"POST","path":"/kick","body":{"connection":"1"}}`,
		`{"method":"POST","path":"/drain","body":{"deadline":"1s"}}`,
		`{"method":"POST","path":"/policy","body":{"policy":"replicated","force":true}}`,
		`{"method":"GET","path":"//policy"}`, `{"method":"GET","path":"http://x/"}`, `{`,
		`{"method":"GET","path":"/","path":"/stats"}`, `{"body":[]}`,
		`{"method":"POST","path":"/policy","body":null}`, `{"method":"GET","path":"*"}`,
		`{"method":"GET","path":"/%00"}`, "\xff",
	} {
		f.Add([]byte(seed))
	}
	r := newRig(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		before := policyOf(r)
		answer, then := r.admin.command(context.Background(), "fuzz", body)
		var a answerFrame
		if err := json.Unmarshal(answer, &a); err != nil {
			t.Fatalf("%q: the answer %q: %v", body, answer, err)
		}
		if (a.Error == "") == (a.Answer == nil) || a.Status < 200 {
			t.Errorf("%q: the answer %q", body, answer)
		}
		if a.Status >= 300 && (then != nil || policyOf(r) != before) {
			t.Errorf("%q: %q, and yet something changed", body, answer)
		}
		if _, err := r.operators()["unix socket"].Swap(soon(t), "local", false); err != nil {
			t.Fatal(err)
		}
	})
}
