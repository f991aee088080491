// Package browser looks at the live page in a real browser. It holds no code of its own, only
// tests: they start the program, trade with it, and check in Chromium what a reader of the page
// would see.
//
//	clients that trade ──► sluice serve ──► live page ──► Chromium ──► text, contrast, sizes, console
//	                                 ▲
//	           policy, admin socket ─┘     pages with made-up figures come through a proxy that answers /live.json
//
// Tests skip where there is no Chromium; .ci/chromium installs Debian's.
//
// Start reading at stand_test.go (the server), then browser_test.go.
package browser
