package manual

import (
	"slices"
	"strings"
	"testing"
)

const help = `usage: bakery admin [flags] COMMAND

  open       open the shop
  close NOW  close it; open again
             tomorrow
  open AT    open it later

It is a shop.
.not a request of roff

Flags
  --json                        print JSON [default off]
  --a-name-that-is-quite-long-indeed FILE
                                read this file [default none]
`

func TestHelpIsParsed(t *testing.T) {
	c := Command{Name: "admin", Help: help}
	c.Parse()
	if want := []word{{"open", "open the shop"}, {"close", "close it; open again"}}; !slices.Equal(c.words, want) {
		t.Errorf("words %q", c.words)
	}
	if len(c.flags) != 2 || c.flags[0].form != "" || !c.flags[1].file ||
		c.flags[1].help != "read this file [default none]" {
		t.Errorf("flags %+v", c.flags)
	}
	if !strings.HasPrefix(c.body, "  open ") || !strings.HasSuffix(c.body, "roff") ||
		c.usage != "bakery admin [flags] COMMAND" {
		t.Errorf("usage %q, body %q", c.usage, c.body)
	}
}

func TestPageEscapesRoff(t *testing.T) {
	c := Command{Name: "admin", About: "open -- or not", Help: help}
	c.Parse()
	page := Page("bakery", "bakery 1", c)
	for _, want := range []string{`bakery\-admin \- open \-\- or not`, "\n\\&.not a request", `\fB\-\-json\fR`,
		`.TH BAKERY\-ADMIN 1`} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in\n%s", want, page)
		}
	}
}
