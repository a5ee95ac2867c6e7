package adopt

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/adopt/member"
	"umbel.dev/umbel/internal/cli/adopt/origin"
	"umbel.dev/umbel/internal/cli/adopt/owner"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/fleet"
	"umbel.dev/umbel/internal/cli/output"
	saved "umbel.dev/umbel/internal/cli/plan"
	"umbel.dev/umbel/internal/cli/progress"
	"umbel.dev/umbel/internal/delivery"
	"umbel.dev/umbel/internal/delivery/decide"
	"umbel.dev/umbel/internal/delivery/outgoing"
	"umbel.dev/umbel/internal/delivery/preview"
	"umbel.dev/umbel/internal/delivery/source"
)

// move is one cluster's moving in, or out again.
type move struct {
	*Options
	hub     *client.Hub
	book    book
	cluster *v1alpha1.MemberCluster
	// member is where the objects are, and control where the other does its work; often the same.
	member, control *member.Cluster
	from            origin.Origin
	// settles is the source of a Package that took the cluster over and goes from the objects in it to a repository; nil otherwise.
	settles *v1alpha1.Source
}

// begin finds the cluster, and the ways to it.
func (o *Options) begin(ctx context.Context, hub *client.Hub) (*move, error) {
	m := &move{Options: o, hub: hub, book: book{hub: hub, key: kube.ObjectKey{Namespace: o.to.Namespace, Name: o.to.Name}}}
	var err error
	if m.cluster, m.member, err = o.reach(ctx, hub, o.Cluster); err != nil {
		return nil, err
	}
	return m, nil
}

// meet finds the way to where the other does its work.
func (m *move) meet(ctx context.Context, ref origin.Ref, control string) (err error) {
	if m.from, err = origin.Of(ref); err != nil {
		return err
	}
	if m.control = m.member; control != "" && control != m.Cluster {
		_, m.control, err = m.reach(ctx, m.hub, control)
	}
	return err
}

func (o *Options) reach(ctx context.Context, hub *client.Hub, name string) (*v1alpha1.MemberCluster, *member.Cluster, error) {
	cluster := &v1alpha1.MemberCluster{}
	if err := hub.Get(ctx, kube.ObjectKey{Name: name}, cluster); err != nil {
		return nil, nil, err
	}
	ways, err := fleet.Members(ctx, o.Factory, hub, []v1alpha1.MemberCluster{*cluster})
	if err != nil {
		return nil, nil, err
	}
	if ways[0].Gone != nil {
		return nil, nil, ways[0].Gone
	}
	api, err := member.Open(ways[0].Config)
	return cluster, api, err
}

// run takes a cluster's objects over.
func (o *Options) run(ctx context.Context, hub *client.Hub) error {
	m, err := o.begin(ctx, hub)
	if err != nil {
		return err
	}
	if err := m.meet(ctx, o.ref, o.Control); err != nil {
		return err
	}
	pkg, managed, err := m.read(ctx)
	if err != nil {
		return err
	}
	if o.Write != "" {
		return o.writeManifests(managed)
	}
	plan, err := m.plan(ctx, pkg, managed)
	if err != nil {
		return err
	}
	if done, err := o.show(plan, pkg); done || err != nil {
		return err
	}
	if against := plan.against(); len(against) > 0 {
		return fmt.Errorf("nothing was changed: %s", strings.Join(against, ", "))
	}
	if o.DryRun {
		return nil
	}
	if err := o.confirm("Is that to be taken over?"); err != nil {
		return err
	}
	return m.takeOver(ctx, pkg, managed, plan)
}

