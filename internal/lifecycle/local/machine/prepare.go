package machine

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"

	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/kube/controlplane"
)

// Prepare writes all that the machine reads: the spec, keys, certificates, kubeconfigs and configuration files. The
// machine must not be running. Where the control plane is on another one, that must have been prepared.
func (s Spec) Prepare() error {
	if s.Audit != "" {
		if err := os.MkdirAll(s.Audit, 0o700); err != nil {
			return fmt.Errorf("preparing machine %q: %w", s.Node, err)
		}
	}
	if s.Main == nil {
		plane, err := s.ControlPlane()
		if err != nil {
			return err
		}
		if err := plane.Prepare(); err != nil {
			return err
		}
	}
	for path, content := range s.Files() {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("preparing machine %q: %w", s.Node, err)
		}
		if err := renameio.WriteFile(path, []byte(content), 0o644); err != nil {
			return fmt.Errorf("preparing machine %q: %w", s.Node, err)
		}
	}
	prepare := func() error { return nil }
	switch {
	case s.kubelet():
		prepare = s.prepareNode
	case s.Node != "":
		prepare = s.PrepareVar
	}
	if err := prepare(); err != nil {
		return fmt.Errorf("preparing machine %q: %w", s.Node, err)
	}
	return s.Save()
}

// prepareNode issues what the node is known by. Of the CA it gets the certificate alone.
func (s Spec) prepareNode() error {
	plane, err := s.ControlPlane()
	if err != nil {
		return err
	}
	for file, c := range s.clients() {
		if err := plane.WriteKubeconfig(s.kube(file), c.Files, c.Request); err != nil {
			return err
		}
	}
	ca, err := plane.CA()
	if err != nil {
		return err
	}
	if err := s.forgetCertificates(); err != nil { // a machine that starts has keys of its own, and new ones
		return err
	}
	if s.Main != nil {
		if err := os.MkdirAll(s.kube("pki"), 0o700); err != nil {
			return err
		}
		if err := renameio.WriteFile(s.kube("pki/ca.crt"), ca.CertPEM(), 0o644); err != nil {
			return err
		}
	}
	if _, err := s.renew(time.Now()); err != nil {
		return err
	}
	return s.PrepareVar()
}

// clients are what logs in at the API, by the kubeconfig of each.
func (s Spec) clients() map[string]controlplane.Certificate {
	client := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return map[string]controlplane.Certificate{
		"kubelet.kubeconfig": {
			Files: s.kube("kubelet-client"), Usages: client, Request: identity.Request{CommonName: "system:node:" + s.Node, Organizations: []string{"system:nodes"}},
		},
		"kube-proxy.kubeconfig": {Files: s.kube("kube-proxy-client"), Usages: client, Request: identity.Request{CommonName: "system:kube-proxy"}},
	}
}

// certificates are all that a node has.
func (s Spec) certificates() []controlplane.Certificate {
	all := []controlplane.Certificate{{
		Files: s.kube("kubelet"), Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		Request: identity.Request{CommonName: "system:node:" + s.Node, Hosts: []string{s.Node, s.Address.String()}},
	}}
	for _, c := range s.clients() {
		all = append(all, c)
	}
	return all
}

func (s Spec) forgetCertificates() error {
	var problems []error
	for _, c := range s.certificates() {
		for _, suffix := range []string{".crt", ".key"} {
			if err := os.Remove(c.Files + suffix); err != nil && !os.IsNotExist(err) {
				problems = append(problems, err)
			}
		}
	}
	return errors.Join(problems...)
}

// PrepareVar makes the folders and links that programs expect below /var.
func (s Spec) PrepareVar() error {
	root := filepath.Join(s.Dir, "var")
	for _, dir := range []string{"cache", "lib", "log/pods", "log/containers", "spool", RegistriesDir} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return err
		}
	}
	tmp := filepath.Join(root, "tmp")
	if err := os.MkdirAll(tmp, 0o777); err != nil {
		return err
	}
	if err := os.Chmod(tmp, 0o777|os.ModeSticky); err != nil {
		return err
	}
	for link, target := range map[string]string{"run": "/run", "lock": "/run/lock"} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil && !os.IsExist(err) {
			return err
		}
	}
	return nil
}

// dials returns a readiness probe: somebody accepts on the Unix socket at path.
func dials(path string) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}
