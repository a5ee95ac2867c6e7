package expiry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/cert"
)

const (
	// every is between two looks.
	every = time.Hour
	// again is when one is made anew in which something could not be asked.
	again = time.Minute
	// patience is how long a handshake may take.
	patience = 5 * time.Second
	// most is how many kubelets are looked at, and atOnce how many at a time.
	most, atOnce = 100, 8
)

// Needs are what a Watcher needs.
type Needs struct {
	// Config reaches the member's API server.
	Config *rest.Config
	// Tell is told the certificate that ends first, when it is another one.
	Tell func(Found)
	Log  *slog.Logger
}

// Watcher looks at a member's certificates.
type Watcher struct{ Needs }

// New returns a Watcher.
func New(needs Needs) *Watcher { return &Watcher{needs} }

// Run looks until ctx ends, when it returns nil.
func (w *Watcher) Run(ctx context.Context) error {
	var told Found
	for {
		all, err := w.Look(ctx)
		next := every
		if err != nil {
			w.Log.Info("not all certificates of the cluster are known", "error", err)
			next = again
		}
		first, ok := First(all)
		if whole := err == nil || told == (Found{}); ok && whole && first != told {
			told = first
			w.Tell(first)
		}
		select {
		case <-time.After(next):
		case <-ctx.Done():
			return nil
		}
	}
}

// Look returns the certificates that can be seen. An error may come with those that could be seen all the same.
func (w *Watcher) Look(ctx context.Context) ([]Found, error) {
	all, err := w.own()
	if err != nil {
		return all, err
	}
	at, _, err := rest.DefaultServerUrlFor(w.Config)
	if err != nil {
		return all, fmt.Errorf("where is the API server? %w", err)
	}
	address := at.Host
	if at.Port() == "" {
		address = net.JoinHostPort(at.Hostname(), "443")
	}
	until, err := ends(ctx, address, at.Hostname())
	if err != nil {
		return all, err
	}
	all = append(all, Found{until, "API server"})
	client, err := kubernetes.NewForConfig(w.Config)
	if err != nil {
		return all, err
	}
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{Limit: most})
	if err != nil {
		return all, err
	}
	return append(all, kubelets(ctx, nodes.Items)...), nil
}

// own returns what the agent itself has: the CA by which it knows the API server, and what it logs in with, if that is a certificate.
func (w *Watcher) own() (all []Found, err error) {
	config := rest.CopyConfig(w.Config)
	if err := rest.LoadTLSFiles(config); err != nil {
		return nil, fmt.Errorf("reading how the agent reaches its API server: %w", err)
	}
	for _, of := range []struct {
		name string
		pem  []byte
		end  func([]*x509.Certificate) time.Time
	}{{"CA", config.CAData, lastEnd}, {"agent's own login", config.CertData, firstEnd}} {
		if len(of.pem) == 0 {
			continue
		}
		certs, err := cert.ParseCertsPEM(of.pem)
		if err != nil {
			return all, fmt.Errorf("reading the certificate of the %s: %w", of.name, err)
		}
		all = append(all, Found{of.end(certs), of.name})
	}
	return all, nil
}

// kubelets returns the certificates of those that can be reached.
func kubelets(ctx context.Context, nodes []corev1.Node) []Found {
	var mu sync.Mutex
	var all []Found
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, node := range nodes {
		address, ok := addressOf(&node)
		if !ok {
			continue
		}
		group.Go(func() error {
			until, err := ends(ctx, address, node.Name)
			if err != nil {
				return nil // see the package's laws
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, Found{until, "kubelet of " + node.Name})
			return nil
		})
	}
	_ = group.Wait() // none returns an error
	return all
}

func addressOf(node *corev1.Node) (string, bool) {
	port := node.Status.DaemonEndpoints.KubeletEndpoint.Port
	for _, a := range node.Status.Addresses {
		if a.Type == corev1.NodeInternalIP && port != 0 {
			return net.JoinHostPort(a.Address, strconv.Itoa(int(port))), true
		}
	}
	return "", false
}

// ends returns when the certificate of a server ends, or the first of those that it shows with it.
func ends(ctx context.Context, address, name string) (until time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	// Nothing is sent, and nothing is believed: it is read when it ends.
	dialer := &tls.Dialer{Config: &tls.Config{ServerName: name, InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error {
		until = firstEnd(s.PeerCertificates)
		return nil
	}}}
	connection, err := dialer.DialContext(ctx, "tcp", address)
	if err == nil {
		_ = connection.Close() // what it showed is known
	}
	switch {
	case !until.IsZero(): // also of one that then breaks off
		return until, nil
	case err != nil:
		return until, err
	}
	return until, fmt.Errorf("%s shows no certificate", address)
}

func firstEnd(chain []*x509.Certificate) (until time.Time) {
	for _, c := range chain {
		if until.IsZero() || c.NotAfter.Before(until) {
			until = c.NotAfter
		}
	}
	return until
}

// lastEnd is when the last of some CAs ends: while one takes the place of another, both are there.
func lastEnd(all []*x509.Certificate) (until time.Time) {
	for _, c := range all {
		if c.NotAfter.After(until) {
			until = c.NotAfter
		}
	}
	return until
}
