package observe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"sluice/actors/node"
	"sluice/actors/node/observe/status"
	"sluice/durability"
)

// commandFunc carries out a POST. It calls decode on the body before it changes anything.
type commandFunc func(ctx context.Context, v *requestInfo, decode func(any) error) (page, int, error)

// change adds a command.
func (a *admin) change(path string, f commandFunc) {
	a.api.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		v := infoOf(r)
		if !v.operator {
			a.refused.Log(a.log, slog.LevelWarn, "command rejected; the endpoint is read-only",
				"command", path, "from", v.from)
			reject(w, r, http.StatusForbidden, "POST %s is a command, and this endpoint is read-only: "+
				"use the admin socket (sluice admin --admin-socket), the token (--admin-tls, --token-file), "+
				"or an operator key over the client port (sluice admin --address, --key)", path)
			a.deny(r, v.from, http.StatusForbidden)
			return
		}
		if r.URL.RawQuery != "" && r.URL.RawQuery != "format=json" && r.URL.RawQuery != "format=text" {
			a.refused.Log(a.log, slog.LevelWarn, "command rejected; it has a query",
				"command", path, "from", v.from)
			err := fmt.Errorf("the query is %q; parameters of a command belong in its body", r.URL.RawQuery)
			a.audit(path, v.from, "", nil, http.StatusBadRequest, err)
			reject(w, r, http.StatusBadRequest, "%v", err)
			return
		}
		request := ""
		p, code, err := f(r.Context(), v, func(into any) (err error) {
			request, err = decode(r.Body, into)
			return err
		})
		a.audit(path, v.from, request, p, code, err)
		if err != nil {
			text, what := "command failed", "error"
			if code == http.StatusUnprocessableEntity && path == "/reload" { // each part has its result
				text, what = "reload is not complete", "result"
			}
			a.refused.Log(a.log, slog.LevelWarn, text, "command", path, "from", v.from, what, err)
			reject(w, r, code, "%v", err)
			return
		}
		a.log.Info("command carried out", "command", path, "from", v.from, "done", p.(outcome).outcome())
		answer(w, r, code, p)
	})
}

// audit reports a command and its result.
func (a *admin) audit(path, from, request string, p page, code int, err error) {
	if a.cfg.Audit == nil {
		return
	}
	var object any = request
	_ = json.Unmarshal([]byte(request), &object) // what is no JSON stays text
	about := []any{"command", path, "from", from, "request", object, "status", code}
	if err != nil {
		about = append(about, "error", err)
	} else {
		about = append(about, "done", p.(outcome).outcome())
	}
	a.cfg.Audit.Warn("command", about...)
}

// deny reports a request without the right to it, which any client that reaches the endpoint can send.
func (a *admin) deny(r *http.Request, from string, code int) {
	if a.cfg.Audit != nil {
		a.denied.Log(a.cfg.Audit, slog.LevelInfo, "command refused", "command", r.URL.Path,
			"method", r.Method, "from", from,
			"status", code)
	}
}

// outcome is the page of a command that was carried out.
type outcome interface{ outcome() string }

// decode reads exactly one JSON object with known names only, and returns its text.
func decode(body io.Reader, into any) (text string, err error) {
	b, err := io.ReadAll(io.LimitReader(body, bodyBytes+1))
	if err != nil {
		return "", fmt.Errorf("the body cannot be read: %w", err)
	}
	return string(b), decodeText(b, into)
}

func decodeText(text []byte, into any) error {
	if len(text) > bodyBytes {
		return fmt.Errorf("the body has more than %d bytes", bodyBytes)
	}
	if err := checkExact(text); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	var wrong *json.UnmarshalTypeError
	if want := map[string]string{
		"policy": `a string, such as "persisted>=1"`, "force": "true or false",
		"key": `a string, such as "desk4"`, "connection": `a string, such as "1099511627777"`,
		"responses": "a number, such as 100",
		"deadline":  `a string, such as "10s"`, "node": "a number, such as 2",
	}; errors.As(err, &wrong) && want[wrong.Field] != "" {
		return fmt.Errorf("%s must be %s", wrong.Field, want[wrong.Field])
	}
	return err
}

// swapBody is the body of POST /policy.
type swapBody struct {
	Policy string `json:"policy"`
	Force  bool   `json:"force"`
}

func (a *admin) swap(ctx context.Context, _ *requestInfo, decode func(any) error) (page, int, error) {
	var o swapBody
	if err := decode(&o); err != nil {
		return nil, http.StatusBadRequest, err
	}
	if o.Policy == "" {
		return nil, http.StatusBadRequest, errors.New(
			`policy is empty; write {"policy": "persisted>=1"} or a name such as local`)
	}
	ctx, cancel := context.WithTimeout(ctx, swapTimeout)
	defer cancel()
	old, now, err := a.node.SwapPolicy(ctx, o.Policy, o.Force)
	done := fmt.Sprintf("policy %s is in force; it was %s", now, old)
	switch {
	case errors.Is(err, node.ErrNotKept):
		return &Done{fmt.Sprintf("%s; %v", done, err)}, http.StatusOK, nil
	case errors.Is(err, node.ErrRefused):
		return nil, http.StatusUnprocessableEntity, err
	case errors.Is(err, durability.ErrSwitchClosed):
		return nil, http.StatusConflict, err
	case err != nil:
		return nil, http.StatusGatewayTimeout, err
	}
	return &Done{done}, http.StatusOK, nil
}

