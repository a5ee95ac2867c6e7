package controlplane_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"

	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/kube/controlplane"
	"umbel.dev/umbel/internal/kube/kubetest"
	"umbel.dev/umbel/internal/kube/process"
)

// TestRenewedWhileItServes: all certificates of a control plane end in two minutes. They are renewed while somebody asks its API all the
// time: every question is answered, no process starts anew, and what is shown lasts for a year.
func TestRenewedWhileItServes(t *testing.T) {
	kube, err := kubetest.Binary()
	if err != nil {
		t.Fatal(err)
	}
	ports, err := controlplane.FreePorts()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	plane, err := controlplane.New(controlplane.Config{
		Name: "dev", Dir: dir, Binary: kube, Address: netip.MustParseAddr("127.0.0.1"), ServiceCIDR: netip.MustParsePrefix("10.129.0.0/16"),
		Ports: ports, Components: []controlplane.Component{controlplane.ControllerManager, controlplane.Scheduler},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := plane.Prepare(); err != nil {
		t.Fatal(err)
	}
	shorten(t, dir)
	processes := plane.Processes()
	for i := range processes {
		if processes[i].Name == "kube-apiserver" { // an etcd that a busy machine holds up is no question without an answer
			processes[i].Args = append(processes[i].Args, "--etcd-readycheck-timeout=30s")
		}
	}
	supervisor, err := process.New(process.Config{Processes: processes, LogDir: filepath.Join(dir, "logs"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- supervisor.Run(running) }()
	defer func() { stop(); <-ended }()
	waiting, cancel := context.WithTimeout(running, 90*time.Second)
	defer cancel()
	if err := supervisor.WaitReady(waiting); err != nil {
		t.Fatal(err)
	}
	before := supervisor.Status()

	asking, enough := context.WithCancel(running)
	answers := make(chan error)
	go func() { answers <- ask(asking, plane) }()
	until, err := plane.Renew(time.Now())
	if err != nil || time.Until(until) < 300*24*time.Hour {
		t.Errorf("the first ends at %s (%v)", until, err)
	}
	etcd, err := plane.EtcdTLS()
	if err != nil {
		t.Fatal(err)
	}
	for address, config := range map[string]*tls.Config{
		strings.TrimPrefix(plane.URL(), "https://"):     {InsecureSkipVerify: true},
		strings.TrimPrefix(plane.EtcdURL(), "https://"): etcd,
	} {
		err := wait.PollUntilContextTimeout(running, 100*time.Millisecond, 90*time.Second, true, func(context.Context) (bool, error) {
			connection, err := tls.Dial("tcp", address, config)
			if err != nil {
				return false, err
			}
			defer connection.Close()
			return time.Until(connection.ConnectionState().PeerCertificates[0].NotAfter) > 300*24*time.Hour, nil
		})
		if err != nil {
			t.Errorf("%s shows the certificate of before: %v", address, err)
		}
	}
	enough()
	if err := <-answers; err != nil {
		t.Error(err)
	}
	for i, now := range supervisor.Status() {
		if now.PID != before[i].PID {
			t.Errorf("%s started anew", now.Name)
		}
	}
}

// ask asks the API until ctx ends, and says what was not answered.
func ask(ctx context.Context, plane *controlplane.ControlPlane) error {
	config, err := plane.BootstrapConfig()
	if err != nil {
		return err
	}
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return err
	}
	answered, failed := 0, []error{}
	for ctx.Err() == nil {
		if _, err := client.RESTClient().Get().AbsPath("/readyz").DoRaw(context.WithoutCancel(ctx)); err != nil {
			failed = append(failed, err)
			continue
		}
		answered++
	}
	if len(failed) > 0 || answered == 0 {
		return fmt.Errorf("%d answered, %d not: %w", answered, len(failed), errors.Join(failed[:min(3, len(failed))]...))
	}
	return nil
}

// shorten has all certificates but those of CAs end in two minutes.
func shorten(t *testing.T, dir string) {
	t.Helper()
	pki := filepath.Join(dir, "pki")
	files, err := filepath.Glob(filepath.Join(pki, "*.crt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := identity.ParseCert(raw)
		if err != nil {
			t.Fatal(err)
		}
		if cert.IsCA {
			continue
		}
		name := "ca"
		for _, other := range []string{"etcd-ca", "front-proxy-ca"} {
			if strings.Contains(cert.Issuer.CommonName, other) {
				name = other
			}
		}
		pair, err := identity.LoadKeyPair(filepath.Join(pki, name+".crt"), filepath.Join(pki, name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		ca, err := identity.ParseCA(pair)
		if err != nil {
			t.Fatal(err)
		}
		if err := cert.CheckSignatureFrom(ca.Certificate()); err != nil {
			t.Fatalf("%s is not of %s: %v", file, name, err)
		}
		hosts := cert.DNSNames
		for _, ip := range cert.IPAddresses {
			hosts = append(hosts, ip.String())
		}
		short, err := ca.Sign(identity.Request{CommonName: cert.Subject.CommonName, Organizations: cert.Subject.Organization, Hosts: hosts, TTL: 2 * time.Minute}, cert.PublicKey, cert.ExtKeyUsage...)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, short, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
