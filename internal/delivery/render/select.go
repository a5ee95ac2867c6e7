package render

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"umbel.dev/umbel/internal/delivery/variable"
)

// Annotations of objects that say on which clusters, and in which namespaces, an object is wanted. All but the first are
// Config Sync's.
const (
	clusterSelectorInline = "umbel.dev/cluster-selector"
	clusterSelectorNamed  = "configmanagement.gke.io/cluster-selector"
	clusterNames          = "configsync.gke.io/cluster-name-selector"
	namespaceSelector     = "configmanagement.gke.io/namespace-selector"
	localConfig           = "config.kubernetes.io/local-config"
)

// Kinds that say something to whoever reads the source, and nothing to a cluster.
const (
	configManagement = "configmanagement.gke.io"
	kindCluster      = "ClusterSelector"
	kindNamespace    = "NamespaceSelector"
)

// condition says on which clusters an object is wanted: those where of each clause at least one selector is true.
type condition [][]string

func (c condition) holds(known map[string]string) bool {
	return !slices.ContainsFunc(c, func(clause []string) bool {
		return !slices.ContainsFunc(clause, func(selector string) bool { return known[selector] == "true" })
	})
}

// kindOf returns an object's API group and kind.
func kindOf(o object) (group, kind string) {
	version, _ := o.fields["apiVersion"].(string)
	kind, _ = o.fields["kind"].(string)
	if at := strings.Index(version, "/"); at >= 0 {
		group = version[:at]
	}
	return group, kind
}

func isNamespace(o object) bool {
	group, kind := kindOf(o)
	return group == "" && kind == "Namespace"
}

// isLocal says whether an object is for tools that read the source: it is of a kind that no cluster has, or says so. What
// Config Sync, Argo CD and Flux read in a cluster (RootSync, Application and so on) is an object like any other.
func isLocal(o object) bool {
	group, kind := kindOf(o)
	switch group {
	case configManagement:
		return kind == "Repo" || kind == "HierarchyConfig"
	case "clusterregistry.k8s.io":
		return kind == "Cluster"
	case "kpt.dev":
		return kind == "Kptfile"
	}
	local, given := text(o, "annotations", localConfig)
	return given && local != "false"
}

// hooks are the annotations by which other tools know what they run before or after something, and do not hold.
var hooks = []string{"argocd.argoproj.io/hook", "helm.sh/hook"}

// refuseHooks refuses what is to be run and not to be held: to hold it would run it at other times than was meant, and to
// leave it out would leave out a step.
func refuseHooks(found []object) error {
	var errs problems
	for _, o := range found {
		for _, annotation := range hooks {
			if value, is := text(o, "annotations", annotation); is && !isLocal(o) {
				errs.add(wrong(o, "metadata.annotations."+annotation, `this is a hook (%s), and hooks are not run here: remove the annotation to have the object held like any other, or leave it out by the annotation %s: "true"`, value, localConfig))
			}
		}
	}
	return errs.err()
}

// text returns a label or an annotation of a checked object.
func text(o object, field, key string) (value string, given bool) {
	metadata, _ := o.fields["metadata"].(map[string]any)
	entries, _ := metadata[field].(map[string]any)
	value, given = entries[key].(string)
	return value, given
}

// settled is what is known of a source while it is worked out what is wanted where.
type settled struct {
	clusters   map[string]string          // ClusterSelectors by name, as variables
	namespaces map[string]labels.Selector // NamespaceSelectors by name
	declared   map[string][]object        // Namespaces by name, each with its condition
}

