package route

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity"
)

// TestKnock: members are named where their names lead to a door that proves them.
func TestKnock(t *testing.T) {
	ca, err := identity.NewCA("test", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	hub := clientcmdapi.NewConfig()
	hub.Contexts["hub"], hub.CurrentContext = &clientcmdapi.Context{}, "hub"
	for _, c := range []struct {
		reason string
		hosts  []string
		want   string
	}{
		{"a hub", []string{"127.0.0.1", v1alpha1.MembersDomain, "*." + v1alpha1.MembersDomain}, "prod-eu.clusters.umbel.internal"},
		{"a hub of an earlier version, or what ends TLS before it", []string{"127.0.0.1"}, ""},
	} {
		pair, err := ca.IssueServer(identity.Request{CommonName: "door", Hosts: c.hosts, TTL: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		certificate, err := pair.TLS()
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewUnstartedServer(http.NotFoundHandler())
		server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
		server.StartTLS()
		door := Door{Address: server.Listener.Addr().String(), CA: ca.CertPEM()}
		if to := door.Knock(t.Context(), hub).To("prod-eu"); to.TLSServerName != c.want || to.Server != door.Members()+"prod-eu" {
			t.Errorf("%s: the way is %+v, want the name %q", c.reason, to, c.want)
		}
		if to := door.Knock(t.Context(), hub).To("prod.eu"); to.TLSServerName != "" {
			t.Errorf("%s: a name of two labels is %q", c.reason, to.TLSServerName)
		}
		server.Close()
		if door.Knock(t.Context(), hub).Named {
			t.Errorf("%s: nobody opens, and members are named", c.reason)
		}
	}
}
