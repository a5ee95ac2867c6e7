package controlplane

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/renameio/v2"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity"
)

const (
	caTTL   = 10 * 365 * 24 * time.Hour
	leafTTL = 365 * 24 * time.Hour

	frontProxyUser    = "front-proxy-client"
	kubeletClientUser = "kube-apiserver-kubelet-client"
)

// leaf is one certificate to issue: what for, by which CA, to which file.
type leaf struct {
	ca      string
	file    string
	usages  []x509.ExtKeyUsage
	request identity.Request
}

// The users of what is beside an API server.
const (
	controllerManagerUser = "system:kube-controller-manager"
	schedulerUser         = "system:kube-scheduler"
)

// leaves lists every certificate of the control plane that is kept as a pair of files.
func (c *ControlPlane) leaves() []leaf {
	server, client := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	peer := append(slices.Clone(server), client...)
	return []leaf{
		{"etcd-ca", "etcd", peer, identity.Request{CommonName: "etcd", Hosts: c.etcdHosts()}},
		{"etcd-ca", "etcd-client", client, identity.Request{CommonName: "kube-apiserver"}},
		{"ca", "apiserver", server, identity.Request{CommonName: "kube-apiserver", Hosts: c.apiHosts()}},
		{"ca", "kubelet-client", client, identity.Request{CommonName: kubeletClientUser}},
		{"ca", controllerManagerFile, client, identity.Request{CommonName: controllerManagerUser}},
		{"ca", schedulerFile, client, identity.Request{CommonName: schedulerUser}},
		{"ca", "probe-client", client, identity.Request{CommonName: "umbel:probe"}},
		{"front-proxy-ca", "front-proxy-client", client, identity.Request{CommonName: frontProxyUser}},
	}
}

// What the controller manager and the scheduler log in with, in files of their own: they read them again when they change.
const controllerManagerFile, schedulerFile = "controller-manager-client", "scheduler-client"

// What a hub logs in with at its own API, and who has the API's address be with one of its members: there once somebody has asked for it.
const hubFile, endpointFile = "hub-client", "endpoint-client"

// endpointUser is who has the API's address be with one of the members.
const endpointUser = "umbel:endpoint"

// administrators are the certificates that are there once somebody has asked for them.
func administrators() []leaf {
	return []leaf{administrator(hubFile, HubUser), administrator(endpointFile, endpointUser)}
}

func administrator(file, user string) leaf {
	return leaf{"ca", file, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, identity.Request{CommonName: user, Organizations: []string{v1alpha1.AdminGroup}}}
}

// access is who gets a kubeconfig, for which API server.
type access struct {
	server string
	who    identity.Request
	// files is the path of the certificate and key, without .crt and .key, that the kubeconfig names; empty for one that has them in it.
	files string
}

// kubeconfigs lists who gets a kubeconfig, by file name. What is beside an API server means that one.
func (c *ControlPlane) kubeconfigs() map[string]access {
	return map[string]access{
		c.AdminKubeconfig():                     {server: c.URL(), who: identity.Request{CommonName: "admin", Organizations: []string{v1alpha1.AdminGroup}}},
		c.path("controller-manager.kubeconfig"): {c.OwnURL(), identity.Request{CommonName: controllerManagerUser}, c.pki(controllerManagerFile)},
		c.path("scheduler.kubeconfig"):          {c.OwnURL(), identity.Request{CommonName: schedulerUser}, c.pki(schedulerFile)},
	}
}

// Prepare writes keys, certificates and kubeconfigs. What must last (CAs, the service account key) is made once; the
// rest is issued anew. So a control plane that is prepared before each start never runs out of a certificate.
func (c *ControlPlane) Prepare() error {
	cas := map[string]*identity.CA{}
	for _, name := range []string{"ca", "etcd-ca", "front-proxy-ca"} {
		ca, err := identity.LoadOrCreateCA(c.path("pki"), name, caTTL)
		if err != nil {
			return err
		}
		cas[name] = ca
	}
	for _, l := range c.leaves() {
		if _, err := issueAnew(cas[l.ca], c.certificate(l)); err != nil {
			return err
		}
	}
	if err := c.makeServiceAccountKey(); err != nil {
		return err
	}
	if err := errors.Join(c.writeAuditPolicy(), c.writeAnonymous()); err != nil {
		return err
	}
	for path, a := range c.kubeconfigs() {
		if err := c.writeKubeconfig(path, cas["ca"], a); err != nil {
			return err
		}
	}
	return nil
}

// CA returns the cluster's CA, for issuing what its nodes need. Prepare must have run.
func (c *ControlPlane) CA() (*identity.CA, error) {
	pair, err := identity.LoadKeyPair(c.pki("ca.crt"), c.pki("ca.key"))
	if err != nil {
		return nil, err
	}
	return identity.ParseCA(pair)
}

// Kubeconfig issues a client certificate for a year (unless request has a TTL) and returns a kubeconfig with it.
func (c *ControlPlane) Kubeconfig(request identity.Request) ([]byte, error) {
	ca, err := c.CA()
	if err != nil {
		return nil, err
	}
	return c.kubeconfig(ca, access{server: c.URL(), who: request})
}

