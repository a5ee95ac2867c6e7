package get

import (
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/view"
)

// column is one column of the table of a kind.
type column[T any] struct {
	header string
	cell   func(view.Moment, *T) output.Cell
}

// columns are those of a kind: those that are always shown, and those that -o wide adds.
type columns[T any] struct {
	always, wide []column[T]
}

var clusterColumns = columns[v1alpha1.MemberCluster]{
	always: []column[v1alpha1.MemberCluster]{
		{"NAME", func(_ view.Moment, c *v1alpha1.MemberCluster) output.Cell { return output.Text(c.Name) }},
		{"READY", view.Moment.ClusterReady},
		{"CONNECTED", view.Moment.Connected},
		{"KUBERNETES", func(_ view.Moment, c *v1alpha1.MemberCluster) output.Cell {
			return output.Text(c.Status.KubernetesVersion)
		}},
		{"PACKAGES", func(_ view.Moment, c *v1alpha1.MemberCluster) output.Cell { return view.Held(c) }},
		{"LEVEL", func(_ view.Moment, c *v1alpha1.MemberCluster) output.Cell { return output.Text(view.Level(c)) }},
		{"AGE", func(m view.Moment, c *v1alpha1.MemberCluster) output.Cell { return m.Age(c.CreationTimestamp) }},
	},
	wide: []column[v1alpha1.MemberCluster]{
		{"AGENT", func(_ view.Moment, c *v1alpha1.MemberCluster) output.Cell { return output.Text(c.Status.AgentVersion) }},
		{"LAST SEEN", view.Moment.LastSeen},
		{"CERTIFICATES", view.Moment.Certificates},
		{"LABELS", func(_ view.Moment, c *v1alpha1.MemberCluster) output.Cell {
			return output.Text(view.Labels(c.Labels))
		}},
		{"TAINTS", func(_ view.Moment, c *v1alpha1.MemberCluster) output.Cell {
			return output.Text(view.Taints(c.Spec.Taints))
		}},
		{"REASON", func(_ view.Moment, c *v1alpha1.MemberCluster) output.Cell {
			return output.Text(view.Message(c.Status.Conditions))
		}},
	},
}

var packageColumns = columns[v1alpha1.Package]{
	always: []column[v1alpha1.Package]{
		{"NAME", func(_ view.Moment, p *v1alpha1.Package) output.Cell { return output.Text(p.Name) }},
		{"READY", view.Moment.PackageReady},
		{"CLUSTERS", func(_ view.Moment, p *v1alpha1.Package) output.Cell { return output.Text(p.Status.Clusters.Summary) }},
		{"REVISION", func(_ view.Moment, p *v1alpha1.Package) output.Cell {
			return output.Text(view.Revision(p.Status.Revision))
		}},
		{"AGE", func(m view.Moment, p *v1alpha1.Package) output.Cell { return m.Age(p.CreationTimestamp) }},
	},
	wide: []column[v1alpha1.Package]{
		{"PLACEMENT", func(_ view.Moment, p *v1alpha1.Package) output.Cell { return output.Text(p.Spec.PlacementRef.Name) }},
		{"PATH", func(_ view.Moment, p *v1alpha1.Package) output.Cell {
			return output.Text(view.SourceOf(p.Spec.Source).Path)
		}},
		{"MESSAGE", func(_ view.Moment, p *v1alpha1.Package) output.Cell {
			return output.Text(view.Message(p.Status.Conditions))
		}},
	},
}

var placementColumns = columns[v1alpha1.Placement]{
	always: []column[v1alpha1.Placement]{
		{"NAME", func(_ view.Moment, p *v1alpha1.Placement) output.Cell { return output.Text(p.Name) }},
		{"READY", view.Moment.PlacementReady},
		{"SELECTED", func(_ view.Moment, p *v1alpha1.Placement) output.Cell {
			return output.Text(selected(p))
		}},
		{"AGE", func(m view.Moment, p *v1alpha1.Placement) output.Cell { return m.Age(p.CreationTimestamp) }},
	},
	wide: []column[v1alpha1.Placement]{
		{"SELECTOR", func(_ view.Moment, p *v1alpha1.Placement) output.Cell {
			return output.Text(view.Means(&p.Spec))
		}},
		{"CLUSTERS", func(_ view.Moment, p *v1alpha1.Placement) output.Cell { return output.Text(first(p.Status.Clusters)) }},
		{"MESSAGE", func(_ view.Moment, p *v1alpha1.Placement) output.Cell {
			return output.Text(view.Message(p.Status.Conditions))
		}},
	},
}

