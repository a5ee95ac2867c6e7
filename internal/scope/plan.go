package scope

import (
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/tunnel/kubeproxy"
)

// proxyVerb lets somebody through the hub to a cluster.
const proxyVerb = "proxy"

// accessName is the name of what a Scope has on the hub.
func accessName(scope string) string { return "umbel:scope:" + scope }

// bindingName is the name of the bindings of a Scope on members.
func bindingName(scope, role string) string { return accessName(scope) + ":" + role }

// Placement returns the Placement of a Scope.
func Placement(scope *v1alpha1.Scope) *v1alpha1.Placement {
	return &v1alpha1.Placement{
		ObjectMeta: made(scope, v1alpha1.SystemNamespace, v1alpha1.ScopePackage(scope.Name)),
		Spec: v1alpha1.PlacementSpec{
			ClusterSelector: *scope.Spec.ClusterSelector.DeepCopy(),
			// Whoever may work on a cluster may while it is drained, above all.
			Tolerations: []v1alpha1.Toleration{{Operator: v1alpha1.TolerationExists}},
			Decisions:   v1alpha1.DecisionsWithheld, // whom it lets in is nobody's workload
		},
	}
}

// Package returns the Package of a Scope: the bindings that its clusters get.
func Package(scope *v1alpha1.Scope) (*v1alpha1.Package, error) {
	pkg := &v1alpha1.Package{ObjectMeta: made(scope, v1alpha1.SystemNamespace, v1alpha1.ScopePackage(scope.Name))}
	pkg.Spec.PlacementRef.Name = pkg.Name
	pkg.Spec.Source.Inline = &v1alpha1.InlineSource{}
	// Who takes people's access away means it, and waits for nobody's word.
	all := intstr.FromString("100%")
	pkg.Spec.Deletes = &v1alpha1.PackageDeletes{Budget: &all, ClusterBudget: &all}
	for _, namespace := range scope.Spec.Namespaces {
		object, err := v1alpha1.Inline(binding(scope, namespace))
		if err != nil {
			return nil, fmt.Errorf("writing the binding of scope %s in namespace %q: %w", scope.Name, namespace, err)
		}
		pkg.Spec.Source.Inline.Objects = append(pkg.Spec.Source.Inline.Objects, object)
	}
	return pkg, nil
}

// binding is what a member gets for one namespace, or for all of them, as a manifest.
func binding(scope *v1alpha1.Scope, namespace string) map[string]any {
	metadata := map[string]any{
		"name":   bindingName(scope.Name, scope.Spec.Role),
		"labels": map[string]any{v1alpha1.ScopeLabel: scope.Name},
	}
	kind := "ClusterRoleBinding"
	if namespace != v1alpha1.EveryNamespace {
		kind, metadata["namespace"] = "RoleBinding", namespace
	}
	// A member knows the hub's people by names of its own.
	seen := kubeproxy.Identity{Groups: scope.Spec.Groups}.OnMember()
	var people []any
	for _, user := range scope.Spec.Users {
		people = append(people, map[string]any{
			"apiGroup": rbacv1.GroupName, "kind": rbacv1.UserKind, "name": kubeproxy.Identity{User: user}.OnMember().User,
		})
	}
	for _, group := range seen.Groups {
		people = append(people, map[string]any{"apiGroup": rbacv1.GroupName, "kind": rbacv1.GroupKind, "name": group})
	}
	for _, account := range scope.Spec.ServiceAccounts {
		in, name, _ := strings.Cut(account, "/")
		people = append(people, map[string]any{"kind": rbacv1.ServiceAccountKind, "namespace": in, "name": name})
	}
	return map[string]any{
		"apiVersion": rbacv1.SchemeGroupVersion.String(), "kind": kind, "metadata": metadata,
		"roleRef":  map[string]any{"apiGroup": rbacv1.GroupName, "kind": "ClusterRole", "name": scope.Spec.Role},
		"subjects": people,
	}
}

// Access returns the role by which the people of a Scope reach clusters through the hub. Of no cluster it has no rule. One
// that is for every cluster names none: ten thousand names would be written anew for each that comes and goes.
func Access(scope *v1alpha1.Scope, clusters []v1alpha1.ClusterName) *rbacv1.ClusterRole {
	role := &rbacv1.ClusterRole{ObjectMeta: made(scope, "", accessName(scope.Name))}
	rule := rbacv1.PolicyRule{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"memberclusters"}, Verbs: []string{"get", proxyVerb}}
	if selector := scope.Spec.ClusterSelector; len(selector.MatchLabels)+len(selector.MatchExpressions) == 0 {
		role.Rules = []rbacv1.PolicyRule{rule}
		return role
	}
	if len(clusters) == 0 {
		return role
	}
	names := make([]string, len(clusters))
	for i, cluster := range clusters {
		names[i] = string(cluster)
	}
	slices.Sort(names)
	rule.ResourceNames = names
	role.Rules = []rbacv1.PolicyRule{rule}
	return role
}