func (c *ControlPlane) kubeconfig(ca *identity.CA, a access) ([]byte, error) {
	request := a.who
	user, err := userOf(ca, a)
	if err != nil {
		return nil, err
	}
	name := c.config.Name
	content, err := clientcmd.Write(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{
			name: {Server: a.server, CertificateAuthorityData: ca.CertPEM()},
		},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{
			request.CommonName: user,
		},
		Contexts: map[string]*clientcmdapi.Context{
			name: {Cluster: name, AuthInfo: request.CommonName},
		},
		CurrentContext: name,
	})
	if err != nil {
		return nil, fmt.Errorf("encoding a kubeconfig of cluster %q for %s: %w", name, request.CommonName, err)
	}
	return content, nil
}

// userOf returns how a kubeconfig logs in.
func userOf(ca *identity.CA, a access) (*clientcmdapi.AuthInfo, error) {
	if a.files != "" {
		return &clientcmdapi.AuthInfo{ClientCertificate: a.files + ".crt", ClientKey: a.files + ".key"}, nil
	}
	if a.who.TTL == 0 {
		a.who.TTL = leafTTL
	}
	pair, err := ca.IssueClient(a.who)
	return &clientcmdapi.AuthInfo{ClientCertificateData: pair.CertPEM, ClientKeyData: pair.KeyPEM}, err
}

// WriteKubeconfig writes a kubeconfig that names the files of a certificate and a key: files without .crt and .key, which Renewed keeps.
func (c *ControlPlane) WriteKubeconfig(path, files string, request identity.Request) error {
	ca, err := c.CA()
	if err != nil {
		return err
	}
	return c.writeKubeconfig(path, ca, access{c.URL(), request, files})
}

func (c *ControlPlane) writeKubeconfig(path string, ca *identity.CA, a access) error {
	content, err := c.kubeconfig(ca, a)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("making the folder of a kubeconfig: %w", err)
	}
	if err := renameio.WriteFile(path, content, 0o600); err != nil {
		return fmt.Errorf("writing kubeconfig %s: %w", path, err)
	}
	return nil
}

// BootstrapConfig returns credentials of the group system:masters that are valid for an hour. They live in memory
// only: they are for granting the first roles, and for tests. Prepare must have run.
func (c *ControlPlane) BootstrapConfig() (*rest.Config, error) {
	return c.clientConfig(identity.Request{CommonName: "umbel:bootstrap", Organizations: []string{"system:masters"}, TTL: time.Hour})
}

// HubUser is who a hub is on its own API.
const HubUser = "umbel:hub"

// HubConfig returns a hub's credentials on its own API, with the rights of its administrators. They are not those of a kubeconfig, so
// that what is done by one is told from what the hub does. Prepare must have run.
func (c *ControlPlane) HubConfig() (*rest.Config, error) {
	return c.login(hubFile, HubUser)
}

// EndpointConfig returns credentials at this member's own API server for who has the API's address be with one of the members. Prepare
// must have run.
func (c *ControlPlane) EndpointConfig() (*rest.Config, error) {
	config, err := c.login(endpointFile, endpointUser)
	if err != nil {
		return nil, err
	}
	config.Host = c.OwnURL()
	return config, nil
}

// login issues a certificate of an administrator, in files that Renew keeps, and returns how to log in with it. Clients read the files
// again when they change.
func (c *ControlPlane) login(file, user string) (*rest.Config, error) {
	ca, err := c.CA()
	if err != nil {
		return nil, err
	}
	if _, err := issueAnew(ca, c.certificate(administrator(file, user))); err != nil {
		return nil, err
	}
	return &rest.Config{
		Host:            c.URL(),
		TLSClientConfig: rest.TLSClientConfig{CAData: ca.CertPEM(), CertFile: c.pki(file + ".crt"), KeyFile: c.pki(file + ".key")},
		QPS:             -1, // the server's own priority and fairness limits us
	}, nil
}

func (c *ControlPlane) clientConfig(request identity.Request) (*rest.Config, error) {
	ca, err := c.CA()
	if err != nil {
		return nil, err
	}
	pair, err := ca.IssueClient(request)
	if err != nil {
		return nil, err
	}
	return &rest.Config{
		Host:            c.URL(),
		TLSClientConfig: rest.TLSClientConfig{CAData: ca.CertPEM(), CertData: pair.CertPEM, KeyData: pair.KeyPEM},
		QPS:             -1, // the server's own priority and fairness limits us
	}, nil
}

// makeServiceAccountKey makes the key that signs the tokens of service accounts, once, and its public half beside it.
func (c *ControlPlane) makeServiceAccountKey() error {
	path := c.pki("service-account.key")
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		content, err = newServiceAccountKey(path)
	}
	if err != nil {
		return fmt.Errorf("making the service account key: %w", err)
	}
	key, err := identity.ParseKey(content)
	if err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	return renameio.WriteFile(c.pki("service-account.pub"), public, 0o644)
}

func newServiceAccountKey(path string) ([]byte, error) {
	key, err := identity.NewKey()
	if err != nil {
		return nil, err
	}
	content, err := identity.EncodeKey(key)
	if err != nil {
		return nil, err
	}
	return content, renameio.WriteFile(path, content, 0o600)
}
