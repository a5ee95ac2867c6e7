package controlplane

import (
	_ "embed"
	"fmt"

	"github.com/google/renameio/v2"
)

const anonymousFile = "authentication.yaml"

// anonymous lets those who are nobody yet read one object, and nothing else: what kubeadm trusts a cluster's CA by.
//
//go:embed authentication.yaml
var anonymous []byte

// writeAnonymous writes it, where machines ask for their certificates.
func (c *ControlPlane) writeAnonymous() error {
	if c.config.Enrolment != ByToken {
		return nil
	}
	if err := renameio.WriteFile(c.path(anonymousFile), anonymous, 0o600); err != nil {
		return fmt.Errorf("writing who may ask without being known: %w", err)
	}
	return nil
}