// kickBody is the body of POST /kick. The number is a string, because many programs round large
// numbers.
type kickBody struct {
	Connection string `json:"connection,omitempty"`
	Key        string `json:"key,omitempty"` // name or fingerprint, in place of a connection
}

func (a *admin) kick(_ context.Context, _ *requestInfo, decode func(any) error) (page, int, error) {
	var o kickBody
	if err := decode(&o); err != nil {
		return nil, http.StatusBadRequest, err
	}
	id, err := strconv.ParseUint(o.Connection, 10, 64)
	done := ""
	switch {
	case o.Key != "" && o.Connection != "":
		return nil, http.StatusBadRequest, errors.New("both connection and key; write one of them")
	case o.Key != "":
		var closed int
		closed, err = a.node.KickKey(o.Key)
		done = fmt.Sprintf("connections of key %s that are being closed: %d", o.Key, closed)
	case err != nil || id == 0:
		return nil, http.StatusBadRequest, fmt.Errorf("connection %q; write its number as "+
			"/connections shows it, in quotes", o.Connection)
	default:
		err = a.node.Kick(id)
		done = fmt.Sprintf("connection %d is being closed", id)
	}
	switch {
	case errors.Is(err, node.ErrNoConnection):
		return nil, http.StatusNotFound, err
	case err != nil:
		return nil, http.StatusConflict, err
	}
	return &Done{done}, http.StatusOK, nil
}

// traceBody is the body of POST /trace.
type traceBody struct {
	Connection string `json:"connection"`
	Responses  *int   `json:"responses"`
}

// maxTraced is the largest number of responses of a connection that one command traces.
const maxTraced = 10000

func (a *admin) trace(_ context.Context, _ *requestInfo, decode func(any) error) (page, int, error) {
	var o traceBody
	if err := decode(&o); err != nil {
		return nil, http.StatusBadRequest, err
	}
	id, err := strconv.ParseUint(o.Connection, 10, 64)
	if err != nil || id == 0 {
		return nil, http.StatusBadRequest, fmt.Errorf("connection %q; write its number as "+
			"/connections shows it, in quotes", o.Connection)
	}
	if o.Responses == nil || *o.Responses < 0 || *o.Responses > maxTraced {
		return nil, http.StatusBadRequest, fmt.Errorf("responses: write a number of responses "+
			"from 1 to %d, or 0 to end the tracing", maxTraced)
	}
	switch err := a.node.Trace(id, *o.Responses); {
	case errors.Is(err, node.ErrNoConnection):
		return nil, http.StatusNotFound, err
	case err != nil:
		return nil, http.StatusConflict, err
	}
	if *o.Responses == 0 {
		return &Done{fmt.Sprintf("the tracing of connection %d has ended", id)}, http.StatusOK, nil
	}
	done := fmt.Sprintf("the next %d responses to connection %d are traced", *o.Responses, id)
	return &Done{done}, http.StatusOK, nil
}

// drainBody is the body of POST /drain.
type drainBody struct {
	Deadline *string `json:"deadline,omitempty"`
}

// maxDeadline is the longest drain.
const maxDeadline = time.Hour

func (a *admin) drain(_ context.Context, v *requestInfo, decode func(any) error) (page, int, error) {
	var o drainBody
	if err := decode(&o); err != nil {
		return nil, http.StatusBadRequest, err
	}
	deadline := a.cfg.DrainTimeout
	if o.Deadline != nil {
		var err error
		if deadline, err = time.ParseDuration(*o.Deadline); err != nil ||
			deadline < time.Millisecond || deadline > maxDeadline {
			return nil, http.StatusBadRequest, fmt.Errorf("deadline %q; write a time from 1ms to "+
				"%v, such as 10s, or leave it out", *o.Deadline, maxDeadline)
		}
	}
	if now := a.now().State; now == status.StateEnding || now == status.StateEnded {
		return nil, http.StatusConflict, fmt.Errorf("the server is %s already", now)
	}
	v.then = func() {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		go func() {
			defer cancel()
			_ = a.node.Drain(ctx) // the program that runs the node gets the error from Err
		}()
	}
	return &Done{fmt.Sprintf("draining, for at most %v", deadline)}, http.StatusAccepted, nil
}

// reload carries out POST /reload, whose body is {}.
func (a *admin) reload(ctx context.Context, _ *requestInfo, decode func(any) error) (page, int, error) {
	if err := decode(new(struct{})); err != nil {
		return nil, http.StatusBadRequest, err
	}
	if a.cfg.Reload == nil {
		return nil, http.StatusNotFound, errors.New("this program reloads nothing")
	}
	done, err := a.cfg.Reload(ctx)
	if err != nil {
		return nil, http.StatusUnprocessableEntity, err
	}
	return &Done{done}, http.StatusOK, nil
}
