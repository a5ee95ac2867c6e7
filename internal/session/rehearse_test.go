package session

import (
	"net"
	"strings"
	"testing"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity"
)

// Whether a certificate is over is the hub's to say: by the clock here, which may be wrong, an agent asks all the same.
func TestARehearsalWithAClockThatIsAhead(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	asked := make(chan struct{}, 1)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			asked <- struct{}{}
			conn.Close()
		}
	}()
	ca, err := identity.NewCAAt(time.Now().Add(-48*time.Hour), "umbel members", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	keyring, err := identity.NewKeyring(identity.KeyringConfig{Home: identity.Folder(t.TempDir()), BootstrapCA: ca.CertPEM(), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	client, err := NewClient(ClientConfig{
		Bootstrap: v1alpha1.Bootstrap{Cluster: "prod-eu", Address: listener.Addr().String()}, Keyring: keyring, Log: quiet,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Rehearse(t.Context()); err == nil || !strings.Contains(err.Error(), "no certificate") {
		t.Errorf("without a certificate: %v", err)
	}
	der, err := identity.NewMemberRequest("prod-eu", keyring.Key())
	if err != nil {
		t.Fatal(err)
	}
	request, err := identity.ParseMemberRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	certificate, _, err := ca.SignMember(request, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if err := keyring.Install(certificate, ca.CertPEM()); err != nil {
		t.Fatal(err)
	}
	if notAfter := keyring.Certificate().NotAfter; time.Now().Before(notAfter) {
		t.Fatalf("the certificate is good until %s", notAfter)
	}
	if err := client.Rehearse(t.Context()); err == nil {
		t.Error("a hub that hangs up let the agent in")
	}
	select {
	case <-asked:
	default:
		t.Error("the agent did not ask the hub")
	}
}
