package browser

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"

	"sluice/cmd/lab/program"
)

// newChat starts the example that serves WebSocket clients, and returns its page and what ends it.
func newChat(t *testing.T) (page string, end func()) {
	t.Helper()
	path, err := program.Command(t.TempDir(), "websocket")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "127.0.0.1:0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	ended := false
	t.Cleanup(func() {
		if !ended {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the program ended before it was ready: %v", err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return strings.TrimSpace(strings.TrimPrefix(line, "open ")), func() {
		t.Helper()
		ended = true
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("the program ended with %v", err)
		}
	}
}

// A browser speaks WebSocket to a pipeline with raw framing.
func TestBrowserSpeaksWebSocket(t *testing.T) {
	b := openBrowser(t)
	page, end := newChat(t)
	run(b, chromedp.Navigate(page))
	b.until("its own arrival", `document.querySelector("#lines").textContent === "client 1 joined"`)

	// A second client, in the same page.
	eval[bool](b, `window.heard = [], window.other = new WebSocket(location.href.replace("http", "ws") + "chat"),
		other.onmessage = e => heard.push(e.data), other.onclose = e => heard.push("closed " + e.code), true`)
	b.until("the other client", `document.querySelector("#lines li").textContent === "client 2 joined"`)
	say := func(text string) {
		eval[bool](b, fmt.Sprintf(`document.querySelector("#say").value = %q,
			document.querySelector("#say").dispatchEvent(new KeyboardEvent("keydown", {key: "Enter"}))`, text))
	}
	say("hello, grüße")
	b.until("the message", `document.querySelector("#lines li").textContent === "client 1: hello, grüße"`)
	b.until("the message at the other client", `heard.at(-1) === "client 1: hello, grüße"`)
	eval[bool](b, `other.send("ä".repeat(256)), true`) // a frame with a longer header, both ways
	b.until("a long message", `document.querySelector("#lines li").textContent === "client 2: " + "ä".repeat(256)`)
	eval[bool](b, `Array.from({length: 500}, (_, i) => other.send("line " + i)), true`)
	b.until("many messages", `document.querySelectorAll("#lines li").length === 504`)
	if got := eval[bool](b, `[...document.querySelectorAll("#lines li")].slice(0, 500).reverse().every((l, i) => l.textContent === "client 2: line " + i)`); !got {
		t.Error("the messages are not in order")
	}
	eval[bool](b, `other.close(1000), true`)
	b.until("the end of the other client", `document.querySelector("#lines li").textContent === "client 2 left" && heard.at(-1) === "closed 1000"`)
	if state := b.text("#state"); state != "connected" {
		t.Errorf("the page says %q", state)
	}
	b.keep("chat")

	end()
	b.until("the reason of the end", `document.querySelector("#state").textContent === "closed: 1001"`)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.problems {
		t.Errorf("the browser reports: %s", p)
	}
}
