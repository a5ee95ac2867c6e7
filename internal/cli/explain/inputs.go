package explain

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"umbel.dev/umbel/internal/cli/view"
)

// inputs says of what the release was made beside its revision: the folder or chart, what is said of a chart, the variants that count
// for the cluster, and remote bases at their commits. Values are named by where they stand, and not shown: Secrets may be among them.
func inputs(s *Scene) string {
	release := &s.Release.Spec
	source := view.SourceOf(release.Source)
	texts := []string{"the package itself"}
	switch source.Field {
	case "helm":
		texts[0] = fmt.Sprintf("chart %s of %s", source.Path, source.URL)
	case "git", "oci":
		texts[0] = source.URL
		if source.Path != "" {
			texts[0] = fmt.Sprintf("path %s of %s", source.Path, source.URL)
		}
	}
	if helm := s.Package.Spec.Helm; helm != nil {
		for _, file := range helm.ValuesFiles {
			texts = append(texts, "values of "+file)
		}
		for _, from := range helm.ValuesFrom {
			texts = append(texts, fmt.Sprintf("values of %s %s", from.Kind, from.Name))
		}
		if helm.Values != nil {
			texts = append(texts, "spec.helm.values")
		}
	}
	for i, variant := range s.Package.Spec.Variants {
		if counts(variant.ClusterSelector, s.Cluster.Labels) {
			texts = append(texts, fmt.Sprintf("spec.variants[%d]", i))
		}
	}
	for _, base := range release.RemoteBases {
		texts = append(texts, fmt.Sprintf("remote base %s at %s", base.URL, view.Revision(base.Commit)))
	}
	return strings.Join(texts, ", ")
}

// counts says whether a variant counts for a cluster with these labels.
func counts(of *metav1.LabelSelector, cluster map[string]string) bool {
	if of == nil {
		return true
	}
	selector, err := metav1.LabelSelectorAsSelector(of)
	return err == nil && selector.Matches(labels.Set(cluster)) // one that cannot be read has rendered nothing
}
