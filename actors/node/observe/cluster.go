package observe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"sluice/actors/node"
	"sluice/actors/node/observe/status"
)

// Cluster is the page at /cluster.
type Cluster struct{ node.Cluster }

// Text implements page.
func (c *Cluster) Text(w io.Writer) error { return status.WriteCluster(w, &c.Cluster) }

// errSingle is the answer of a node that is no member.
var errSingle = errors.New("this server is no member of a cluster: sluice serve --cluster runs one")

func (a *admin) cluster(context.Context, url.Values) (page, int, error) {
	m, ok := a.node.(node.Clustered)
	if !ok {
		return nil, http.StatusNotFound, errSingle
	}
	return &Cluster{m.Cluster()}, http.StatusOK, nil
}

// Changed is the page of a change of the membership.
type Changed struct{ node.MemberChanged }

// Text implements page.
func (c *Changed) Text(w io.Writer) error {
	_, err := fmt.Fprintln(w, c.Done)
	return err
}

// outcome is what the log says of it.
func (c *Changed) outcome() string { return c.Done }

func (a *admin) members(ctx context.Context, _ *requestInfo, decode func(any) error) (page, int, error) {
	var c node.MemberChange
	if err := decode(&c); err != nil {
		return nil, http.StatusBadRequest, err
	}
	m, ok := a.node.(node.Clustered)
	if !ok {
		return nil, http.StatusNotFound, errSingle
	}
	ctx, cancel := context.WithTimeout(ctx, swapTimeout)
	defer cancel()
	done, err := m.Change(ctx, c)
	if err != nil {
		return nil, http.StatusConflict, err
	}
	return &Changed{done}, http.StatusOK, nil
}

// transferBody is the body of POST /transfer.
type transferBody struct {
	Node int `json:"node,omitempty"` // 0 for the fittest
}

func (a *admin) transfer(_ context.Context, _ *requestInfo, decode func(any) error) (page, int, error) {
	var o transferBody
	if err := decode(&o); err != nil {
		return nil, http.StatusBadRequest, err
	}
	m, ok := a.node.(node.Clustered)
	switch {
	case !ok:
		return nil, http.StatusNotFound, errSingle
	case o.Node != int(uint8(o.Node)):
		return nil, http.StatusBadRequest, fmt.Errorf("node %d; write the number of a member", o.Node)
	}
	if err := m.Transfer(uint8(o.Node)); err != nil {
		return nil, http.StatusConflict, err
	}
	to := "the fittest node"
	if o.Node != 0 {
		to = fmt.Sprintf("node %d", o.Node)
	}
	return &Done{"handing the leadership to " + to +
		"; sluice cluster status shows which node leads"}, http.StatusAccepted, nil
}
