package plan

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/fleet"
	"umbel.dev/umbel/internal/cli/kinds"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/progress"
	"umbel.dev/umbel/internal/cli/span"
	"umbel.dev/umbel/internal/delivery"
	"umbel.dev/umbel/internal/delivery/decide"
	"umbel.dev/umbel/internal/delivery/outgoing"
	"umbel.dev/umbel/internal/delivery/preview"
)

const (
	// Markdown is the plan as a comment of a review.
	Markdown output.Format = "markdown"
	// Changes is the code with which --exit-code ends when something would change.
	Changes = 3
)

const long = `Show what a change would do to the clusters of a package, before it is committed: each cluster is asked what would become of
its objects, by a dry run of what its agent would apply, and clusters for which that is the same are shown together.

What is looked at is the working tree that the command runs in, another folder (--from), a commit of it (--ref), a package in a
file (-f), or a release that the hub has rendered already, such as one that waits for a plan (--release): that takes no clone of the
source, and the verb get on releases/content. You need to be able to read and to apply the objects on the clusters; nothing is changed anywhere.

It ends with code 1 when the plan lacks something: a cluster that could not be asked, or would not take all of it.`

const examples = `  # what do the changes in this working tree do?
  umbel plan shop

  # what would this branch do, as a comment for its pull request? The code is 3 when something would change
  umbel plan shop -n team-a --ref origin/new-limits -o markdown --exit-code

  # what would another placement, source or variant of the package do?
  umbel plan -f package.yaml

  # this is right: let the package change that, and nothing else (spec.plan: Required)
  umbel plan shop --ref main --save

  # this release waits for a plan: what would it do, and yes, that is right
  umbel plan shop --release shop-1a2b3c4d --save

  # for programs
  umbel plan shop -o json`

// Options are the arguments of `umbel plan`.
type Options struct {
	*client.Factory
	// Name is the package; empty when it comes from a file.
	Name string
	// From is the folder, Ref the commit, and File the file with a Package.
	From, Ref, File string
	// Release is one that stands on the hub, to be planned as it is.
	Release string
	// Clusters restricts which clusters are asked.
	Clusters string
	// Timeout is how long a cluster may take.
	Timeout time.Duration
	Format  output.Format
	// Exit asks for the code Changes.
	Exit bool
	// Save keeps the plan on the hub.
	Save bool

	selector labels.Selector
	most     int // how many clusters are asked at most; all of them where it is zero
}

// NewCmd returns the command `umbel plan`.
func NewCmd(f *client.Factory) *cobra.Command {
	o := &Options{Factory: f, Timeout: time.Minute}
	cmd := &cobra.Command{
		Use: "plan [package] NAME", Short: "Show what a change would do to the clusters, before it is made", Long: long, Example: examples,
		ValidArgsFunction: f.CompleteTarget(client.One, kinds.Packages.Singular),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.complete(args); err != nil {
				return err
			}
			return f.OnHub(cmd.Context(), o.run)
		},
	}
	f.AddNamespaceFlag(cmd)
	flags := cmd.Flags()
	flags.StringVar(&o.From, "from", "", "`FOLDER` that stands for the root of the source (default: the Git working tree here)")
	flags.StringVar(&o.Ref, "ref", "", "`COMMIT`, branch or tag of the Git repository there, instead of the files as they are")
	flags.StringVarP(&o.File, "filename", "f", "", "`FILE` with the package as it would be")
	flags.StringVar(&o.Release, "release", "", "`RELEASE` of the package, as the hub has rendered it, instead of files")
	flags.StringVar(&o.Clusters, "clusters", "", "ask only clusters with these `LABELS`, of those that the package is for")
	span.Var(flags, &o.Timeout, "timeout", "`DURATION` that a cluster may take to answer")
	flags.BoolVar(&o.Save, "save", false, "keep the plan on the hub: a package whose spec.plan is Required changes what a saved plan says, and nothing else")
	flags.BoolVar(&o.Exit, "exit-code", false, fmt.Sprintf("end with code %d when something would change", Changes))
	output.AddFlag(cmd, &o.Format, Markdown, output.JSON, output.YAML)
	_ = cmd.RegisterFlagCompletionFunc("release", f.CompleteName(kinds.Releases))
	_ = cmd.RegisterFlagCompletionFunc("clusters", f.CompleteLabels(kinds.Clusters)) // it fails for a flag that does not exist only
	return cmd
}

