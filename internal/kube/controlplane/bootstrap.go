package controlplane

import (
	"context"
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	rbacapply "k8s.io/client-go/applyconfigurations/rbac/v1"
	rbacclient "k8s.io/client-go/kubernetes/typed/rbac/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// Bootstrap grants what Kubernetes' own roles do not: people of the group umbel:admins may do everything, and the API
// server may use the kubelets' API. It is idempotent. The API must be ready.
func (c *ControlPlane) Bootstrap(ctx context.Context) error {
	config, err := c.BootstrapConfig()
	if err != nil {
		return err
	}
	client, err := rbacclient.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("making a client of cluster %q: %w", c.config.Name, err)
	}
	for _, grant := range []struct{ name, role, kind, subject string }{
		{v1alpha1.AdminGroup, "cluster-admin", rbacv1.GroupKind, v1alpha1.AdminGroup},
		{"umbel:kubelet-client", "system:kubelet-api-admin", rbacv1.UserKind, kubeletClientUser},
	} {
		binding := rbacapply.ClusterRoleBinding(grant.name).
			WithRoleRef(rbacapply.RoleRef().WithAPIGroup(rbacv1.GroupName).WithKind("ClusterRole").WithName(grant.role)).
			WithSubjects(rbacapply.Subject().WithAPIGroup(rbacv1.GroupName).WithKind(grant.kind).WithName(grant.subject))
		if _, err := client.ClusterRoleBindings().Apply(ctx, binding, metav1.ApplyOptions{FieldManager: "umbel"}); err != nil {
			return fmt.Errorf("binding ClusterRole %q to %s %q in cluster %q: %w", grant.role, grant.kind, grant.subject, c.config.Name, err)
		}
	}
	return nil
}
