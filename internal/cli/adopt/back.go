package adopt

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/adopt/member"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/progress"
)

// back gives a cluster's objects back to whom they were taken from.
func (o *Options) back(ctx context.Context, hub *client.Hub) error {
	m, err := o.begin(ctx, hub)
	if err != nil {
		return err
	}
	pkg, err := m.book.find(ctx)
	if err != nil {
		return err
	}
	if pkg == nil {
		return fmt.Errorf("there is no package %s: `umbel get packages -A` lists them; -n names the namespace", m.book.key)
	}
	a, err := m.memory().recall(ctx, pkg.UID)
	if err != nil {
		return m.onMember(ctx, err)
	}
	if a == nil {
		return fmt.Errorf("package %s took nothing over on cluster %s", m.book.key, o.Cluster)
	}
	if err := m.meet(ctx, a.From, string(a.Control)); err != nil {
		return err
	}
	held, err := m.held(ctx)
	if err != nil {
		return err
	}
	o.Note("%s of package %s on cluster %s %s back to %s.\nWhat there is stays as it is, also what the package made.", v1alpha1.Counted(len(held), "object"), m.book.key, o.Cluster, v1alpha1.Agreeing(len(held), "goes", "go"), m.from)
	if a.Control != "" {
		o.Note("It is told what to do on cluster %s.", a.Control)
	}
	if len(a.Was) > len("{}") {
		o.Note("There it is made with your rights what it was, as the cluster remembers it:\n%s", a.Was)
	}
	if o.DryRun {
		return nil
	}
	if err := o.confirm("Are they to go back?"); err != nil {
		return err
	}
	return m.giveBack(ctx, a)
}

// held are the objects on the member that an agent applied for the Package.
func (m *move) held(ctx context.Context) ([]member.Found, error) {
	label := v1alpha1.KeyOf(m.book.key.Namespace, m.book.key.Name).LabelValue()
	all, err := m.member.Everything(ctx, "", v1alpha1.PackageLabel+"="+label)
	return member.Ours(all), m.onMember(ctx, err)
}

// giveBack goes the steps, of which each may have been done before.
func (m *move) giveBack(ctx context.Context, a *adoption) error {
	cluster := v1alpha1.ClusterName(m.Cluster)
	view := progress.On(output.Streams{Err: m.Err}, m.Now)
	defer view.Close()
	given := 0
	give := func() ([]member.Found, error) {
		held, err := m.held(ctx)
		if err != nil {
			return nil, err
		}
		given = max(given, len(held))
		_, err = m.member.GiveBack(ctx, member.Keys(held), a.Managers, metav1.NewTime(m.Now()))
		return held, m.onMember(ctx, err)
	}
	for _, s := range []struct {
		name string
		do   func(*progress.Step) error
	}{
		{"the fields are given back", func(*progress.Step) error {
			_, err := give()
			return err
		}},
		{"the agent of " + m.Cluster + " lets go", func(step *progress.Step) error {
			if err := m.book.displace(ctx, cluster, m.Now()); err != nil {
				return err
			}
			if err := await(ctx, step, m.Timeout, m.book.gone(cluster)); err != nil {
				return err
			}
			rest, err := give() // what no agent holds
			if err != nil {
				return err
			}
			return m.onMember(ctx, m.member.Disown(ctx, rest))
		}},
		{"started again: " + m.from.String(), func(*progress.Step) error { return m.onMember(ctx, m.from.Start(ctx, m.control, a.Was)) }},
		{"the hub and the cluster forget it", func(step *progress.Step) error {
			last, err := m.book.forget(ctx, cluster)
			if err == nil && last {
				err = await(ctx, step, m.Timeout, m.book.deleted)
			}
			if err != nil {
				return err
			}
			return m.onMember(ctx, m.memory().forget(ctx)) // the last: until then each step may be repeated
		}},
	} {
		if err := view.Run(s.name, s.do); err != nil {
			return fmt.Errorf("%w\nthe same command goes on from here", err)
		}
	}
	_, err := fmt.Fprintf(m.Out, "package/%s: %s given back on cluster %s\n", m.book.key.Name, v1alpha1.Counted(given, "object"), m.Cluster)
	return err
}