func (o *Options) complete(args []string) error {
	var err error
	if o.selector, err = labels.Parse(o.Clusters); err != nil {
		return exit.Usagef("the labels of --clusters cannot be read: %w", err)
	}
	if len(args) == 2 {
		kind, names, err := kinds.Target(args)
		if err != nil {
			return err
		}
		if kind != kinds.Packages {
			return exit.Usagef("a %s has no content: only packages can be planned", kind.Singular)
		}
		args = names
	}
	switch {
	case len(args) > 1:
		return exit.Usagef("plan one package at a time")
	case o.File == "" && len(args) == 0:
		return exit.Usagef("say which package: NAME, or -f FILE")
	case o.File != "" && len(args) > 0:
		return exit.Usagef("the package comes from its NAME on the hub or from -f FILE, not from both")
	case o.Release != "" && (o.File != "" || o.From != "" || o.Ref != ""):
		return exit.Usagef("a release is planned as the hub has rendered it: --release goes without -f, --from and --ref")
	}
	if len(args) == 1 {
		o.Name = strings.TrimPrefix(args[0], "package/")
	}
	return nil
}

func (o *Options) run(ctx context.Context, hub *client.Hub) error {
	plan, err := o.make(ctx, hub)
	if err != nil {
		return err
	}
	if o.Save {
		return o.save(ctx, hub, plan)
	}
	return o.show(plan)
}

// Released returns what a release would do to the clusters of a package, as `umbel plan NAME --release RELEASE` shows it. At most so many
// clusters are asked; the plan says of how many.
func Released(ctx context.Context, f *client.Factory, name, release string, most int, timeout time.Duration) (*Plan, error) {
	hub, err := f.Connect()
	if err != nil {
		return nil, err
	}
	o := &Options{Factory: f, Name: name, Release: release, Timeout: timeout, most: most, selector: labels.Everything()}
	plan, err := o.make(ctx, hub)
	return plan, hub.Explain(err)
}

// make makes a plan, and changes nothing.
func (o *Options) make(ctx context.Context, hub *client.Hub) (*Plan, error) {
	pkg, err := o.pkg(ctx, hub)
	if err != nil {
		return nil, err
	}
	selected, err := o.selected(ctx, hub, pkg)
	if err != nil {
		return nil, err
	}
	all := len(selected)
	if o.most > 0 {
		selected = selected[:min(all, o.most)]
	}
	render := o.render
	if o.Release != "" {
		render = o.released
	}
	from, err := render(ctx, hub, pkg, selected)
	if err != nil {
		return nil, err
	}
	contents := from.contents
	plan := &Plan{Package: v1alpha1.KeyOf(pkg.Namespace, pkg.Name), Source: from.name, contents: contents, of: all}
	for cluster, why := range contents.Without {
		plan.Without = append(plan.Without, Unasked{cluster, why})
	}
	rules, err := outgoing.RulesOf(decide.Ignored(&pkg.Spec))
	if err != nil {
		return nil, err
	}
	rules.Report = pkg.Spec.Drift != nil && pkg.Spec.Drift.Mode == v1alpha1.DriftReport
	holds, err := o.holding(ctx, hub, plan.Package, selected)
	if err != nil {
		return nil, err
	}
	prepared, err := prepare(plan.Package, contents, rules, holds)
	if err != nil {
		return nil, err
	}
	return plan, o.ask(ctx, hub, plan, selected, prepared)
}

// rendered is what clusters would get, and what that was made of, for people.
type rendered struct {
	name     string
	contents *delivery.Contents
}

// render makes what clusters would get of files.
func (o *Options) render(ctx context.Context, hub *client.Hub, pkg *v1alpha1.Package, selected []v1alpha1.MemberCluster) (*rendered, error) {
	source, err := o.open(ctx, hub, pkg)
	if err != nil {
		return nil, err
	}
	defer source.close()
	contents, err := delivery.ContentsFor(pkg.Spec.Variants, source.makes, selected)
	if err != nil {
		return nil, fmt.Errorf("rendering %s: %w", source.name, err)
	}
	return &rendered{source.name, contents}, nil
}

// pkg is the Package as it is on the hub, or as it would be.
func (o *Options) pkg(ctx context.Context, hub *client.Hub) (*v1alpha1.Package, error) {
	if o.File != "" {
		return readPackage(o.File, o.In, o.Namespace)
	}
	pkg := &v1alpha1.Package{}
	return pkg, hub.Get(ctx, kube.ObjectKey{Namespace: o.Namespace, Name: o.Name}, pkg)
}

