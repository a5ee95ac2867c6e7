//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"k8s.io/client-go/rest"

	"umbel.dev/umbel/test/rig"
)

// isMeasured waits until each replica has what every member measured after a time, whichever of them that was sent to, and evaluates the rules.
func (s *replicated) isMeasured(since time.Time) {
	s.Helper()
	begun := time.Now()
	query := url.Values{"query": {fmt.Sprintf("max by (cluster) (timestamp(apiserver_request_total)) > %d", since.Unix())}}
	for i := range 3 {
		door := s.door(replicaName(i))
		client, err := rest.HTTPClientFor(door)
		if err != nil {
			s.Fatal(err)
		}
		err = rig.Eventually(s.ctx, patience, func(ctx context.Context) error {
			var series struct{ Result []any }
			var rules struct{ Groups []any }
			if err := asks(ctx, client, door.Host+"/api/v1/query?"+query.Encode(), &series); err != nil {
				return err
			}
			if err := asks(ctx, client, door.Host+"/api/v1/rules", &rules); err != nil {
				return err
			}
			if len(series.Result) != len(replicatedMembers) || len(rules.Groups) == 0 {
				return fmt.Errorf("it has %v, and %d groups", series.Result, len(rules.Groups))
			}
			return nil
		})
		if err != nil {
			s.Fatalf("%s has what each member measures, and rules: %v\n%s", replicaName(i), err, s.logs())
		}
	}
	s.Logf("each replica had all of it after %s", time.Since(begun).Round(time.Second))
}

// asks asks Prometheus' HTTP API.
func asks(ctx context.Context, client *http.Client, url string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, raw)
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, &struct{ Data any }{into})
}
