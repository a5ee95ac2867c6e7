package controlplane

import (
	"context"
	"fmt"
	"net/http"
)

// probe returns a readiness probe: GET url answers 200 to the client certificate, and is signed by ca.
func (c *ControlPlane) probe(url, ca, client string) func(context.Context) error {
	return func(ctx context.Context) error {
		config, err := c.clientTLS(ca, client) // each time: the certificate may have been renewed since
		if err != nil {
			return err
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}).Do(request)
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
