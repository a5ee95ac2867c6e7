package controlplane

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"sync"

	"umbel.dev/umbel/internal/identity"
)

// probe returns a readiness probe: GET url answers 200 to the client certificate, and is signed by ca.
func (c *ControlPlane) probe(url, ca, client string) func(context.Context) error {
	transport := sync.OnceValues(func() (*http.Transport, error) { // the files are there once Prepare has run
		anchor, err := os.ReadFile(c.pki(ca + ".crt"))
		if err != nil {
			return nil, err
		}
		pair, err := identity.LoadKeyPair(c.pki(client+".crt"), c.pki(client+".key"))
		if err != nil {
			return nil, err
		}
		cert, err := pair.TLS()
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(anchor)
		return &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{cert}},
			DisableKeepAlives: true,
		}, nil
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