var releaseColumns = columns[v1alpha1.Release]{
	always: []column[v1alpha1.Release]{
		{"NAME", func(_ view.Moment, r *v1alpha1.Release) output.Cell { return output.Text(r.Name) }},
		{"PACKAGE", func(_ view.Moment, r *v1alpha1.Release) output.Cell { return output.Text(r.Spec.PackageRef.Name) }},
		{"REVISION", func(_ view.Moment, r *v1alpha1.Release) output.Cell {
			return output.Text(view.Revision(r.Spec.Revision))
		}},
		{"OBJECTS", func(_ view.Moment, r *v1alpha1.Release) output.Cell { return output.Text(objects(r.Spec.Variants)) }},
		{"VARIANTS", func(_ view.Moment, r *v1alpha1.Release) output.Cell {
			return output.Text(strconv.Itoa(len(r.Spec.Variants)))
		}},
		{"AGE", func(m view.Moment, r *v1alpha1.Release) output.Cell { return m.Age(r.CreationTimestamp) }},
	},
	wide: []column[v1alpha1.Release]{
		{"SIZE", func(_ view.Moment, r *v1alpha1.Release) output.Cell { return output.Text(size(r.Spec.Variants)) }},
		{"PATH", func(_ view.Moment, r *v1alpha1.Release) output.Cell {
			return output.Text(view.SourceOf(r.Spec.Source).Path)
		}},
		{"VARIABLES", func(_ view.Moment, r *v1alpha1.Release) output.Cell {
			return output.Text(strings.Join(r.Spec.Variables, ","))
		}},
	},
}

var rolloutColumns = columns[v1alpha1.Rollout]{
	always: []column[v1alpha1.Rollout]{
		{"NAME", func(_ view.Moment, r *v1alpha1.Rollout) output.Cell { return output.Text(r.Name) }},
		{"PACKAGE", func(_ view.Moment, r *v1alpha1.Rollout) output.Cell { return output.Text(r.About()) }},
		{"RELEASE", func(_ view.Moment, r *v1alpha1.Rollout) output.Cell { return output.Text(r.Spec.Release) }},
		{"PHASE", view.Moment.RolloutPhase},
		{"MOVED", func(_ view.Moment, r *v1alpha1.Rollout) output.Cell {
			return output.Text(fmt.Sprintf("%d/%d", r.Status.Moved, r.Status.Clusters))
		}},
		{"FAILED", func(_ view.Moment, r *v1alpha1.Rollout) output.Cell {
			return output.Text(strconv.Itoa(int(r.Status.Failed)))
		}},
		{"AGE", func(m view.Moment, r *v1alpha1.Rollout) output.Cell { return m.Age(r.CreationTimestamp) }},
	},
	wide: []column[v1alpha1.Rollout]{
		{"PURPOSE", func(_ view.Moment, r *v1alpha1.Rollout) output.Cell { return output.Text(string(r.Spec.Purpose)) }},
		{"PREVIOUS", func(_ view.Moment, r *v1alpha1.Rollout) output.Cell { return output.Text(r.Spec.Previous) }},
		{"HEALTHY", func(_ view.Moment, r *v1alpha1.Rollout) output.Cell {
			return output.Text(strconv.Itoa(int(r.Status.Available)))
		}},
		{"OFFLINE", func(_ view.Moment, r *v1alpha1.Rollout) output.Cell {
			return output.Text(strconv.Itoa(int(r.Status.Offline)))
		}},
		{"MESSAGE", func(_ view.Moment, r *v1alpha1.Rollout) output.Cell { return output.Text(view.RolloutMessage(r)) }},
	},
}

