package plan

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/delivery"
	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/delivery/preview"
)

// maxText is how long the texts of a saved plan may be.
const maxText = 1024

// save shows the plan and keeps it on the hub.
func (o *Options) save(ctx context.Context, hub *client.Hub, plan *Plan) error {
	shown := o.show(plan)
	saved, err := plan.Keep()
	if err != nil {
		return errors.Join(shown, err)
	}
	pkg, err := Save(ctx, hub, saved)
	if err != nil {
		return err
	}
	fmt.Fprintf(o.Err, "\nSaved as plan %s: %s\n", saved.Name, saved.Spec.Summary)
	for _, note := range plan.Notes(pkg) {
		fmt.Fprintln(o.Err, note)
	}
	if o.Exit && plan.changes() {
		return exit.Status(Changes)
	}
	return nil
}

// Save keeps a plan on the hub, beside its Package.
func Save(ctx context.Context, hub kube.Client, plan *v1alpha1.Plan) (*v1alpha1.Package, error) {
	pkg := &v1alpha1.Package{}
	if err := hub.Get(ctx, kube.ObjectKey{Namespace: plan.Namespace, Name: plan.Spec.PackageRef.Name}, pkg); err != nil {
		return nil, fmt.Errorf("a plan is kept beside its package: %w", err)
	}
	Beside(pkg, plan)
	if err := hub.Create(ctx, plan); err != nil {
		return nil, fmt.Errorf("saving the plan: %w", err)
	}
	return pkg, nil
}

// Beside has a plan go with its Package.
func Beside(pkg *v1alpha1.Package, plan *v1alpha1.Plan) {
	plan.OwnerReferences = []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Package", Name: pkg.Name, UID: pkg.UID}}
}

// Single is a plan, as the hub keeps it, of what a package does to one cluster; source says for people what was rendered.
func Single(key v1alpha1.PackageKey, source string, contents *delivery.Contents, cluster v1alpha1.ClusterName, look *preview.Preview) (*v1alpha1.Plan, error) {
	p := &Plan{Package: key, Source: source, contents: contents}
	p.add(seen{cluster: cluster, Preview: look})
	return p.kept()
}

// Notes say what comes of a plan that is saved, beside the plan itself.
func (p *Plan) Notes(pkg *v1alpha1.Package) (notes []string) {
	if slices.ContainsFunc(p.Groups, func(g Group) bool { return len(g.Unknown) > 0 }) {
		notes = append(notes, "What could not be looked at is not planned: a cluster where the release would delete it refuses.")
	}
	if n := len(p.Unasked); n > 0 {
		notes = append(notes, clusters(n)+" could not be asked, and will wait for another plan.")
	}
	if pkg.Spec.Plan != v1alpha1.PlanRequired {
		notes = append(notes, fmt.Sprintf("Package %s releases without a plan as well: spec.plan: Required makes it wait for one.", p.Package))
	}
	return notes
}

// Keep is the plan as the hub keeps it, or says why it is not kept: one that would fail somewhere is not. Clusters that could not be
// asked are left out of it, and wait for another one; what could not be seen on one is not planned, and refused by its agent, which sees it.
func (p *Plan) Keep() (*v1alpha1.Plan, error) {
	if slices.ContainsFunc(p.Groups, func(g Group) bool { return g.problems() > 0 }) {
		return nil, errors.New("the plan is not saved, because it would fail: correct that first")
	}
	if p.contents == nil || len(p.contents.Classes) == 0 {
		return nil, errors.New("there is nothing to save: no cluster would get anything")
	}
	return p.kept()
}

func (p *Plan) kept() (*v1alpha1.Plan, error) {
	namespace, name := p.Package.Split()
	saved := &v1alpha1.Plan{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Plan"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: name + "-"},
		Spec: v1alpha1.PlanSpec{
			PackageRef: v1alpha1.LocalReference{Name: name}, Source: cut(p.Source), Summary: cut(p.summary()), Clusters: int32(len(p.looks)),
		},
	}
	for _, class := range p.contents.Classes {
		digest, err := digestOf(class)
		if err != nil {
			return nil, err
		}
		at := slices.IndexFunc(saved.Spec.Contents, func(c v1alpha1.PlannedContent) bool { return c.Digest == digest })
		if at < 0 {
			at = len(saved.Spec.Contents)
			saved.Spec.Contents = append(saved.Spec.Contents, v1alpha1.PlannedContent{Digest: digest})
		}
		for _, cluster := range class.Clusters {
			if looked := p.looks[cluster]; looked != nil {
				content := &saved.Spec.Contents[at]
				content.Clusters = append(content.Clusters, v1alpha1.PlannedCluster{Name: cluster, Changes: looked.Hash()})
				content.Deletes = append(content.Deletes, looked.Deletes()...)
			}
		}
	}
	for i := range saved.Spec.Contents {
		deletes := &saved.Spec.Contents[i].Deletes
		slices.Sort(*deletes)
		*deletes = slices.Compact(*deletes)
	}
	return saved, nil
}

// digestOf is what the hub knows a content by, or will.
func digestOf(class delivery.ClassContent) (string, error) {
	if class.Digest != "" {
		return class.Digest, nil
	}
	blob, err := bundle.Encode(class.Entries)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(blob)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

// summary says in a line what changes.
func (p *Plan) summary() string {
	var parts []string
	for _, g := range p.Groups {
		parts = append(parts, clusters(len(g.Clusters))+": "+g.summary())
	}
	return strings.Join(parts, "; ")
}

func cut(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), maxText)], "")
}