// settle turns what stands in a source into what clusters are to hold. Objects have been checked.
func settle(folder string, found []object) ([]object, error) {
	hierarchy, err := hierarchyOf(folder, found)
	if err != nil {
		return nil, err
	}
	s, found, err := selectorsOf(found)
	if err != nil {
		return nil, err
	}
	var errs problems
	for i := range found {
		var err error
		found[i].wanted, err = s.wanted(found[i])
		errs.add(err)
		if isNamespace(found[i]) {
			name := identify(found[i].fields).Name
			s.declared[name] = append(s.declared[name], found[i])
		}
	}
	if err := errs.err(); err != nil {
		return nil, err
	}
	if hierarchy != nil {
		if found, err = hierarchy.inherit(found); err != nil {
			return nil, err
		}
	}
	var placed []object
	for _, o := range found {
		copies, err := s.place(o, hierarchy != nil)
		errs.add(err)
		placed = append(placed, copies...)
	}
	return placed, errs.err()
}

// selectorsOf takes the selectors, and what is for nobody's cluster, out of the objects.
func selectorsOf(found []object) (*settled, []object, error) {
	s := &settled{clusters: map[string]string{}, namespaces: map[string]labels.Selector{}, declared: map[string][]object{}}
	var rest []object
	var errs problems
	for _, o := range found {
		group, kind := kindOf(o)
		switch {
		case isLocal(o):
		case group == configManagement && kind == kindCluster:
			errs.add(s.clusterSelector(o))
		case group == configManagement && kind == kindNamespace:
			errs.add(s.namespaceSelector(o))
		default:
			rest = append(rest, o)
		}
	}
	return s, rest, errs.err()
}

// spec reads the selector of a ClusterSelector or NamespaceSelector.
func selectorSpec(o object) (selector *metav1.LabelSelector, mode string, err error) {
	for _, annotation := range []string{clusterSelectorInline, clusterSelectorNamed, clusterNames, namespaceSelector} {
		if _, given := text(o, "annotations", annotation); given {
			return nil, "", wrong(o, "metadata.annotations."+annotation, "a selector is the same for all clusters and namespaces: remove the annotation")
		}
	}
	raw, err := json.Marshal(o.fields["spec"])
	if err != nil {
		return nil, "", wrong(o, "spec", "%w", err)
	}
	var spec struct {
		Selector *metav1.LabelSelector `json:"selector"`
		Mode     string                `json:"mode"`
	}
	if err := json.Unmarshal(raw, &spec); err != nil {
		return nil, "", wrong(o, "spec", "cannot be read: %w", err)
	}
	if spec.Selector == nil {
		return nil, "", wrong(o, "spec.selector", "is missing")
	}
	return spec.Selector, spec.Mode, nil
}

func (s *settled) clusterSelector(o object) error {
	spec, _, err := selectorSpec(o)
	if err != nil {
		return err
	}
	selector, err := variable.Matching(spec)
	if err != nil {
		return wrong(o, "spec.selector", "%w", err)
	}
	name := identify(o.fields).Name
	if _, twice := s.clusters[name]; twice {
		return wrong(o, "metadata.name", "there is another ClusterSelector of this name")
	}
	s.clusters[name] = selector
	return nil
}

func (s *settled) namespaceSelector(o object) error {
	spec, mode, err := selectorSpec(o)
	if err != nil {
		return err
	}
	if mode != "" && mode != "static" {
		return wrong(o, "spec.mode", "%q is not known here: only namespaces of the source are selected, mode static", mode)
	}
	selector, err := metav1.LabelSelectorAsSelector(spec)
	if err == nil && selector.Empty() {
		err = variable.ErrSelectsAll
	}
	if err != nil {
		return wrong(o, "spec.selector", "%w", err)
	}
	name := identify(o.fields).Name
	if _, twice := s.namespaces[name]; twice {
		return wrong(o, "metadata.name", "there is another NamespaceSelector of this name")
	}
	s.namespaces[name] = selector
	return nil
}

