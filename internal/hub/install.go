package hub

import (
	"context"
	"crypto/rand"
	"fmt"
	"io/fs"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/user"
	rbacac "k8s.io/client-go/applyconfigurations/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/deploy"
	"umbel.dev/umbel/internal/backup"
	"umbel.dev/umbel/internal/session"
)

const (
	fieldManager = "umbel-hub"
	// servedTimeout is how long a new kind may take until the API serves it.
	servedTimeout = 30 * time.Second
)

// install brings the kinds, what is checked of them, and the namespace that the hub needs into the API. It is idempotent.
func install(ctx context.Context, c client.Client) error {
	err := c.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SystemNamespace}})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating namespace %s: %w", v1alpha1.SystemNamespace, err)
	}
	files, err := fs.Glob(deploy.CRDs, "crds/*.yaml")
	if err != nil {
		return err
	}
	for _, file := range files {
		crd, err := readCRD(deploy.CRDs, file)
		if err != nil {
			return err
		}
		err = c.Apply(ctx, client.ApplyConfigurationFromUnstructured(crd), client.FieldOwner(fieldManager), client.ForceOwnership)
		if err != nil {
			return fmt.Errorf("installing %s: %w", crd.GetName(), err)
		}
	}
	if err := letIn(ctx, c); err != nil {
		return err
	}
	if err := installPolicies(ctx, c); err != nil {
		return err
	}
	return awaitServed(ctx, c, nil, &v1alpha1.MemberClusterList{}, &v1alpha1.PlacementList{}, &v1alpha1.PackageList{}, &v1alpha1.ReleaseList{}, &v1alpha1.ScopeList{})
}

// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=roles;rolebindings,verbs=get;create;patch

// letIn lets everybody whom the hub knows read that it is alive, and where it is reached: no secret, and commands need it.
func letIn(ctx context.Context, c client.Client) error {
	const name = "umbel-people"
	role := rbacac.Role(name, v1alpha1.SystemNamespace).WithRules(
		rbacac.PolicyRule().WithAPIGroups("coordination.k8s.io").WithResources("leases").WithResourceNames(v1alpha1.HubLease).WithVerbs("get"),
		rbacac.PolicyRule().WithAPIGroups("").WithResources("configmaps").WithResourceNames(v1alpha1.HubInfoConfigMap).WithVerbs("get"),
	)
	binding := rbacac.RoleBinding(name, v1alpha1.SystemNamespace).
		WithRoleRef(rbacac.RoleRef().WithAPIGroup(rbacv1.GroupName).WithKind("Role").WithName(name)).
		WithSubjects(rbacac.Subject().WithAPIGroup(rbacv1.GroupName).WithKind(rbacv1.GroupKind).WithName(user.AllAuthenticated))
	for _, object := range []runtime.ApplyConfiguration{role, binding} {
		if err := c.Apply(ctx, object, client.FieldOwner(fieldManager), client.ForceOwnership); err != nil {
			return fmt.Errorf("letting people see that the hub is alive (Role %s in namespace %s): %w", name, v1alpha1.SystemNamespace, err)
		}
	}
	return nil
}

func readCRD(from fs.FS, file string) (*unstructured.Unstructured, error) {
	raw, err := fs.ReadFile(from, file)
	if err != nil {
		return nil, err
	}
	crd := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(raw, &crd.Object); err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	return crd, nil
}

// installShared brings a kind that is not ours into an API that has none. One that is there is somebody else's and stays
// as it is.
func installShared(ctx context.Context, c client.Client, from fs.FS, file string, list client.ObjectList, in ...client.ListOption) error {
	crd, err := readCRD(from, file)
	if err != nil {
		return err
	}
	if err := c.Create(ctx, crd, client.FieldOwner(fieldManager)); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("installing %s: %w", crd.GetName(), err)
	}
	return awaitServed(ctx, c, in, list)
}

// fleetOf returns what members are told of the fleet. Its name stands on the hub's namespace as SIG-Multicluster wants it.
// Where there is none it draws one: two fleets of one company must not have the same.
func fleetOf(ctx context.Context, c client.Client) (session.Fleet, error) {
	for {
		namespace := &corev1.Namespace{}
		if err := c.Get(ctx, client.ObjectKey{Name: v1alpha1.SystemNamespace}, namespace); err != nil {
			return session.Fleet{}, fmt.Errorf("reading the name of the fleet from namespace %s: %w", v1alpha1.SystemNamespace, err)
		}
		epoch, err := backup.EpochOf(namespace)
		if err != nil {
			return session.Fleet{}, err
		}
		if name := namespace.Labels[v1alpha1.ClusterSetLabel]; name != "" {
			return session.Fleet{Name: name, Epoch: epoch}, nil
		}
		before := namespace.DeepCopy()
		name := "umbel-" + strings.ToLower(rand.Text()[:8])
		metav1.SetMetaDataLabel(&namespace.ObjectMeta, v1alpha1.ClusterSetLabel, name)
		err = c.Patch(ctx, namespace, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
		if apierrors.IsConflict(err) {
			continue // somebody else wrote it: look again
		}
		if err != nil {
			return session.Fleet{}, fmt.Errorf("writing the name of the fleet to namespace %s: %w", v1alpha1.SystemNamespace, err)
		}
		return session.Fleet{Name: name, Epoch: epoch}, nil
	}
}

// awaitServed waits until each of the kinds can be listed, where the hub may.
func awaitServed(ctx context.Context, c client.Client, in []client.ListOption, lists ...client.ObjectList) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, servedTimeout, true, func(ctx context.Context) (bool, error) {
		for _, list := range lists {
			if last = c.List(ctx, list, append(in, client.Limit(1))...); last != nil {
				if apierrors.IsNotFound(last) || meta.IsNoMatchError(last) {
					return false, nil
				}
				return false, last
			}
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("waiting until the API serves the kinds: %w (last: %w)", err, last)
	}
	return nil
}