// selected are the clusters that the Package is for and that are asked for.
func (o *Options) selected(ctx context.Context, hub *client.Hub, pkg *v1alpha1.Package) ([]v1alpha1.MemberCluster, error) {
	var placement v1alpha1.Placement
	at := kube.ObjectKey{Namespace: pkg.Namespace, Name: pkg.Spec.PlacementRef.Name}
	if err := hub.Get(ctx, at, &placement); err != nil {
		return nil, fmt.Errorf("spec.placementRef of package %q: %w", pkg.Name, err)
	}
	decided := meta.FindStatusCondition(placement.Status.Conditions, v1alpha1.ConditionDecided)
	if decided == nil || decided.ObservedGeneration != placement.Generation || placement.Status.ObservedGeneration == 0 {
		return nil, fmt.Errorf("placement %q is not decided yet: `umbel describe placement %s -n %s` says why", at.Name, at.Name, at.Namespace)
	}
	names := map[v1alpha1.ClusterName]bool{}
	for _, name := range placement.Status.Clusters {
		names[name] = true
	}
	var list v1alpha1.MemberClusterList
	if err := hub.ListClusters(ctx, &list, o.selector); err != nil {
		return nil, err
	}
	var selected []v1alpha1.MemberCluster
	for i := range list.Items {
		if names[v1alpha1.ClusterName(list.Items[i].Name)] {
			selected = append(selected, list.Items[i])
		}
	}
	return selected, nil
}

// prepared is what each cluster is asked about.
type prepared map[v1alpha1.ClusterName]*preview.Content

func prepare(key v1alpha1.PackageKey, contents *delivery.Contents, rules outgoing.Rules, holds map[v1alpha1.ClusterName]*holding) (prepared, error) {
	content := prepared{}
	for _, class := range contents.Classes {
		after := map[*holding]*preview.Content{} // clusters of a class mostly hold the same
		for _, cluster := range class.Clusters {
			held := holds[cluster]
			if after[held] == nil {
				one, err := preview.Prepare(key, class.Entries)
				if err != nil {
					return nil, err
				}
				one.Under(rules)
				if held != nil {
					if err := one.After(held.entries); err != nil {
						return nil, err
					}
				}
				after[held] = one
			}
			content[cluster] = after[held]
		}
	}
	return content, nil
}

// ask asks the clusters for which there is content.
func (o *Options) ask(ctx context.Context, hub *client.Hub, plan *Plan, selected []v1alpha1.MemberCluster, content prepared) error {
	members, err := fleet.Members(ctx, o.Factory, hub, selected)
	if err != nil {
		return err
	}
	var asked []fleet.Member
	for _, m := range members {
		if content[m.Cluster] != nil {
			asked = append(asked, m)
		}
	}
	view := progress.On(output.Streams{Err: o.Err}, o.Now)
	defer view.Close()
	step := view.Start("asking " + clusters(len(asked)))
	done := 0
	for said := range fleet.Ask(ctx, asked, func(ctx context.Context, m fleet.Member) seen {
		return o.preview(ctx, m, content[m.Cluster])
	}) {
		plan.add(said)
		done++
		step.Note("%d", done)
	}
	plan.sort()
	return step.End(ctx.Err())
}

func (o *Options) preview(ctx context.Context, m fleet.Member, content *preview.Content) seen {
	said := seen{cluster: m.Cluster, err: m.Gone}
	if said.err != nil {
		return said
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.Timeout, fmt.Errorf("it did not answer within %s: %s", o.Timeout, o.late()))
	defer cancel()
	member, err := preview.Open(m.Config)
	if err == nil {
		said.Preview, err = member.Of(ctx, content)
	}
	if said.err = err; err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		said.err = context.Cause(ctx)
	}
	return said
}

// late is what to do about a cluster that did not answer in time: a page, which asks a part of them, has no flags.
func (o *Options) late() string {
	if o.most > 0 {
		return "ask again, or see on its page how it is"
	}
	return "--timeout gives it longer"
}

// show writes the plan, and ends as it was asked to.
func (o *Options) show(plan *Plan) error {
	switch o.Format {
	case output.Human:
		plan.write(o.Out, o.Palette(o.Out))
	case Markdown:
		plan.markdown(o.Out)
	default:
		if err := output.Encode(o.Out, o.Format, plan); err != nil {
			return err
		}
	}
	if lacks := plan.lacks(); len(lacks) > 0 {
		return fmt.Errorf("the plan is not whole: %s", strings.Join(lacks, ", "))
	}
	if o.Exit && plan.changes() {
		return exit.Status(Changes)
	}
	return nil
}
