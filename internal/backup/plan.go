package backup

import (
	"cmp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"umbel.dev/umbel/api/v1alpha1"
)

// Host says whose API a hub runs on.
type Host int

const (
	// Shared with others: what concerns Umbel alone is the hub's.
	Shared Host = iota
	// Own: everything that people put there is the hub's.
	Own
)

// Guard is the ConfigMap in SystemNamespace that stands while a hub is being restored. Its key guardID has the archive's ID.
const Guard, guardID = "umbel-restore", "backup"

// RulesKind is that of rules that a hub evaluates, of monitoring.coreos.com. An API may lack it.
const RulesKind = "PrometheusRule"

// Belongs says whether an object is part of a hub. Its kind is one that Take lists.
func Belongs(o *unstructured.Unstructured, host Host) bool {
	if o.GroupVersionKind().Group == v1alpha1.GroupVersion.Group {
		return true
	}
	system := o.GetNamespace() == v1alpha1.SystemNamespace
	switch o.GetKind() {
	case "Namespace":
		return !strings.HasPrefix(o.GetName(), "kube-")
	case "Secret":
		kind, _, _ := unstructured.NestedString(o.Object, "type")
		passing := kind == "kubernetes.io/service-account-token" || strings.HasPrefix(kind, "helm.sh/")
		return (system || host == Own) && !passing && !installed(o)
	case "ConfigMap":
		return (system || host == Own) && o.GetName() != "kube-root-ca.crt" && o.GetName() != Guard && !installed(o)
	case "ServiceAccount":
		return o.GetName() != "default" && !installed(o) && (system || host == Own || mentions(o))
	case RulesKind:
		return (system || host == Own) && !installed(o)
	case "Role", "RoleBinding":
		return !installed(o) && (system || host == Own || mentions(o))
	case "ClusterRole", "ClusterRoleBinding":
		_, builtIn := o.GetLabels()["kubernetes.io/bootstrapping"]
		return !builtIn && !strings.HasPrefix(o.GetName(), "system:") && !installed(o) && (host == Own || mentions(o))
	}
	return false
}

// installed says whether Helm made the object. Its chart makes it again, and takes over nothing that is there.
func installed(o *unstructured.Unstructured) bool {
	return o.GetLabels()["app.kubernetes.io/managed-by"] == "Helm"
}

// keyOf names a role among all, and boundBy the role that a binding gives; empty for what is neither.
func keyOf(o *unstructured.Unstructured) string {
	if kind := o.GetKind(); kind == "Role" || kind == "ClusterRole" {
		return kind + "/" + o.GetNamespace() + "/" + o.GetName()
	}
	return ""
}

func boundBy(o *unstructured.Unstructured) string {
	kind, _, _ := unstructured.NestedString(o.Object, "roleRef", "kind")
	name, _, _ := unstructured.NestedString(o.Object, "roleRef", "name")
	switch kind {
	case "Role":
		return kind + "/" + o.GetNamespace() + "/" + name
	case "ClusterRole":
		return kind + "//" + name
	}
	return ""
}

// mentions says whether a role names our kinds, or a binding our roles or people.
func mentions(o *unstructured.Unstructured) bool {
	if strings.HasPrefix(o.GetName(), "umbel") || o.GetLabels()["app.kubernetes.io/part-of"] == "umbel" {
		return true
	}
	rules, _, _ := unstructured.NestedSlice(o.Object, "rules")
	for _, r := range rules {
		rule, _ := r.(map[string]any)
		groups, _, _ := unstructured.NestedStringSlice(rule, "apiGroups")
		if slices.Contains(groups, v1alpha1.GroupVersion.Group) {
			return true
		}
	}
	role, _, _ := unstructured.NestedString(o.Object, "roleRef", "name")
	if strings.HasPrefix(role, "umbel") {
		return true
	}
	subjects, _, _ := unstructured.NestedSlice(o.Object, "subjects")
	return slices.ContainsFunc(subjects, func(s any) bool {
		subject, _ := s.(map[string]any)
		name, _ := subject["name"].(string)
		return strings.HasPrefix(name, "umbel:")
	})
}

// Bare takes off an object what the API gave it, but for what Restored has to know: UID, generation, deletion timestamp.
func Bare(o *unstructured.Unstructured) {
	o.SetManagedFields(nil)
	o.SetResourceVersion("")
	o.SetSelfLink("")
}

// order says in which order kinds are restored. Kinds of ours that are not named come before what they may own.
var order = []string{"Namespace", "ServiceAccount", "Secret", "ConfigMap", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "MemberCluster", "Placement", "Package"}

// Sort brings objects into the order in which they are restored: those that are owned by others last.
func Sort(objects []*unstructured.Unstructured) {
	rank := func(o *unstructured.Unstructured) int {
		if len(o.GetOwnerReferences()) > 0 {
			return len(order) + 1
		}
		if i := slices.Index(order, o.GetKind()); i >= 0 {
			return i
		}
		return len(order)
	}
	slices.SortStableFunc(objects, func(a, b *unstructured.Unstructured) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), strings.Compare(a.GetKind(), b.GetKind()),
			strings.Compare(a.GetNamespace(), b.GetNamespace()), strings.Compare(a.GetName(), b.GetName()))
	})
}

// Restored returns an object as it is to be created. uids has the new UID of each old one that is known. at says of which
// time the backup is.
func Restored(o *unstructured.Unstructured, uids map[types.UID]types.UID, at string) *unstructured.Unstructured {
	fresh := o.DeepCopy()
	for _, field := range []string{"uid", "generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion"} {
		unstructured.RemoveNestedField(fresh.Object, "metadata", field)
	}
	unstructured.RemoveNestedField(fresh.Object, "status")
	var owners []metav1.OwnerReference
	for _, owner := range o.GetOwnerReferences() {
		if now, known := uids[owner.UID]; known {
			owner.UID = now
			owners = append(owners, owner)
		}
	}
	fresh.SetOwnerReferences(owners)
	if o.GetKind() == "Namespace" {
		unstructured.RemoveNestedField(fresh.Object, "spec")
	}
	if o.GetKind() == "ServiceAccount" {
		unstructured.RemoveNestedField(fresh.Object, "secrets")
	}
	if kind := o.GetKind(); (kind == "Package" || kind == "Rollout") && o.GetDeletionTimestamp() == nil {
		annotations := fresh.GetAnnotations()
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[v1alpha1.RestoredAnnotation] = at
		fresh.SetAnnotations(annotations)
	}
	return fresh
}

// Status returns the status of an object for one that was created anew in a generation: what was observed of the last
// generation is observed of this one, and what was not is of none.
func Status(o *unstructured.Unstructured, generation int64) (map[string]any, bool) {
	status, _, _ := unstructured.NestedMap(o.Object, "status")
	if len(status) == 0 {
		return nil, false
	}
	switch o.GetKind() {
	case "MemberCluster":
		delete(status, "session") // no agent is in session with a hub that is not there yet
	case "Package":
		delete(status, "conditions") // what package delivery says of it, it is to say anew (see v1alpha1.RestoredAnnotation)
	}
	observed(status, o.GetGeneration(), generation)
	return status, true
}

func observed(at any, before, now int64) {
	switch value := at.(type) {
	case map[string]any:
		for key, inner := range value {
			if seen, ok := inner.(int64); ok && key == "observedGeneration" {
				value[key] = int64(0)
				if seen == before {
					value[key] = now
				}
				continue
			}
			observed(inner, before, now)
		}
	case []any:
		for _, inner := range value {
			observed(inner, before, now)
		}
	}
}
