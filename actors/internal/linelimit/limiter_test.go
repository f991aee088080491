package linelimit

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// output is a log that tests can read.
type output struct {
	mu   sync.Mutex
	text strings.Builder // guarded by mu
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Lines that are left out are counted in the next line, or after a second without one, or at the
// end of the node.
func TestLinesLeftOutAreCounted(t *testing.T) {
	const alone = "msg=\"log lines left out\" like=\"client is slow\" left_out=5"
	for _, tt := range []struct {
		name  string
		after time.Duration
		then  func(l *Limiter, to *slog.Logger)
		want  string
	}{
		{"in the next line", 950 * time.Millisecond, func(l *Limiter, to *slog.Logger) {
			l.Log(to, slog.LevelWarn, "client is slow")
		}, "msg=\"client is slow\" left_out=5"},
		{"by themselves", 1100 * time.Millisecond, func(*Limiter, *slog.Logger) {}, alone},
		{"at the end", 0, func(l *Limiter, to *slog.Logger) { l.Flush(to) }, alone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				out := &output{}
				to := slog.New(slog.NewTextHandler(out, nil))
				l := new(Limiter)
				time.Sleep(50 * time.Millisecond) // not at the start of a second
				for range PerSecond + 5 {
					l.Log(to, slog.LevelWarn, "client is slow")
				}
				if n := strings.Count(out.String(), "\n"); n != PerSecond {
					t.Errorf("%d lines in a second, want %d", n, PerSecond)
				}
				time.Sleep(tt.after)
				tt.then(l, to)
				time.Sleep(5 * time.Second)
				synctest.Wait()
				if n := strings.Count(out.String(), "left_out"); n != 1 {
					t.Errorf("left-out lines were counted %d times, want once:\n%s", n, out)
				}
				if !strings.Contains(out.String(), tt.want) {
					t.Errorf("want %q in:\n%s", tt.want, out)
				}
			})
		})
	}
}
