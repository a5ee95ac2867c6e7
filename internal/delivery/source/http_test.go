package source_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/source"
	"umbel.dev/umbel/internal/delivery/source/sourcetest"
)

// TestLedToPlainHTTP: a server that leads its clients to itself without encryption gets no credentials there, and is followed by
// who has none.
func TestLedToPlainHTTP(t *testing.T) {
	var heard []string
	plain := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		heard = append(heard, r.Header.Get("Authorization"))
	}))
	defer plain.Close()
	encrypted := httptest.NewTLSServer(http.RedirectHandler("http://example.com/index.yaml", http.StatusFound))
	defer encrypted.Close()
	speaking, err := source.NewTransport(source.Ref{URL: "https://example.com", Secret: "team/charts"}, source.Credentials{CA: sourcetest.CA(encrypted)}, source.NewAllowance(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer speaking.CloseIdleConnections()
	speaking.Proxy = nil
	speaking.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		to := encrypted
		if strings.HasSuffix(address, ":80") {
			to = plain
		}
		return new(net.Dialer).DialContext(ctx, network, to.Listener.Addr().String())
	}
	for _, password := range []string{"", sourcetest.Canary} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://example.com/index.yaml", nil)
		if err != nil {
			t.Fatal(err)
		}
		if password != "" {
			request.SetBasicAuth("ada", password)
		}
		answer, err := (&http.Client{Transport: speaking}).Do(request)
		if err == nil {
			answer.Body.Close()
		}
		if password == "" {
			if err != nil || len(heard) != 1 {
				t.Errorf("without credentials: got %v", err)
			}
			continue
		}
		if known, ok := errors.AsType[*source.Error](err); !ok || known.Reason != v1alpha1.ReasonSecretInvalid || !strings.Contains(known.Error(), "where the server leads: http://example.com") {
			t.Errorf("got %v, want SecretInvalid", err)
		}
	}
	if got := strings.Join(heard, ""); got != "" {
		t.Errorf("a line that others read carried %q", got)
	}

	// A registry on a plain line that wants a token gives one to everybody.
	anonymous, err := source.NewTransport(source.Ref{URL: "oci+http://example.com/app"}, source.Credentials{}, source.NewAllowance(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer anonymous.CloseIdleConnections()
	anonymous.Proxy, anonymous.DialContext = nil, speaking.DialContext
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://example.com/v2/", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer everybodys")
	answer, err := (&http.Client{Transport: anonymous}).Do(request)
	if err != nil {
		t.Fatalf("a token of nobody's secret: %v", err)
	}
	answer.Body.Close()
	if got := heard[len(heard)-1]; got != "Bearer everybodys" {
		t.Errorf("the registry heard %q", got)
	}
}
