package health

import (
	"cmp"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// Level says how bad something is.
type Level string

// The levels, the worst first.
const (
	// Critical: a cluster or the hub is out of reach, or nobody knows how it is.
	Critical Level = "Critical"
	// Failing: what somebody asked for is not so, and does not become so by itself.
	Failing Level = "Failing"
	// Waiting: it stands still until somebody decides.
	Waiting Level = "Waiting"
	// Warning: nothing is lost yet, or it was left so on purpose.
	Warning Level = "Warning"
)

// Levels are all of them, the worst first.
var Levels = []Level{Critical, Failing, Waiting, Warning}

// Kind says what a finding is about, as the command line names kinds.
type Kind string

// The kinds, in the order in which they are told of.
const (
	Hub       Kind = "hub"
	Replica   Kind = "replica"
	Cluster   Kind = "cluster"
	Managed   Kind = "managed cluster"
	Provider  Kind = "provider"
	Upgrade   Kind = "agentupgrade"
	Rollout   Kind = "rollout"
	Package   Kind = "package"
	Placement Kind = "placement"
	Scope     Kind = "scope"
	Alert     Kind = "alert"
)

var kinds = []Kind{Hub, Replica, Cluster, Managed, Provider, Upgrade, Rollout, Package, Placement, Scope, Alert}

// Finding is one thing that is wrong.
type Finding struct {
	// Level says how bad it is.
	Level Level `json:"level"`
	// Kind, Namespace and Name say what it is about; Namespace is empty for what is in none, and both for the hub. Of an alert Namespace is the cluster.
	Kind      Kind   `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	// Reason is one word for what is wrong, the same for all of which it is: that of a condition, where one says so.
	Reason string `json:"reason"`
	// Message says in a sentence what, where and why.
	Message string `json:"message,omitempty"`
	// Since is when it became so; absent when nobody knows.
	Since *metav1.Time `json:"since,omitempty"`
	// Command shows more, or is what there is to do.
	Command string `json:"command,omitempty"`
}

// Object names what a finding is about: cluster/prod-eu, package/default/shop, alert/prod-eu/node-1, or hub.
func (f *Finding) Object() string {
	text := string(f.Kind)
	for _, part := range []string{f.Namespace, f.Name} {
		if part != "" {
			text += "/" + part
		}
	}
	return text
}

// Wrong says whether a finding is more than a warning or something that waits for somebody.
func (f *Finding) Wrong() bool { return f.Level == Critical || f.Level == Failing }

func rank[T comparable](of T, in []T) int {
	if i := slices.Index(in, of); i >= 0 {
		return i
	}
	return len(in)
}

// Sort puts findings into their order: the worst first, then by kind and reason, then what has lasted longest.
func Sort(all []Finding) {
	slices.SortStableFunc(all, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(rank(a.Level, Levels), rank(b.Level, Levels)), cmp.Compare(rank(a.Kind, kinds), rank(b.Kind, kinds)),
			cmp.Compare(a.Reason, b.Reason), a.since().Compare(b.since()), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
}

func (f *Finding) since() time.Time {
	if f.Since == nil {
		return time.Time{}
	}
	return f.Since.Time
}

// Group is findings that are told of together: one, or many of one kind for one reason.
type Group struct {
	// Finding is the first of them: the one that has lasted longest.
	Finding
	// Names are all of them, in their order.
	Names []string
}

// Gather puts sorted findings of the same level, kind and reason together, where there are more than so many.
func Gather(sorted []Finding, most int) (groups []Group) {
	for at := 0; at < len(sorted); {
		first := sorted[at]
		end := at + 1
		for end < len(sorted) && sorted[end].Level == first.Level && sorted[end].Kind == first.Kind && sorted[end].Reason == first.Reason {
			end++
		}
		alike := sorted[at:end]
		at = end
		if len(alike) <= most {
			for _, f := range alike {
				groups = append(groups, Group{Finding: f, Names: []string{f.Object()}})
			}
			continue
		}
		g := Group{Finding: first}
		for i := range alike {
			g.Names = append(g.Names, alike[i].Object())
		}
		g.Command = all(first.Kind)
		groups = append(groups, g)
	}
	return groups
}

// all is the command that lists the objects of a kind, with their reasons.
func all(kind Kind) string {
	switch kind {
	case Cluster:
		return "umbel get clusters -o wide"
	case Package:
		return "umbel get packages -A -o wide"
	case Rollout:
		return "umbel get rollouts -A -o wide"
	case Placement:
		return "umbel get placements -A -o wide"
	case Scope:
		return "umbel get scopes -o wide"
	case Managed:
		return "umbel cluster get -A -o wide"
	case Provider:
		return "umbel provider list -o wide"
	}
	return "umbel status -o wide"
}

// in is the flag that a command needs for an object in a namespace.
func in(namespace string) string {
	if namespace == metav1.NamespaceDefault {
		return ""
	}
	return " -n " + namespace
}

// condition makes a finding of one.
func condition(level Level, kind Kind, object metav1.Object, c *metav1.Condition, command string) Finding {
	f := Finding{
		Level: level, Kind: kind, Namespace: object.GetNamespace(), Name: object.GetName(), Reason: c.Reason, Message: c.Message, Command: command,
	}
	if !c.LastTransitionTime.IsZero() {
		f.Since = c.LastTransitionTime.DeepCopy()
	}
	return f
}

// ofScope says whether an object is what a Scope makes for itself.
func ofScope(object metav1.Object) bool {
	prefix := v1alpha1.ScopePackage("")
	name := object.GetName()
	return object.GetNamespace() == v1alpha1.SystemNamespace && len(name) > len(prefix) && name[:len(prefix)] == prefix
}