// AccessBinding gives that role to the people of a Scope.
func AccessBinding(scope *v1alpha1.Scope) *rbacv1.ClusterRoleBinding {
	return &rbacv1.ClusterRoleBinding{
		ObjectMeta: made(scope, "", accessName(scope.Name)), Subjects: people(scope),
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: accessName(scope.Name)},
	}
}

// people are the subjects of a Scope as the hub knows them.
func people(scope *v1alpha1.Scope) []rbacv1.Subject {
	var subjects []rbacv1.Subject
	for _, user := range scope.Spec.Users {
		subjects = append(subjects, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user})
	}
	for _, group := range scope.Spec.Groups {
		subjects = append(subjects, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: group})
	}
	return subjects
}

// made is the metadata of what a Scope makes: it is the Scope's, and says so.
func made(scope *v1alpha1.Scope, namespace, name string) metav1.ObjectMeta {
	yes := true
	return metav1.ObjectMeta{
		Namespace: namespace, Name: name,
		Labels: map[string]string{v1alpha1.ScopeLabel: scope.Name},
		OwnerReferences: []metav1.OwnerReference{{
			APIVersion: v1alpha1.GroupVersion.String(), Kind: "Scope", Name: scope.Name, UID: scope.UID, Controller: &yes,
		}},
	}
}

// Decided says whether the Placement has a decision on its current spec. Without one its clusters say nothing.
func Decided(placement *v1alpha1.Placement) bool {
	if placement == nil {
		return false
	}
	decided := meta.FindStatusCondition(placement.Status.Conditions, v1alpha1.ConditionDecided)
	return decided != nil && decided.Status == metav1.ConditionTrue && decided.ObservedGeneration == placement.Generation &&
		placement.Status.ObservedGeneration == placement.Generation
}

// Placed is the condition that a Placement makes.
func Placed(placement *v1alpha1.Placement) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionPlaced, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonUndecided}
	if !Decided(placement) {
		c.Message = "which clusters are selected is not decided; what stood before stays"
		why := meta.FindStatusCondition(placement.Status.Conditions, v1alpha1.ConditionDecided)
		if why != nil && why.Status == metav1.ConditionFalse && why.ObservedGeneration == placement.Generation {
			c.Message = why.Message
		}
		return c
	}
	c.Status, c.Reason = metav1.ConditionTrue, v1alpha1.ReasonPlaced
	c.Message = fmt.Sprintf("%s %s selected", v1alpha1.Counted(len(placement.Status.Clusters), "cluster"), v1alpha1.Agreeing(len(placement.Status.Clusters), "is", "are"))
	if len(placement.Status.Clusters) == 0 {
		c.Reason, c.Message = v1alpha1.ReasonNoClusters, "no cluster is selected"
	}
	return c
}

// Reachable is the condition of the way through the hub.
func Reachable(placement *v1alpha1.Placement) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionReachable}
	if !Decided(placement) {
		c.Status, c.Reason = metav1.ConditionFalse, v1alpha1.ReasonUndecided
		c.Message = "which clusters are selected is not decided; those that could be reached still can"
		return c
	}
	c.Status, c.Reason = metav1.ConditionTrue, v1alpha1.ReasonReachable
	c.Message = "the hub lets its people through to " + v1alpha1.Counted(len(placement.Status.Clusters), "cluster")
	return c
}

// Delivered is the condition that a Package makes.
func Delivered(pkg *v1alpha1.Package) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionDelivered, Status: metav1.ConditionUnknown, Reason: v1alpha1.ReasonDelivering}
	ready := meta.FindStatusCondition(pkg.Status.Conditions, v1alpha1.ConditionReady)
	if !pkg.DeletionTimestamp.IsZero() {
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, v1alpha1.ReasonDeleting, "clusters are giving up the bindings"
		if is := meta.FindStatusCondition(pkg.Status.Conditions, v1alpha1.ConditionDelivered); is != nil && is.Reason == v1alpha1.ReasonDeleting {
			c.Message = is.Message
		}
		return c
	}
	if ready == nil || ready.ObservedGeneration != pkg.Generation {
		c.Message = fmt.Sprintf("package %s/%s has not been looked at yet", pkg.Namespace, pkg.Name)
		return c
	}
	c.Status, c.Reason, c.Message = ready.Status, ready.Reason, ready.Message
	return c
}