var planColumns = columns[v1alpha1.Plan]{
	always: []column[v1alpha1.Plan]{
		{"NAME", func(_ view.Moment, p *v1alpha1.Plan) output.Cell { return output.Text(p.Name) }},
		{"PACKAGE", func(_ view.Moment, p *v1alpha1.Plan) output.Cell { return output.Text(p.Spec.PackageRef.Name) }},
		{"CLUSTERS", func(_ view.Moment, p *v1alpha1.Plan) output.Cell {
			return output.Text(strconv.Itoa(int(p.Spec.Clusters)))
		}},
		{"CHANGES", func(_ view.Moment, p *v1alpha1.Plan) output.Cell { return output.Text(p.Spec.Summary) }},
		{"AGE", func(m view.Moment, p *v1alpha1.Plan) output.Cell { return m.Age(p.CreationTimestamp) }},
	},
	wide: []column[v1alpha1.Plan]{
		{"CONTENTS", func(_ view.Moment, p *v1alpha1.Plan) output.Cell {
			return output.Text(strconv.Itoa(len(p.Spec.Contents)))
		}},
		{"SOURCE", func(_ view.Moment, p *v1alpha1.Plan) output.Cell { return output.Text(p.Spec.Source) }},
	},
}

var scopeColumns = columns[v1alpha1.Scope]{
	always: []column[v1alpha1.Scope]{
		{"NAME", func(_ view.Moment, s *v1alpha1.Scope) output.Cell { return output.Text(s.Name) }},
		{"READY", view.Moment.ScopeReady},
		{"ROLE", func(_ view.Moment, s *v1alpha1.Scope) output.Cell { return output.Text(s.Spec.Role) }},
		{"CLUSTERS", func(_ view.Moment, s *v1alpha1.Scope) output.Cell { return output.Text(s.Status.Clusters.Summary) }},
		{"NAMESPACES", func(_ view.Moment, s *v1alpha1.Scope) output.Cell { return output.Text(first(s.Spec.Namespaces)) }},
		{"AGE", func(m view.Moment, s *v1alpha1.Scope) output.Cell { return m.Age(s.CreationTimestamp) }},
	},
	wide: []column[v1alpha1.Scope]{
		{"USERS", func(_ view.Moment, s *v1alpha1.Scope) output.Cell { return output.Text(first(s.Spec.Users)) }},
		{"GROUPS", func(_ view.Moment, s *v1alpha1.Scope) output.Cell { return output.Text(first(s.Spec.Groups)) }},
		{"SERVICEACCOUNTS", func(_ view.Moment, s *v1alpha1.Scope) output.Cell { return output.Text(first(s.Spec.ServiceAccounts)) }},
		{"SELECTOR", func(_ view.Moment, s *v1alpha1.Scope) output.Cell {
			return output.Text(view.Selector(s.Spec.ClusterSelector))
		}},
		{"MESSAGE", func(_ view.Moment, s *v1alpha1.Scope) output.Cell {
			return output.Text(view.Message(s.Status.Conditions))
		}},
	},
}

// selected is how many clusters a placement selects, of how many that it asks for where it does.
func selected(p *v1alpha1.Placement) string {
	if wanted := p.Spec.NumberOfClusters; wanted != nil {
		return fmt.Sprintf("%d/%d", p.Status.Selected, *wanted)
	}
	return strconv.Itoa(int(p.Status.Selected))
}

// first gives the first few names and counts the rest.
func first[T ~string](names []T) string {
	const few = 5
	var shown []string
	for _, name := range names[:min(few, len(names))] {
		shown = append(shown, string(name))
	}
	text := strings.Join(shown, ",")
	if len(names) > few {
		text += fmt.Sprintf(",… and %d more", len(names)-few)
	}
	return text
}

// objects is how many objects the variants hold: one number where all hold the same, else the least and the most.
func objects(variants []v1alpha1.Variant) string {
	if len(variants) == 0 {
		return ""
	}
	least, most := variants[0].Objects, variants[0].Objects
	for _, variant := range variants {
		least, most = min(least, variant.Objects), max(most, variant.Objects)
	}
	if least == most {
		return strconv.Itoa(int(least))
	}
	return fmt.Sprintf("%d-%d", least, most)
}

func size(variants []v1alpha1.Variant) string {
	var bytes int64
	for _, variant := range variants {
		bytes += variant.Size
	}
	return resource.NewQuantity(bytes, resource.BinarySI).String()
}
