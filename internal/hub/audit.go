package hub

import (
	"context"

	"k8s.io/client-go/rest"

	"umbel.dev/umbel/internal/audit"
)

// openAudit opens the audit log, and has it see each change that any client of this process makes in the hub's API.
func (h *hub) openAudit(context.Context) (err error) {
	if h.audit, err = audit.Open(audit.LogConfig{Dir: AuditDir(h.Home), Log: h.Log}); err != nil {
		return err
	}
	h.config = rest.CopyConfig(h.config)
	h.config.Wrap(h.audit.Transport)
	return nil
}
