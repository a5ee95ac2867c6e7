package clitest_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apiserver/pkg/authentication/user"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/audit"
	"umbel.dev/umbel/internal/cli/clitest"
	"umbel.dev/umbel/internal/tunnel/kubeproxy"
)

// diary is a hub's audit log, behind a door that lets everybody read it but what is about dev.
type diary struct {
	*audit.Log
	now atomic.Pointer[time.Time] // the log looks at the clock in the background too
}

func (f *fleet) keepsADiary(t *testing.T) *diary {
	t.Helper()
	d := &diary{}
	now := f.now
	d.now.Store(&now)
	var err error
	if d.Log, err = audit.Open(audit.LogConfig{Dir: t.TempDir(), Now: func() time.Time { return *d.now.Load() }, Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	door := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query, err := audit.ParseQuery(r.URL.Query())
		switch {
		case r.URL.Path != audit.Path || err != nil:
			kubeproxy.WriteError(w, http.StatusBadRequest, fmt.Sprint("a bad question: ", r.URL, err))
		case r.URL.Query().Get("user") == "cut":
			d.Read(r.Context(), audit.Query{}, func(line []byte) error {
				w.Write(line)
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			})
		case r.URL.Query().Get("cluster") == "dev":
			kubeproxy.WriteError(w, http.StatusForbidden, `user "ada" may not see the audit log of cluster "dev"`)
		default:
			audit.Endpoint(w, r, d, query)
		}
	}))
	t.Cleanup(door.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: door.Certificate().Raw})
	f.openDoor(t, strings.TrimPrefix(door.URL, "https://"), string(ca))
	return d
}

// request is one of a person to a cluster.
func (d *diary) request(ago time.Duration, who, cluster, method, path string, code int) {
	now := d.now.Load()
	defer d.now.Store(now)
	then := now.Add(-ago)
	d.now.Store(&then)
	r := httptest.NewRequest(method, path, nil)
	d.Serve(httptest.NewRecorder(), r, audit.Target{Cluster: v1alpha1.ClusterName(cluster), Path: r.URL.EscapedPath()}, func(w http.ResponseWriter, r *http.Request) {
		trail := audit.From(r.Context())
		if who != "" {
			trail.Known(&user.DefaultInfo{Name: who, Groups: []string{"dev"}})
		}
		if code == 401 || code == 403 {
			trail.Refused("it is not allowed")
		} else {
			trail.Allowed("")
		}
		w.WriteHeader(code)
	})
}

var auditIDs = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

func TestAudit(t *testing.T) {
	f := newFleet(t)
	f.now = clitest.Now
	d := f.keepsADiary(t)
	d.request(48*time.Hour, "ada", "prod-eu", "GET", "/version", 200)
	d.request(3*time.Hour, "ada", "prod-eu", "DELETE", "/api/v1/namespaces/shop/pods/web", 200)
	d.request(2*time.Hour, "system:serviceaccount:ci:bot", "prod-us", "GET", "/apis/apps/v1/deployments?limit=500", 403)
	d.request(time.Hour, "ada", "prod-eu", "POST", "/api/v1/namespaces/shop/pods/web/exec?command=ls", 101)
	d.request(30*time.Minute, "", "prod-eu", "GET", "/api/v1/pods", 401)
	d.request(20*time.Minute, "\x1b[2Jeve", "prod-eu", "GET", "/api/v1/pods", 200)
	d.Did(audit.Deed{Verb: "issue", Cluster: "prod-eu", Peer: "192.0.2.1:33", Details: map[string]string{"umbel.dev/not-after": "2026-11-23T12:00:00Z"}})
	for _, c := range []struct{ file, args string }{
		{"audit.txt", "audit"},
		{"audit-wide.txt", "audit --since 4h -o wide"},
		{"audit-filtered.txt", "audit --cluster prod-eu,prod-us --user ada --verb delete,get --since 3d"},
		{"audit-window.txt", "audit --since 2026-11-22T09:30:00Z --until 90m"},
		{"audit.json", "audit --user umbel:hub -o json"},
		{"audit.yaml", "audit --user umbel:hub -o yaml"},
	} {
		got := f.run(t.Context(), strings.Fields(c.args)...)
		if got.Err != "" || got.Code != 0 {
			t.Errorf("umbel %s: %+v", c.args, got)
		}
		clitest.Golden(t, c.file, auditIDs.ReplaceAllString(got.Out, "00000000-0000-0000-0000-000000000000"))
	}
	for _, c := range []struct {
		reason, args, err string
		code              int
	}{
		{"nothing", "audit --user nobody --since 1h", "Nothing: no such events since 1h; --since looks further back\n", 0},
		{"who may not", "audit --cluster dev", `error: user "ada" may not see the audit log of cluster "dev": ask an administrator of the hub for a Role that allows it` + "\n", 1},
		{"an answer that broke off", "audit --user cut", "what is shown is not all: unexpected EOF", 1},
		{"a time that is none", "audit --since yesterday", `--since: "yesterday" is neither a duration such as 1h30m or 7d nor a time such as 2026-11-22T12:00:00Z`, 2},
		{"backwards", "audit --since 1h --until 2h", "--until 2h is before --since 1h", 2},
		{"an end of what goes on", "audit -f --until 1h", "give --follow or --until, not both", 2},
		{"a verb that there is not", "audit --verb get,foo", `--verb "foo" is in no event: the verbs are get, list, watch, create`, 2},
		{"a cluster that there is not", "audit --cluster nosuch", "no cluster \"nosuch\" is in the fleet now: `umbel get clusters` lists those that are\nNothing: no such events since 24h; --since looks further back\n", 0},
		{"days", "audit --user nobody --since 7d", "Nothing: no such events since 7d; --since looks further back\n", 0},
		{"no cluster's name", "audit --cluster A_B", `--cluster "A_B" is no name of a cluster`, 2},
	} {
		got := f.run(t.Context(), strings.Fields(c.args)...)
		if got.Code != c.code || !strings.Contains(got.Err, c.err) {
			t.Errorf("%s: got %d and %q, want %d and %q", c.reason, got.Code, got.Err, c.code, c.err)
		}
	}
}

// TestAuditFollows: what happens is shown as it does, until somebody has seen enough.
func TestAuditFollows(t *testing.T) {
	f := newFleet(t)
	f.now = clitest.Now
	d := f.keepsADiary(t)
	d.request(time.Minute, "ada", "prod-eu", "GET", "/api/v1/pods", 200)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	lines, done := f.follow(ctx, "audit", "--follow")
	for _, want := range []string{"TIME ", "list   pods", "delete   pods shop/web"} {
		line := <-lines
		if !strings.Contains(line, want) {
			t.Errorf("got %q, want one with %q", line, want)
		}
		if want == "list   pods" {
			d.request(0, "ada", "prod-eu", "DELETE", "/api/v1/namespaces/shop/pods/web", 200)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("it ended with %v", err)
	}
}