// read returns the Package that is to take over, and what the other manages. When this goes on with what was begun, the other may
// have stopped, and say no more what it was.
func (m *move) read(ctx context.Context) (*v1alpha1.Package, *origin.Managed, error) {
	there, err := m.book.find(ctx)
	if err != nil {
		return nil, nil, err
	}
	if there != nil && !there.DeletionTimestamp.IsZero() {
		return nil, nil, fmt.Errorf("package %s is being deleted: wait until it is gone, or give this one another name with --to", m.book.key)
	}
	if there != nil {
		a, err := m.memory().recall(ctx, there.UID)
		if err != nil {
			return nil, nil, m.onMember(ctx, err)
		}
		if a != nil {
			if a.From != m.ref {
				return nil, nil, fmt.Errorf("package %s takes over from another one on cluster %s: --to gives this one another name", m.book.key, m.Cluster)
			}
			managed := &origin.Managed{Managers: a.Managers, Was: a.Was}
			if m.Git != "" {
				return m.settled(there, managed)
			}
			return there, managed, nil
		}
	}
	managed, err := m.from.Read(ctx, m.control)
	if err != nil {
		return nil, nil, m.onMember(ctx, err)
	}
	pkg := &v1alpha1.Package{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Package"},
		ObjectMeta: metav1.ObjectMeta{Namespace: m.to.Namespace, Name: m.to.Name},
		Spec:       v1alpha1.PackageSpec{Source: managed.Source, Helm: managed.Helm, PlacementRef: v1alpha1.LocalReference{Name: m.to.Name}},
	}
	if err := m.source(pkg, managed); err != nil {
		return nil, nil, err
	}
	if there != nil { // what else it says by now counts on this cluster as well
		return there, managed, fits(there, pkg)
	}
	return pkg, managed, nil
}

// plan renders the Package here, and asks the cluster what would become of it.
func (m *move) plan(ctx context.Context, pkg *v1alpha1.Package, managed *origin.Managed) (*Plan, error) {
	plan := &Plan{From: m.from.String(), Cluster: v1alpha1.ClusterName(m.Cluster), Package: v1alpha1.KeyOf(pkg.Namespace, pkg.Name)}
	view := progress.On(output.Streams{Err: m.Err}, m.Now)
	defer view.Close()
	step := view.Start("rendering, and asking cluster " + m.Cluster)
	seen, err := m.look(ctx, pkg, plan, managed.Managers)
	if step.End(err) != nil {
		return nil, err
	}
	return plan, plan.judge(managed, seen, exact(m.ref.Kind != origin.Kubectl || m.settles != nil))
}

