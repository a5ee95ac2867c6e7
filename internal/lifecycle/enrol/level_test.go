package enrol

import (
	"context"
	"fmt"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/kubetest"
)

// TestRightsAreThoseOfTheLevel: what is installed to observe may read, and lets people read; it writes in its own namespace alone. Installed
// anew for another level, it has the rights of that, and none of the one before. Some rights of a real API server take a moment to count.
func TestRightsAreThoseOfTheLevel(t *testing.T) {
	target, err := client.New(kubetest.Start(t), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	// The API of the tests is one that we make, where the hub's administrators may do everything by its own binding. Other clusters have none.
	own := &rbacv1.ClusterRoleBinding{}
	if err := target.Get(t.Context(), client.ObjectKey{Name: v1alpha1.AdminGroup}, own); err != nil {
		t.Fatal(err)
	}
	if err := target.Delete(t.Context(), own.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		own.ResourceVersion = ""
		if err := target.Create(context.WithoutCancel(t.Context()), own); err != nil {
			t.Error(err)
		}
	})
	agent, admins := []string{"system:serviceaccount:umbel-agent:umbel-agent"}, []string{"hub:ada", v1alpha1.AdminGroup}
	verb := func(verb, group, resource, namespace string) authorizationv1.ResourceAttributes {
		return authorizationv1.ResourceAttributes{Verb: verb, Group: group, Resource: resource, Namespace: namespace, Name: "some"}
	}
	rights := []struct {
		who                []string
		what               authorizationv1.ResourceAttributes
		observed, attached bool
	}{
		{agent, verb("list", "", "pods", "shop"), true, true},
		{agent, verb("watch", "example.com", "things", "shop"), true, true},
		{agent, verb("impersonate", "", "users", ""), true, true},
		{agent, verb("update", "", "secrets", v1alpha1.AgentNamespace), true, true},
		{agent, verb("update", "apps", "deployments", v1alpha1.AgentNamespace), true, true},
		{agent, verb("create", "", "configmaps", "shop"), false, true},
		{agent, verb("patch", "apps", "deployments", "shop"), false, true},
		{agent, verb("delete", "", "namespaces", ""), false, true},
		{agent, verb("bind", "rbac.authorization.k8s.io", "clusterroles", ""), false, true},
		{admins, verb("list", "", "pods", "shop"), true, true},
		{admins, verb("get", "", "nodes", ""), true, true},
		{admins, verb("get", "", "secrets", "shop"), false, true},
		{admins, verb("create", "", "configmaps", "shop"), false, true},
	}
	for _, level := range []v1alpha1.Level{v1alpha1.LevelObserved, v1alpha1.LevelAttached, v1alpha1.LevelObserved} {
		objects, err := Agent{Boot: v1alpha1.Bootstrap{Cluster: "dev"}, Level: level}.Manifests()
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range objects {
			if err := target.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("umbel-join"), client.ForceOwnership); err != nil {
				t.Fatalf("%s: %s %s: %v", level, o.GetKind(), o.GetName(), err)
			}
		}
		for _, o := range OtherRights(level) {
			if err := target.Delete(t.Context(), o); err != nil && !apierrors.IsNotFound(err) {
				t.Fatal(err)
			}
		}
		for _, r := range rights {
			want := map[v1alpha1.Level]bool{v1alpha1.LevelObserved: r.observed, v1alpha1.LevelAttached: r.attached}[level]
			if err := settles(t, target, r.who, r.what, want); err != nil {
				t.Errorf("%s: %v", level, err)
			}
		}
	}
}

// settles waits until the API server allows something, or does not.
func settles(t *testing.T, target client.Client, who []string, what authorizationv1.ResourceAttributes, want bool) error {
	for until := time.Now().Add(time.Minute); ; {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: who[0], Groups: who[1:], ResourceAttributes: &what}}
		if err := target.Create(t.Context(), review); err != nil {
			return err
		}
		if review.Status.Allowed == want {
			return nil
		}
		if time.Now().After(until) {
			return fmt.Errorf("%s may %s %s in %q: %v %s", who[0], what.Verb, what.Resource, what.Namespace, review.Status.Allowed, review.Status.Reason)
		}
	}
}
