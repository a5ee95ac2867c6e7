package adopt

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/adopt/member"
	"umbel.dev/umbel/internal/cli/adopt/origin"
	"umbel.dev/umbel/internal/cli/adopt/owner"
	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/delivery/preview"
	"umbel.dev/umbel/internal/delivery/sealed"
)

// Plan is what taking over would mean.
type Plan struct {
	// From is whose objects are taken over, on Cluster, by Package, which is NAMESPACE/NAME; Source is what was rendered.
	From    string               `json:"from"`
	Cluster v1alpha1.ClusterName `json:"cluster"`
	Package v1alpha1.PackageKey  `json:"package"`
	Source  string               `json:"source"`
	// Same is how many objects are taken over as they are.
	Same int `json:"same"`
	// Differ are those of which something would change, Missing those that would be made, and Left those that the other manages and
	// the Package has not.
	Differ  []Difference `json:"differ,omitempty"`
	Missing []string     `json:"missing,omitempty"`
	Left    []string     `json:"left,omitempty"`
	// Lacks are what Umbel has no word for, and Notes what somebody should know.
	Lacks []string `json:"lacks,omitempty"`
	Notes []string `json:"notes,omitempty"`

	// keys are all that were looked at and are there.
	keys []bundle.Key
	// saves is the plan that the hub is to keep, where the Package requires one.
	saves *v1alpha1.Plan
}

// Difference is an object that would not stay as it is, or of which that cannot be told.
type Difference struct {
	Object string `json:"object"`
	File   string `json:"file,omitempty"`
	// Diff is what would change, as a unified diff of YAML; Problem says why it cannot be taken over.
	Diff    string `json:"diff,omitempty"`
	Problem string `json:"problem,omitempty"`
}

// exact says whether what the other manages is a list that counts. That of kubectl is all that somebody ever applied there.
type exact bool

// judge compares what the other manages with what the API server says of what Umbel would apply.
func (p *Plan) judge(managed *origin.Managed, seen []member.Seen, all exact) error {
	p.Lacks, p.Notes = managed.Lacks, managed.Notes
	var beyond []string
	rendered := map[bundle.Key]bool{}
	for _, s := range seen {
		rendered[s.Key] = true
		if s.Missing {
			p.Missing = append(p.Missing, strings.TrimSuffix(fmt.Sprintf("%s: %s", s.Key, s.Problem), ": "))
			continue
		}
		p.keys = append(p.keys, s.Key)
		if s.Then != nil {
			fields, err := owner.Beyond(s.Now.GetManagedFields(), s.Then.GetManagedFields(), managed.Managers)
			if err != nil {
				return fmt.Errorf("%s: %w", s.Key, err)
			}
			for _, field := range fields {
				beyond = append(beyond, s.Key.String()+" "+field)
			}
		}
		d := Difference{Object: s.Key.String(), File: s.File, Problem: s.Problem}
		if own := p.Package.LabelValue(); s.Package != "" && s.Package != own {
			d.Problem = fmt.Sprintf("it belongs to package %s already", s.Package)
		}
		if d.Problem == "" {
			var err error
			if d.Diff, err = preview.Difference(plain(s.Now), plain(s.Then)); err != nil {
				return fmt.Errorf("%s: %w", s.Key, err)
			}
		}
		if d.Diff+d.Problem != "" {
			p.Differ = append(p.Differ, d)
			continue
		}
		p.Same++
	}
	for _, key := range managed.Objects {
		if !rendered[key] {
			p.Left = append(p.Left, key.String())
		}
	}
	if len(p.Left) > 0 && !all {
		p.Notes = append(p.Notes, fmt.Sprintf("%s there %s: %s", v1alpha1.Counted(len(p.Left), "object"), v1alpha1.Agreeing(len(p.Left), "is not in the source, and stays as it is", "are not in the source, and stay as they are"), some(p.Left)))
		p.Left = nil
	}
	if len(beyond) > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("%s %s: %s", v1alpha1.Counted(len(beyond), "field"), v1alpha1.Agreeing(len(beyond),
			"was set there and is not in the source: it stays as it is, and belongs to nobody", "were set there and are not in the source: they stay as they are, and belong to nobody"), some(beyond)))
	}
	slices.SortFunc(p.Differ, func(a, b Difference) int { return cmp.Compare(a.Object, b.Object) })
	slices.Sort(p.Missing)
	slices.Sort(p.Left)
	return nil
}

// plain is an object without what Umbel notes on it.
func plain(o *unstructured.Unstructured) *unstructured.Unstructured {
	o = o.DeepCopy()
	o.SetLabels(without(o.GetLabels(), v1alpha1.PackageLabel, v1alpha1.OnLeavingLabel, v1alpha1.AdoptedFromLabel))
	o.SetAnnotations(without(o.GetAnnotations(), sealed.EncryptedAnnotation))
	return o
}

// without returns the rest of labels or annotations; nil when there is none, so that none and empty ones are the same.
func without(all map[string]string, names ...string) map[string]string {
	for _, name := range names {
		delete(all, name)
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

// against says what speaks against taking over; empty when nothing does.
func (p *Plan) against() []string {
	var all []string
	for _, each := range []struct {
		n         int
		one, many string
	}{
		{len(p.Lacks), "thing that Umbel has no word for", "things that Umbel has no word for"},
		{len(p.Differ), "object that would not stay as it is", "objects that would not stay as they are"},
		{len(p.Missing), "object that is not there", "objects that are not there"},
		{len(p.Left), "object that is not in the source", "objects that are not in the source"},
	} {
		if each.n > 0 {
			all = append(all, fmt.Sprintf("%d %s", each.n, v1alpha1.Agreeing(each.n, each.one, each.many)))
		}
	}
	if len(all) == 0 && p.Same == 0 {
		all = append(all, "no objects to take over")
	}
	return all
}

// some are the first of some names, and how many more there are.
func some(names []string) string {
	return v1alpha1.Few(names, 5)
}
