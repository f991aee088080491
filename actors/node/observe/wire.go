package observe

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
)

// commandFrame is the body of an AdminCommand.
type commandFrame struct {
	Method string          `json:"method"`         // GET or POST
	Path   string          `json:"path"`           // with its query
	Body   json.RawMessage `json:"body,omitempty"` // of a POST
}

// answerFrame is the body of an AdminResponse.
type answerFrame struct {
	Status int             `json:"status"`           // as in HTTP
	Answer json.RawMessage `json:"answer,omitempty"` // of a page, including one with status 503
	Error  string          `json:"error,omitempty"`
}

// command carries out an AdminCommand. The node has checked that the connection belongs to an
// operator.
func (a *admin) command(ctx context.Context, from string, body []byte) (answer []byte, then func()) {
	var c commandFrame
	v := &requestInfo{from: "operator, " + from, operator: true}
	w := &memory{header: http.Header{}, code: http.StatusOK}
	err := decodeText(body, &c)
	if err == nil {
		var r *http.Request
		if r, err = c.request(context.WithValue(ctx, infoKey{}, v)); err == nil {
			a.api.ServeHTTP(w, r)
		}
	}
	f := answerFrame{Status: w.code}
	switch {
	case err != nil:
		f.Status, f.Error = http.StatusBadRequest, err.Error()
	case json.Valid(w.body.Bytes()):
		var e rejection
		if f.Answer = bytes.TrimSpace(w.body.Bytes()); json.Unmarshal(f.Answer, &e) == nil &&
			e.Error != "" {
			f.Answer, f.Error = nil, e.Error
		}
	default: // a redirect of the mux
		f.Error = fmt.Sprintf("%s %s: status %d", c.Method, c.Path, w.code)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(f); err != nil {
		return []byte(`{"status":500,"error":"the answer cannot be encoded"}`), v.then
	}
	return bytes.TrimSpace(b.Bytes()), v.then
}

// request makes the HTTP request that the command stands for.
func (c *commandFrame) request(ctx context.Context) (*http.Request, error) {
	if c.Method != http.MethodGet && c.Method != http.MethodPost {
		return nil, fmt.Errorf("method %q; use GET or POST", c.Method)
	}
	u, err := url.ParseRequestURI(c.Path)
	if err != nil || u.Host != "" || u.Scheme != "" {
		return nil, fmt.Errorf("path %q; write one that begins with /", c.Path)
	}
	r, err := http.NewRequestWithContext(ctx, c.Method, u.String(), bytes.NewReader(c.Body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/json")
	return r, nil
}

// memory keeps a page in memory.
type memory struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (p *memory) Header() http.Header { return p.header }

// WriteHeader implements http.ResponseWriter.
func (p *memory) WriteHeader(code int) { p.code = code }

// Write implements http.ResponseWriter.
func (p *memory) Write(b []byte) (int, error) { return p.body.Write(b) }
