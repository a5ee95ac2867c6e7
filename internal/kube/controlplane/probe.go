package controlplane

import (
	"context"
	"fmt"
	"net/http"
	"sync"
)

// probe returns a readiness probe: GET url answers 200 to the client certificate, and is signed by ca.
func (c *ControlPlane) probe(url, ca, client string) func(context.Context) error {
	transport := sync.OnceValues(func() (*http.Transport, error) { // the files are there once Prepare has run
		config, err := c.clientTLS(ca, client)
		if err != nil {
			return nil, err
		}
		return &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}, nil
	})
	return func(ctx context.Context) error {
		transport, err := transport()
		if err != nil {
			return err
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := (&http.Client{Transport: transport}).Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answered %s", url, response.Status)
		}
		return nil
	}
}
