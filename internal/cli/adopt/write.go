package adopt

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/adopt/origin"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/delivery/bundle"
)

// show writes the plan, or what would be on the hub, and says whether that is all that was asked for.
func (o *Options) show(plan *Plan, pkg *v1alpha1.Package) (done bool, err error) {
	switch o.Format {
	case output.JSON:
		return true, output.Encode(o.Out, o.Format, plan)
	case output.YAML:
		return true, o.writeObjects(pkg)
	}
	to := o.Err
	if o.DryRun {
		to = o.Out
	}
	plan.write(to, o.Palette(to))
	return false, nil
}

// writeObjects writes the Package and its Placement as people keep them in Git.
func (o *Options) writeObjects(pkg *v1alpha1.Package) error {
	placement := &v1alpha1.Placement{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Placement"},
		ObjectMeta: metav1.ObjectMeta{Namespace: pkg.Namespace, Name: pkg.Name},
		Spec:       v1alpha1.PlacementSpec{Fields: []v1alpha1.FieldRequirement{{Field: "name", Operator: v1alpha1.FieldIn, Values: []string{o.Cluster}}}},
	}
	own := pkg.DeepCopy()
	own.ObjectMeta = metav1.ObjectMeta{Namespace: pkg.Namespace, Name: pkg.Name}
	own.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Package"}
	for _, object := range []any{own, placement} {
		raw, err := yaml.Marshal(object)
		if err != nil {
			return err
		}
		var plain map[string]any
		if err := yaml.Unmarshal(raw, &plain); err != nil {
			return err
		}
		delete(plain, "status")
		delete(plain["metadata"].(map[string]any), "creationTimestamp")
		if raw, err = yaml.Marshal(plain); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(o.Out, "---\n%s", raw); err != nil {
			return err
		}
	}
	return nil
}

// write is the plan for people.
func (p *Plan) write(w io.Writer, palette output.Palette) {
	fmt.Fprintf(w, "Package %s takes over from %s on cluster %s.\nIt is rendered from %s.\n\n", p.Package, p.From, p.Cluster, p.Source)
	fmt.Fprintf(w, "%s %s\n", v1alpha1.Counted(p.Same, "object"), v1alpha1.Agreeing(p.Same, "stays as it is", "stay as they are"))
	list := func(title string, of []string) {
		if len(of) == 0 {
			return
		}
		fmt.Fprintf(w, "\n%s\n", palette.Paint(output.Bad, title))
		for _, one := range of {
			fmt.Fprintf(w, "  %s\n", strings.ReplaceAll(one, "\n", "\n  "))
		}
	}
	list("Umbel has no word for:", p.Lacks)
	list("In the source, and not on the cluster:", p.Missing)
	list("On the cluster, and not in the source:", p.Left)
	if len(p.Differ) > 0 {
		fmt.Fprintf(w, "\n%s\n", palette.Paint(output.Bad, "These would not stay as they are:"))
	}
	for _, d := range p.Differ {
		line := d.Object
		if d.File != "" {
			line += "   (" + d.File + ")"
		}
		fmt.Fprintf(w, "  %s\n", line)
		for text := range strings.Lines(d.Problem + "\n" + d.Diff) {
			if text = strings.TrimSuffix(text, "\n"); text != "" {
				fmt.Fprintf(w, "      %s\n", text)
			}
		}
	}
	if p.saves != nil {
		fmt.Fprintf(w, "\nNote: the package requires a plan, and this is kept as one: the agent does what it says, and nothing else\n")
	}
	for _, note := range p.Notes {
		fmt.Fprintf(w, "\nNote: %s\n", note)
	}
}

// writeManifests writes what kubectl applied into a folder, a file for each object.
func (o *Options) writeManifests(managed *origin.Managed) error {
	if err := os.MkdirAll(o.Write, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(o.Write) // names come from the cluster: none leads out of the folder
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // each file in it was closed with its own error
	for _, manifest := range managed.Manifests {
		id, err := bundle.Identify(manifest)
		if err != nil {
			return err
		}
		raw, err := yaml.JSONToYAML(manifest)
		if err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		folder := filepath.Clean("./" + id.Namespace)
		if err := root.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		name := strings.ToLower(fmt.Sprintf("%s-%s.yaml", strings.ReplaceAll(id.Key().Kind+"."+id.Group(), "..", "."), strings.ReplaceAll(id.Name, ":", "_")))
		if err := root.WriteFile(filepath.Join(folder, strings.Replace(name, ".-", "-", 1)), raw, 0o644); err != nil {
			return err
		}
	}
	for _, note := range managed.Notes {
		o.Note("Note: %s", note)
	}
	_, err = fmt.Fprintf(o.Out, "%s written to %s: commit them, and name the repository with --git\n", v1alpha1.Counted(len(managed.Manifests), "manifest"), o.Write)
	return err
}
