package controlplane

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

const auditPolicyFile = "audit-policy.yaml"

// auditPolicy says what the API server writes down: see its comments.
//
//go:embed audit-policy.yaml
var auditPolicy []byte

// writeAuditPolicy writes the policy, and makes the folder of the log for its owner alone.
func (c *ControlPlane) writeAuditPolicy() error {
	if err := os.MkdirAll(filepath.Dir(c.AuditLog()), 0o700); err != nil {
		return fmt.Errorf("making the folder of the audit log: %w", err)
	}
	if err := renameio.WriteFile(c.path(auditPolicyFile), auditPolicy, 0o600); err != nil {
		return fmt.Errorf("writing the audit policy: %w", err)
	}
	return nil
}
