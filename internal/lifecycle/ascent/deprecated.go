package ascent

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/version"
)

// Deprecated is an API that somebody asked a cluster's API server for since it started, and that will not be served for ever.
type Deprecated struct {
	group, version, resource string
	// removed is the Kubernetes without it, such as 1.40; empty where that is not known.
	removed string
}

func (d Deprecated) String() string {
	name := d.version + " " + d.resource
	if d.group != "" {
		name = d.group + "/" + name
	}
	if d.removed == "" {
		return name + ", which is deprecated"
	}
	return name + ", which Kubernetes " + d.removed + " does not serve any more"
}

// gone says whether a version of Kubernetes does not serve it.
func (d Deprecated) gone(in string) bool {
	removed, err := version.ParseGeneric(d.removed)
	if err != nil {
		return false
	}
	target, err := version.ParseGeneric(in)
	return err == nil && !target.LessThan(removed)
}

var label = regexp.MustCompile(`([a-z_]+)="([^"]*)"`)

// DeprecatedIn finds them in the metrics of API servers.
func DeprecatedIn(metrics ...string) []Deprecated {
	var all []Deprecated
	for line := range strings.Lines(strings.Join(metrics, "\n")) {
		labels, ok := strings.CutPrefix(line, "apiserver_requested_deprecated_apis{")
		if !ok || strings.HasSuffix(strings.TrimSpace(line), " 0") {
			continue
		}
		of := map[string]string{}
		for _, pair := range label.FindAllStringSubmatch(labels, -1) {
			of[pair[1]] = pair[2]
		}
		all = append(all, Deprecated{group: of["group"], version: of["version"], resource: of["resource"], removed: of["removed_release"]})
	}
	slices.SortFunc(all, func(a, b Deprecated) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(all)
}

// Barred says why nothing is upgraded for the sake of the deprecated APIs that so many API servers know of. Others may have been asked
// for more: each counts for itself. Within a minor nothing is taken away.
func (c Climb) Barred(inUse []Deprecated, asked int64) error {
	var gone []string
	for _, d := range inUse {
		if d.gone(c.To) {
			gone = append(gone, d.String())
		}
	}
	if len(gone) > 0 {
		return fmt.Errorf("in use are %s; move their users to what takes their place, or say --despite-removed-apis", strings.Join(gone, "; and "))
	}
	if c.withinMinor() || asked >= c.Planes {
		return nil
	}
	return fmt.Errorf("which deprecated APIs are in use is known of %d of its %d API servers only, each of which counts for itself: give the command where the others can be reached; "+
		"--clusters LABELS has the hub ask all of them before it upgrades; or look at the metric apiserver_requested_deprecated_apis of the others, and say --despite-removed-apis", asked, c.Planes)
}

// withinMinor says whether only the patch is another one.
func (c Climb) withinMinor() bool {
	from, err := version.ParseGeneric(c.From)
	to, errTo := version.ParseGeneric(c.To)
	return err == nil && errTo == nil && from.Minor() == to.Minor()
}
