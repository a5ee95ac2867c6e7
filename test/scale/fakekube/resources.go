package fakekube

import (
	"encoding/json"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/version"
)

// Version is what the server says that it is.
const Version = "v1.36.4"

// resource is a kind that the server has.
type resource struct {
	schema.GroupVersionKind
	name       string // plural
	namespaced bool
	fields     *managedfields.FieldManager
}

// resources are the kinds of every server.
var resources = []*resource{
	kind("", "v1", "Namespace", "namespaces", false),
	kind("", "v1", "ConfigMap", "configmaps", true),
	kind("", "v1", "Secret", "secrets", true),
	kind("", "v1", "Service", "services", true),
	kind("", "v1", "ServiceAccount", "serviceaccounts", true),
	kind("rbac.authorization.k8s.io", "v1", "Role", "roles", true),
	kind("about.k8s.io", "v1beta1", "ClusterProperty", "clusterproperties", false),
}

func kind(group, version, name, plural string, namespaced bool) *resource {
	gvk := schema.GroupVersionKind{Group: group, Version: version, Kind: name}
	return &resource{gvk, plural, namespaced, fieldManager(gvk)}
}

func find(gv schema.GroupVersion, name string) *resource {
	for _, r := range resources {
		if r.GroupVersion() == gv && r.name == name {
			return r
		}
	}
	return nil
}

// discovery is the answer to GET /api or GET /apis: what there is, aggregated.
func discovery(core bool) []byte {
	var list apidiscoveryv2.APIGroupDiscoveryList
	list.TypeMeta = metav1.TypeMeta{Kind: "APIGroupDiscoveryList", APIVersion: "apidiscovery.k8s.io/v2"}
	at := map[string]int{}
	for _, r := range resources {
		if (r.Group == "") != core {
			continue
		}
		i, known := at[r.Group]
		if !known {
			i = len(list.Items)
			at[r.Group] = i
			list.Items = append(list.Items, apidiscoveryv2.APIGroupDiscovery{
				ObjectMeta: metav1.ObjectMeta{Name: r.Group},
				Versions:   []apidiscoveryv2.APIVersionDiscovery{{Version: r.Version, Freshness: apidiscoveryv2.DiscoveryFreshnessCurrent}},
			})
		}
		scope := apidiscoveryv2.ScopeCluster
		if r.namespaced {
			scope = apidiscoveryv2.ScopeNamespace
		}
		versions := list.Items[i].Versions
		versions[0].Resources = append(versions[0].Resources, apidiscoveryv2.APIResourceDiscovery{
			Resource: r.name, Scope: scope, Verbs: []string{"delete", "get", "list", "patch", "watch"},
			ResponseKind: &metav1.GroupVersionKind{Group: r.Group, Version: r.Version, Kind: r.Kind},
		})
	}
	return mustJSON(list)
}

// What is the same on every server, and answered often.
var (
	coreDiscovery  = discovery(true)
	groupDiscovery = discovery(false)
	versionAnswer  = mustJSON(version.Info{Major: "1", Minor: "36", GitVersion: Version, Platform: "fake/memory"})
)

func mustJSON(o any) []byte {
	raw, err := json.Marshal(o)
	if err != nil {
		panic(err) // a value of this package's own
	}
	return raw
}