// wanted reads the annotation that says on which clusters an object is wanted, of which there may be one.
func (s *settled) wanted(o object) (condition, error) {
	first := ""
	var selector string
	for _, annotation := range []string{clusterSelectorInline, clusterSelectorNamed, clusterNames} {
		value, given := text(o, "annotations", annotation)
		if !given {
			continue
		}
		field := "metadata.annotations." + annotation
		if first != "" {
			return nil, wrong(o, field, "there is %s already, and an object has one selector of clusters", first)
		}
		first = annotation
		if refersTo(value) {
			return nil, wrong(o, field, "variables are not put into selectors")
		}
		var err error
		if selector, err = s.selector(annotation, value); err != nil {
			return nil, wrong(o, field, "%w", err)
		}
	}
	if first == "" {
		return nil, nil
	}
	return condition{{selector}}, nil
}

func (s *settled) selector(annotation, value string) (string, error) {
	switch annotation {
	case clusterSelectorInline:
		return variable.Parse(value)
	case clusterNames:
		return variable.Named(strings.Split(value, ","))
	}
	if selector, known := s.clusters[value]; known {
		return selector, nil
	}
	return "", fmt.Errorf("there is no ClusterSelector %q in the source", value)
}

// place puts an object into the namespaces that it asks for, and makes it wanted where its namespace is.
func (s *settled) place(o object, hierarchical bool) ([]object, error) {
	if isNamespace(o) {
		return []object{o}, nil
	}
	namespace := identify(o.fields).Namespace
	name, asks := text(o, "annotations", namespaceSelector)
	if !asks {
		if declared := s.declared[namespace]; namespace != "" && len(declared) > 0 {
			o.wanted = o.wanted.andAny(declared)
		}
		return []object{o}, nil
	}
	field := "metadata.annotations." + namespaceSelector
	selector, known := s.namespaces[name]
	switch {
	case namespace != "" && len(s.namespaces) == 0:
		return []object{o}, nil // what was laid out before keeps the annotation as a note
	case !known:
		return nil, wrong(o, field, "there is no NamespaceSelector %q in the source", name)
	case namespace != "" && !hierarchical:
		return nil, wrong(o, "metadata.namespace", "is %q, and %s says which namespaces it is copied into: remove one of the two", namespace, namespaceSelector)
	}
	targets := slices.Sorted(maps.Keys(s.declared))
	if hierarchical {
		targets = []string{namespace} // into which its folder has put it
	}
	var copies []object
	for _, target := range targets {
		matching, err := selected(selector, s.declared[target])
		if err != nil {
			return nil, wrong(o, field, "NamespaceSelector %q: %w", name, err)
		}
		if len(matching) > 0 {
			copied := o.in(target)
			copied.wanted = o.wanted.andAny(matching)
			copies = append(copies, copied)
		}
	}
	return copies, nil
}

// selected returns those of the Namespaces that a selector matches.
func selected(selector labels.Selector, namespaces []object) (matching []object, err error) {
	requirements, _ := selector.Requirements()
	for _, o := range namespaces {
		set := labels.Set{}
		for _, r := range requirements {
			if value, has := text(o, "labels", r.Key()); has {
				set[r.Key()] = value
			}
			if refersTo(set[r.Key()]) {
				return nil, fmt.Errorf("label %s of namespace %q (%s) has a variable in it, which a selector cannot read", r.Key(), identify(o.fields).Name, o.place)
			}
		}
		if selector.Matches(set) {
			matching = append(matching, o)
		}
	}
	return matching, nil
}

// andAny adds that one of the objects has to be wanted, too.
func (c condition) andAny(objects []object) condition {
	var clause []string
	for _, o := range objects {
		if len(o.wanted) == 0 {
			return c
		}
		clause = append(clause, o.wanted[0]...) // of a Namespace there is one
	}
	return append(slices.Clone(c), clause)
}

// in returns the object in a namespace.
func (o object) in(namespace string) object {
	o.fields = maps.Clone(o.fields)
	metadata := maps.Clone(o.fields["metadata"].(map[string]any))
	metadata["namespace"] = namespace
	o.fields["metadata"] = metadata
	return o
}

// errHierarchy is what is wrong with a folder of a hierarchical repository.
var errHierarchy = errors.New("the source has a Repo in system/, so it is laid out as a hierarchical repository of Config Sync")
