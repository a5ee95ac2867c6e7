package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/internal/audit"
)

const (
	// peerAudit is where a replica of the hub serves its audit log to the others.
	peerAudit = "/replica/audit"
	// peerTimeout is how long another replica may take to begin its answer.
	peerTimeout = 10 * time.Second
)

// auditLog is what is asked who did what: this replica's log, with those of the others that are alive, and with that of the
// hub's own API.
func (g *Gateway) auditLog() audit.Source {
	all := audit.Together{}
	if g.APIAudit != nil {
		all["the hub's API"] = g.APIAudit
	}
	for name, address := range g.Replicas.Others() {
		all["replica "+name] = peerLog{g.peers, address}
	}
	if len(all) == 0 {
		return g.Audit
	}
	own := "the gateway"
	if g.Replicas != nil {
		own = "replica " + g.Replicas.Self()
	}
	all[own] = g.Audit
	return all
}

// peerLog is the audit log of another replica of the hub.
type peerLog struct {
	peers   *peers
	address string
}

// Read implements audit.Source.
func (p peerLog) Read(ctx context.Context, query audit.Query, yield func(line []byte) error) (audit.Report, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+p.address+peerAudit+"?"+query.Values().Encode(), nil)
	if err != nil {
		return audit.Report{}, err
	}
	late := time.AfterFunc(peerTimeout, func() { cancel(errors.New("it does not answer")) })
	answer, err := p.peers.transport.RoundTrip(ask)
	if !late.Stop() || err != nil {
		return audit.Report{}, errors.Join(err, context.Cause(ctx))
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return audit.Report{}, fmt.Errorf("it answers %s", answer.Status)
	}
	lines := bufio.NewReader(answer.Body)
	for {
		text, err := lines.ReadBytes('\n')
		if err != nil && query.Follow && ctx.Err() != nil {
			return audit.Report{}, nil
		}
		if err != nil {
			return audit.Report{}, fmt.Errorf("its answer breaks off: %w", err)
		}
		if end, found := endOf(text); found {
			if end.Status.Status != metav1.StatusSuccess {
				return end.Report, errors.New(end.Message)
			}
			return end.Report, nil
		}
		if err := yield(text); err != nil {
			return audit.Report{}, err
		}
	}
}

// endOf returns the last line of an answer, when text is it.
func endOf(text []byte) (end audit.End, found bool) {
	var kind metav1.TypeMeta
	if err := json.Unmarshal(text, &kind); err != nil || kind.Kind != "Status" {
		return end, false
	}
	return end, json.Unmarshal(text, &end) == nil
}

// servePeerAudit serves this replica's log to another one, which has decided that who asks may read it.
func (g *Gateway) servePeerAudit(w http.ResponseWriter, r *http.Request) {
	query, err := audit.ParseQuery(r.URL.Query())
	if err != nil || g.Audit == nil {
		http.Error(w, "there is no such log", http.StatusNotFound)
		return
	}
	audit.Endpoint(w, r, g.Audit, query)
}