func (m *move) look(ctx context.Context, pkg *v1alpha1.Package, plan *Plan, from []owner.Manager) ([]member.Seen, error) {
	files, name, clean, err := m.files(ctx, pkg)
	if err != nil {
		return nil, err
	}
	defer clean()
	plan.Source = name
	kit, end, err := m.Kit(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	makes, err := kit.MakerOf(ctx, m.hub, pkg, files)
	if err != nil {
		return nil, fmt.Errorf("rendering %s: %w", name, err)
	}
	contents, err := delivery.ContentsFor(pkg.Spec.Variants, makes, []v1alpha1.MemberCluster{*m.cluster})
	if err != nil {
		return nil, fmt.Errorf("rendering %s: %w", name, err)
	}
	for _, why := range contents.Without {
		return nil, fmt.Errorf("rendering %s: %s", name, why)
	}
	if m.settles != nil {
		if err := m.alike(ctx, makes); err != nil {
			return nil, err
		}
	}
	objects, err := outgoing.All(plan.Package, contents.Classes[0].Entries)
	if err != nil {
		return nil, err
	}
	rules, err := outgoing.RulesOf(decide.Ignored(&pkg.Spec))
	if err != nil {
		return nil, err
	}
	seen, err := m.member.Look(ctx, objects, member.How{From: from, Rules: rules})
	if err == nil && pkg.Spec.Plan == v1alpha1.PlanRequired {
		err = m.foresee(ctx, plan, contents, rules)
	}
	return seen, m.onMember(ctx, err)
}

// foresee makes the plan that the Package requires.
func (m *move) foresee(ctx context.Context, plan *Plan, contents *delivery.Contents, rules outgoing.Rules) error {
	content, err := preview.Prepare(plan.Package, contents.Classes[0].Entries)
	if err != nil {
		return err
	}
	look, err := m.member.Foresee(ctx, content.Under(rules))
	if err != nil {
		return err
	}
	plan.saves, err = saved.Single(plan.Package, plan.Source, contents, plan.Cluster, look)
	return err
}

// files are those of the Package's source, and what they are called.
func (m *move) files(ctx context.Context, pkg *v1alpha1.Package) (files fs.FS, name string, clean func(), err error) {
	clean = func() {}
	if pkg.Spec.Source.Inline != nil {
		return nil, "the package itself", clean, nil
	}
	folder := delivery.FolderOf(pkg)
	if m.From != "" {
		at, err := os.OpenRoot(m.From) // no link in it leads elsewhere
		if err != nil {
			return nil, "", clean, err
		}
		return at.FS(), fmt.Sprintf("path %s of %s", folder, m.From), func() { _ = at.Close() }, nil // nothing was written
	}
	dir, err := os.MkdirTemp("", "umbel-adopt-")
	if err != nil {
		return nil, "", clean, err
	}
	clean = func() { _ = os.RemoveAll(dir) } // it is in the folder for temporary files
	files, revision, err := delivery.Fetch(ctx, m.hub, pkg, dir)
	if err != nil {
		clean()
		return nil, "", func() {}, fmt.Errorf("fetching the source, as the hub will (--from names a folder that stands for it here): %w", err)
	}
	return files, fmt.Sprintf("path %s of %s at %s", folder, address(pkg.Spec.Source), source.Short(revision)), clean, nil
}

func address(from v1alpha1.Source) string {
	switch {
	case from.Git != nil:
		return source.Redact(from.Git.URL)
	case from.OCI != nil:
		return source.Redact(from.OCI.URL)
	case from.Helm != nil:
		return "chart " + from.Helm.Chart + " of " + source.Redact(from.Helm.URL)
	}
	return "the package itself"
}

// onMember makes an error one of the cluster that it is about, which nobody takes for one of the hub's API.
func (m *move) onMember(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	where := m.Cluster
	if m.Control != "" {
		where += " or " + m.Control
	}
	return fmt.Errorf("on cluster %s: %s", where, err)
}

// memory is what the cluster remembers.
func (m *move) memory() memory {
	return memoryOf(m.member, v1alpha1.KeyOf(m.book.key.Namespace, m.book.key.Name))
}

// takeOver goes the steps, of which each may have been done before.
func (m *move) takeOver(ctx context.Context, pkg *v1alpha1.Package, managed *origin.Managed, plan *Plan) error {
	cluster := v1alpha1.ClusterName(m.Cluster)
	view := progress.On(output.Streams{Err: m.Err}, m.Now)
	defer view.Close()
	note := adoption{From: m.ref, Managers: managed.Managers, Was: managed.Was}
	if m.control != m.member {
		note.Control = v1alpha1.ClusterName(m.Control)
	}
	for _, s := range []struct {
		name string
		do   func(*progress.Step) error
	}{
		{fmt.Sprintf("package %s is on the hub", m.book.key), func(*progress.Step) (err error) {
			if note.Package, err = m.book.open(ctx, pkg, cluster); err != nil {
				return err
			}
			if err := m.onMember(ctx, m.memory().remember(ctx, note)); err != nil {
				return err
			}
			if plan.saves != nil {
				if _, err = saved.Save(ctx, m.hub, plan.saves); err != nil {
					return err
				}
			}
			if m.settles != nil {
				return m.book.settle(ctx, *m.settles, pkg.Spec.Source)
			}
			return nil
		}},
		{"stopped: " + m.from.String(), func(*progress.Step) error { return m.onMember(ctx, m.from.Stop(ctx, m.control)) }},
		{"the agent of " + m.Cluster + " holds it", func(step *progress.Step) error {
			if err := m.book.place(ctx, cluster); err != nil {
				return err
			}
			return await(ctx, step, m.Timeout, m.book.applied(cluster))
		}},
		{"the fields are Umbel's", func(*progress.Step) (err error) {
			_, err = m.member.TakeOver(ctx, plan.keys, managed.Managers)
			return m.onMember(ctx, err)
		}},
	} {
		if err := view.Run(s.name, s.do); err != nil {
			return fmt.Errorf("%w\nthe same command goes on from here; `umbel adopt back %s --cluster %s -n %s` goes back", err, m.book.key.Name, m.Cluster, m.book.key.Namespace)
		}
	}
	if m.settles != nil {
		_, err := fmt.Fprintf(m.Out, "package/%s: %s on cluster %s come from %s now, and none was written\n", pkg.Name, v1alpha1.Counted(len(plan.keys), "object"), m.Cluster, plan.Source)
		return err
	}
	_, err := fmt.Fprintf(m.Out, "package/%s: %s taken over on cluster %s\n", pkg.Name, v1alpha1.Counted(len(plan.keys), "object"), m.Cluster)
	return err
}

// confirm asks, after what is at stake was shown.
func (o *Options) confirm(question string) error {
	if o.Yes {
		return nil
	}
	fmt.Fprintf(o.Err, "\n%s Type yes to go on: ", question)
	said, err := bufio.NewReader(o.In).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading your answer: %w", err)
	}
	if strings.TrimSpace(said) != "yes" {
		return errors.New("nothing was changed: --yes answers for you")
	}
	return nil
}
