package machine

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"

	"umbel.dev/umbel/internal/identity"
)

const certificateTTL = 365 * 24 * time.Hour

// Prepare writes all that the machine reads: the spec, keys, certificates, kubeconfigs and configuration files. The
// machine must not be running. Where the control plane is on another one, that must have been prepared.
func (s Spec) Prepare() error {
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
		prepare = s.prepareVar
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
	for file, user := range map[string]identity.Request{
		"kubelet.kubeconfig":    {CommonName: "system:node:" + s.Node, Organizations: []string{"system:nodes"}},
		"kube-proxy.kubeconfig": {CommonName: "system:kube-proxy"},
	} {
		if err := plane.WriteKubeconfig(s.kube(file), user); err != nil {
			return err
		}
	}
	ca, err := plane.CA()
	if err != nil {
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
	serving, err := ca.IssueServer(identity.Request{
		CommonName: "system:node:" + s.Node,
		Hosts:      []string{s.Node, s.Address.String()},
		TTL:        certificateTTL,
	})
	if err != nil {
		return err
	}
	if err := serving.Write(s.kube("kubelet.crt"), s.kube("kubelet.key")); err != nil {
		return err
	}
	return s.prepareVar()
}

// prepareVar makes the folders and links that programs expect below /var.
func (s Spec) prepareVar() error {
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
