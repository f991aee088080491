package browser

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser is a running Chromium with the page.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	problems []string // messages on the console, guarded by mu
	asked    []string // requested addresses, guarded by mu
}

// openBrowser starts a browser, or skips the test if there is none.
func openBrowser(t *testing.T) *browser {
	t.Helper()
	program := os.Getenv("SLUICE_CHROMIUM")
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil && program == "" {
			program = path
		}
	}
	if program == "" {
		t.Skip("there is no Chromium: .ci/chromium installs Debian's, or SLUICE_CHROMIUM names one")
	}
	b := &browser{t: t}
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(program), chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1280, 800), chromedp.WSURLReadTimeout(patience),
	}
	for _, flag := range strings.Fields("headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update " +
		"disable-sync disable-default-apps no-default-browser-check hide-scrollbars") {
		options = append(options, chromedp.Flag(flag, true))
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	b.ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	run(b, chromedp.EmulateViewport(1280, 800))
	if err := chromedp.Listen(b.ctx, b.record); err != nil {
		t.Fatal(err)
	}
	call(b, network.Enable, network.EnableParams{})
	call(b, log.Enable, cdp.Empty{})
	call(b, runtime.Enable, cdp.Empty{})
	return b
}

// record records problems and requests.
func (b *browser) record(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		b.problems = append(b.problems, fmt.Sprintf("exception: %+v", e.ExceptionDetails))
	case *runtime.EventConsoleAPICalled:
		b.problems = append(b.problems, fmt.Sprintf("console: %s", e.Args[0].Value))
	case *log.EventEntryAdded:
		b.problems = append(b.problems, fmt.Sprintf("%s: %s %s", e.Entry.Level, e.Entry.Text, e.Entry.URL))
	case *network.EventRequestWillBeSent:
		b.asked = append(b.asked, e.Request.URL)
	}
}

// run runs an action.
func run[T any](b *browser, a chromedp.Action[T]) T {
	b.t.Helper()
	value, err := chromedp.Run(b.ctx, a)
	if err != nil {
		b.t.Fatal(err)
	}
	return value
}

// call sends a command of the protocol.
func call[P, R any](b *browser, c cdp.Command[P, R], params P) {
	b.t.Helper()
	run(b, func(ctx context.Context, t *chromedp.Target) (R, error) { return cdp.Call(ctx, t, c, params) })
}

// eval evaluates a JavaScript expression.
func eval[T any](b *browser, expression string) T {
	b.t.Helper()
	return run(b, chromedp.Evaluate[T](expression))
}

// text returns the text of an element.
func (b *browser) text(selector string) string {
	b.t.Helper()
	return eval[string](b, fmt.Sprintf("document.querySelector(%q).textContent", selector))
}

// until waits until an expression is true. what completes the sentence "waited for".
func (b *browser) until(what, expression string) {
	b.t.Helper()
	until(b.t, what, func() error {
		if !eval[bool](b, expression) {
			return errors.New(b.text("body"))
		}
		return nil
	})
}

// scheme sets the color scheme that the reader prefers, light or dark.
func (b *browser) scheme(name string) {
	b.t.Helper()
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}})
}

// keep writes a picture of the page into the directory SLUICE_PICTURES, if that is set.
func (b *browser) keep(name string) {
	b.t.Helper()
	dir := os.Getenv("SLUICE_PICTURES")
	if dir == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), run(b, chromedp.CaptureScreenshot()), 0o644); err != nil {
		b.t.Error(err)
	}
}

const number = `(s => Number(document.querySelector(s).textContent.replace(/[^0-9.]/g, "")))`

func TestPageShowsRunningServer(t *testing.T) {
	b := openBrowser(t)
	d := newStand(t, "--hard-limit", "32MiB", "--soft-limit", "16MiB", "--soft-for", "1h", "--no-progress", "1h")
	run(b, chromedp.Navigate(d.base+"/"))
	b.until("a page that says it is empty", `document.querySelector("#state").textContent === "ready" && document.querySelector("#latency").textContent.includes("No responses") && document.querySelector("#slow-empty").textContent === "No client is connected."`)
	b.keep("empty")

	d.trade(16, func(time.Duration) float64 { return 2000 })
	b.until("clients", number+`("#clients") === 16`)
	for range 3 {
		before := eval[float64](b, number+`("#event")`)
		b.until("the numbers to move", fmt.Sprintf(`%s("#event") > %f && %s("#n-egress b") > 0 && %s("#n-journal b") > 0`, number, before, number, number))
	}
	b.until("a line of the median", `document.querySelector("#latency path.p50").getAttribute("d").includes("L")`)
	b.until("all stages of an ordinary response", `["hand-off","gate","encode","queue","send","whole response"].every(name =>
		[...document.querySelectorAll("#stages tbody tr")].some(r => r.cells[0].textContent === name && /[0-9]/.test(r.cells[2].textContent)))`)
	if n := eval[int](b, `document.querySelectorAll("#shards tbody tr").length`); n != 4 {
		t.Errorf("%d rows of shards, want 4", n)
	}
	looks(t, b, "trading")

	d.operate("--force", "policy", "hybrid")
	b.until("a shut gate with its reason", `document.body.dataset.state === "wedged" && document.querySelector("#n-gate").dataset.is === "wedged" && document.querySelector("#word").textContent.includes("in view")`)
	b.keep("wedged")
	d.operate("policy", "local")
	b.until("the gate to open", `document.body.dataset.state === "ready" && document.querySelector("#n-gate").dataset.is === "open"`)
	c := d.hoard(1, 50<<10)
	b.until("the slow client by its address", fmt.Sprintf(`document.querySelector("#slow tbody").textContent.includes(%q)`, c.NetConn().LocalAddr()))

	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.problems {
		t.Errorf("the browser reports: %s", p)
	}
	for _, a := range b.asked {
		if !strings.HasPrefix(a, d.base+"/") {
			t.Errorf("the page requested %s", a)
		}
	}
}

// TestPictureForReadme takes docs/live.png after minutes of trading at a changing rate, with slow
// clients.
func TestPictureForReadme(t *testing.T) {
	if os.Getenv("SLUICE_PICTURES") == "" {
		t.Skip("SLUICE_PICTURES names no directory for pictures; `make picture` does, and takes 5 minutes")
	}
	b := openBrowser(t)
	d := newStand(t, "--hard-limit", "32MiB", "--soft-limit", "64KiB", "--soft-for", "1h", "--no-progress", "1h")
	for i := range 5 {
		d.dial(i).Close()
	}
	d.trade(64, func(since time.Duration) float64 {
		wave := 1 + .6*math.Sin(2*math.Pi*since.Seconds()/150) + .15*math.Sin(2*math.Pi*since.Seconds()/17)
		if s := int(since.Seconds()) % 97; s > 60 && s < 68 {
			wave += 1.5 // a burst
		}
		return 5000 * wave
	})
	run(b, chromedp.Navigate(d.base+"/"))
	for n := 10; n < kept-15; n += 10 { // patience bounds one of these waits
		b.until("more history", fmt.Sprintf("points.length >= %d", n))
	}
	d.hoard(1, 200<<10) // late, because a client that sends nothing for long is closed
	d.hoard(2, 20<<10)
	b.until("both slow clients", `document.querySelectorAll("#slow tbody tr").length >= 2`)
	b.until("the newest points", fmt.Sprintf("points.length >= %d", kept))
	for _, scheme := range []string{"dark", "light"} {
		b.scheme(scheme)
		b.keep("live-" + scheme)
	}
}
