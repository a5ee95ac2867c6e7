package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"

	"umbel.dev/umbel/test/report"
	"umbel.dev/umbel/test/rig"
)

// maxList is how long a list may take on the server, in milliseconds: 95 of 100.
const maxList = 200

// ask sends a request to the console, and returns what it answers with 200.
type ask func(method, path, body string) ([]byte, error)

// signIn returns how the console is asked as somebody who signed in with the bench's token.
func (b *bench) signIn(ctx context.Context) (ask, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	browser := &http.Client{Jar: jar, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	send := func(method, path, body string) ([]byte, error) {
		r, err := http.NewRequestWithContext(ctx, method, "https://"+b.address+path, strings.NewReader(body))
		if err != nil {
			return nil, err
		}
		r.Header.Set("X-Umbel-Console", "1")
		answer, err := browser.Do(r)
		if err != nil {
			return nil, err
		}
		defer answer.Body.Close()
		raw, err := io.ReadAll(answer.Body)
		if err == nil && answer.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %s: %s", path, answer.Status, raw)
		}
		return raw, err
	}
	token, err := json.Marshal(map[string]string{"token": b.token})
	if err != nil {
		return nil, err
	}
	_, err = send(http.MethodPost, "/console/api/signin", string(token))
	return send, err
}

// lists asks for lists as pages do, and reports how long that takes.
func (b *bench) lists(ctx context.Context, r *report.Report) error {
	ask, err := b.signIn(ctx)
	if err != nil {
		return err
	}
	const workloads = "/console/k8s/apis/apps/v1/deployments?limit=100"
	first, err := ask(http.MethodGet, workloads, "")
	if err != nil {
		return err
	}
	var page struct{ Metadata struct{ Continue string } }
	if err := json.Unmarshal(first, &page); err != nil {
		return err
	}
	if err := fires(ctx, ask); err != nil {
		return err
	}
	began := time.Now()
	if _, err := ask(http.MethodGet, "/console/api/capacity?limit=8", ""); err != nil {
		return err
	}
	r.Lower("capacity, asked for first (and then kept for half a minute)", float64(time.Since(began).Milliseconds()), "ms", 0)
	for _, c := range []struct{ what, path string }{
		{"the first page of clusters", "/console/api/clusters?limit=100"},
		{"filtered by a label and words", "/console/api/clusters?limit=100&f.label:env=prod&q=region-07"},
		{"the last page, by version", fmt.Sprintf("/console/api/clusters?limit=100&sort=-kubernetes&from=%d", b.clusters-100)},
		{"the fleet by region", "/console/api/fleet?group=region"},
		{"a search", "/console/api/search?q=cluster-04"},
		{"packages", "/console/api/packages?limit=50"},
		{"a package, on all clusters", "/console/api/packages/default/package-01?limit=50"},
		{"what drifted of one", "/console/api/packages/default/package-00/drift?limit=50"},
		{"alerts, of all clusters", "/console/api/alerts?limit=50"},
		{"alerts, of one cluster", "/console/api/alerts?limit=4&f.cluster=cluster-00007"},
		{"a page of Deployments", workloads},
		{"the next page of Deployments", workloads + "&continue=" + url.QueryEscape(page.Metadata.Continue)},
	} {
		var times []time.Duration
		size := 0 // unpacked
		for range 100 {
			began := time.Now()
			raw, err := ask(http.MethodGet, c.path, "")
			if err != nil {
				return err
			}
			size = len(raw)
			times = append(times, time.Since(began))
		}
		r.Lower(c.what+", p50", report.Percentile(times, 0.5), "ms", 0)
		r.Lower(c.what+", p95", report.Percentile(times, 0.95), "ms", maxList)
		r.Lower(c.what+", max", report.Percentile(times, 1), "ms", 0)
		r.Lower(c.what+", size", float64(size)/1000, "kB", 0)
	}
	return nil
}

// fires returns when there are alerts to be listed.
func fires(ctx context.Context, of ask) error {
	return rig.Eventually(ctx, time.Minute, func(context.Context) error {
		raw, err := of(http.MethodGet, "/console/api/alerts?limit=1", "")
		if err != nil {
			return err
		}
		var alerts struct{ Firing int }
		if err := json.Unmarshal(raw, &alerts); err != nil {
			return err
		}
		if alerts.Firing == 0 {
			return errors.New("no alert fires yet")
		}
		return nil
	})
}
