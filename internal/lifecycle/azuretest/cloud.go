// Package azuretest answers: what is Azure to tests? It is a stand-in that signs one application in, and answers what Cluster API's provider asks
// first: which machines the region offers. There is no simulator of Azure, so it makes nothing, and says of all else that it is not there.
//
// It is where Azure is for programs that are told so by their environment: a proxy, which answers for Azure's names with certificates of its own.
package azuretest

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"umbel.dev/umbel/internal/identity"
)

// What is known there, as examples/azure/class.yaml has it.
const (
	Tenant       = "11111111-1111-1111-1111-111111111111"
	Subscription = "22222222-2222-2222-2222-222222222222"
	Client       = "33333333-3333-3333-3333-333333333333"
	Secret       = "right"
	Location     = "westeurope"
	Size         = "Standard_D2s_v3"
)

const (
	signInHost = "login.microsoftonline.com"
	manageHost = "management.azure.com"
	// token is what whoever signs in as Client is given.
	token = "of-" + Client
)

// Cloud is the stand-in.
type Cloud struct {
	dir   string
	proxy string

	mu    sync.Mutex
	heard []string
}

// Start starts one, which ends with the test.
func Start(t testing.TB) *Cloud {
	t.Helper()
	c := &Cloud{dir: t.TempDir()}
	ca, err := identity.NewCA("azure of a test", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.IssueServer(identity.Request{CommonName: manageHost, Hosts: []string{signInHost, manageHost}, TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	cert, key := filepath.Join(c.dir, "tls.crt"), filepath.Join(c.dir, "tls.key")
	if err := pair.Write(cert, key); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.authority(), ca.CertPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	loaded, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc(signInHost+"/", c.signIn)
	mux.HandleFunc(manageHost+"/", c.manage)
	inside := c.serve(t, &http.Server{Handler: mux, TLSConfig: &tls.Config{Certificates: []tls.Certificate{loaded}}})
	c.proxy = "http://" + c.serve(t, &http.Server{Handler: lead(inside)})
	return c
}

// serve serves until the test ends, and returns where.
func (c *Cloud) serve(t testing.TB, server *http.Server) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server.ErrorLog = log.New(io.Discard, "", 0) // who goes away in the middle
	served := make(chan struct{})
	go func() {
		defer close(served)
		if server.TLSConfig != nil {
			_ = server.ServeTLS(listener, "", "")
			return
		}
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-served
	})
	return listener.Addr().String()
}

// lead leads whoever wants to go to Azure to an address.
func lead(inside string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.Host)
		if r.Method != http.MethodConnect || host != signInHost && host != manageHost {
			http.Error(w, r.Host+" is not Azure", http.StatusForbidden)
			return
		}
		there, err := net.Dial("tcp", inside)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer there.Close() //nolint:errcheck // what is between is over
		here, sent, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer here.Close() //nolint:errcheck // likewise
		if _, err := io.WriteString(here, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
			return
		}
		var both sync.WaitGroup
		for _, way := range []struct {
			to   net.Conn
			from io.Reader
		}{{there, sent}, {here, there}} {
			both.Go(func() {
				_, _ = io.Copy(way.to, way.from)
				_ = here.Close()
				_ = there.Close()
			})
		}
		both.Wait()
	})
}

func (c *Cloud) authority() string { return filepath.Join(c.dir, "ca.crt") }

// Environment is what a program is to be told that this is Azure for.
func (c *Cloud) Environment() []string {
	return []string{"HTTPS_PROXY=" + c.proxy, "SSL_CERT_FILE=" + c.authority()}
}

// Program returns a program that runs another one with this Azure.
func (c *Cloud) Program(t testing.TB, path string) string {
	t.Helper()
	with := filepath.Join(c.dir, filepath.Base(path))
	script := fmt.Sprintf("#!/bin/sh\nexec /usr/bin/env %s %s \"$@\"\n", strings.Join(c.Environment(), " "), path)
	if err := os.WriteFile(with, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return with
}

// Heard returns what was asked, a line each.
func (c *Cloud) Heard() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.heard)
}

func (c *Cloud) hear(r *http.Request, status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = append(c.heard, fmt.Sprintf("%s %s%s: %d", r.Method, r.Host, r.URL.Path, status))
}

func (c *Cloud) answer(w http.ResponseWriter, r *http.Request, status int, body any) {
	c.hear(r, status)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // whoever asked may be gone
}

// signIn is Microsoft Entra ID, as far as an application with a secret asks it.
func (c *Cloud) signIn(w http.ResponseWriter, r *http.Request) {
	at := "https://" + signInHost + "/" + Tenant
	switch {
	case strings.HasSuffix(r.URL.Path, "/discovery/instance"):
		c.answer(w, r, http.StatusOK, map[string]any{"tenant_discovery_endpoint": at + "/v2.0/.well-known/openid-configuration", "metadata": []any{
			map[string]any{"preferred_network": signInHost, "preferred_cache": "login.windows.net", "aliases": []any{signInHost}},
		}})
	case strings.HasSuffix(r.URL.Path, "/openid-configuration"):
		c.answer(w, r, http.StatusOK, map[string]any{"issuer": at + "/v2.0", "authorization_endpoint": at + "/oauth2/v2.0/authorize", "token_endpoint": at + "/oauth2/v2.0/token"})
	case r.PostFormValue("client_id") == Client && r.PostFormValue("client_secret") == Secret:
		c.answer(w, r, http.StatusOK, map[string]any{"token_type": "Bearer", "expires_in": 3600, "access_token": token})
	default:
		c.answer(w, r, http.StatusUnauthorized, map[string]any{
			"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID.",
		})
	}
}

// manage is Azure Resource Manager, which offers machines of one size, of which there may be five.
func (c *Cloud) manage(w http.ResponseWriter, r *http.Request) {
	providers := "/subscriptions/" + Subscription + "/providers/Microsoft.Compute/"
	switch {
	case r.Header.Get("Authorization") != "Bearer "+token:
		c.answer(w, r, http.StatusUnauthorized, refusal("InvalidAuthenticationToken", "the access token is not one of this tenant"))
	case r.URL.Path == providers+"skus":
		c.answer(w, r, http.StatusOK, map[string]any{"value": []any{map[string]any{
			"resourceType": "virtualMachines", "name": Size, "family": "standardDSv3Family", "locations": []any{Location},
			"locationInfo": []any{map[string]any{"location": Location, "zones": []any{"1", "2", "3"}}},
			"capabilities": []any{map[string]any{"name": "vCPUs", "value": "2"}, map[string]any{"name": "MemoryGB", "value": "8"}},
		}}})
	case r.URL.Path == providers+"locations/"+Location+"/usages":
		c.answer(w, r, http.StatusOK, map[string]any{"value": []any{map[string]any{
			"name": map[string]any{"value": "standardDSv3Family", "localizedValue": "Standard DSv3 Family vCPUs"}, "currentValue": 0, "limit": 10, "unit": "Count",
		}}})
	default:
		c.answer(w, r, http.StatusNotFound, refusal("ResourceNotFound", "there is nothing at "+r.URL.Path))
	}
}

func refusal(code, message string) map[string]any {
	return map[string]any{"error": map[string]any{"code": code, "message": message}}
}
