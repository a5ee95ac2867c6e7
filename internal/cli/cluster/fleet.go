package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/span"
	"umbel.dev/umbel/internal/lifecycle/ascent"
	"umbel.dev/umbel/internal/rollout"
)

// waves are the arguments of an upgrade of many clusters.
type waves struct {
	clusters, name             string
	canary, unavailable, fails string
	stages, approve            []string
	bake, deadline             time.Duration
	format                     output.Format
}

// onlyWaves are flags that an upgrade of one cluster has no use for, and onlyOne those of one.
var (
	onlyWaves = []string{"canary", "max-unavailable", "max-failures", "stage", "approve", "bake", "deadline", "rollout", "output"}
	onlyOne   = []string{"control-plane-only", "pool", "timeout"}
)

func (w *waves) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&w.clusters, "clusters", "", "`LABELS` of the clusters to bring there, one part after the other, by a Rollout")
	flags.StringVar(&w.canary, "canary", "", "`NUMBER` or part of the first stage that goes first (with --clusters)")
	flags.StringVar(&w.unavailable, "max-unavailable", "", "`NUMBER` or part of a stage that is on its way at once (default 10%, at least 1)")
	flags.StringVar(&w.fails, "max-failures", "", "`NUMBER` or part of all clusters that may fail before no other one is moved (default 0)")
	flags.StringArrayVar(&w.stages, "stage", nil, "`NAME=LABELS` of clusters that have their turn together, one stage after the other; the others come last")
	flags.StringSliceVar(&w.approve, "approve", nil, "`STAGES` that begin when somebody approves (`umbel rollout approve`)")
	flags.StringVar(&w.name, "rollout", "", "`NAME` of the Rollout (default kubernetes-VERSION)")
	span.Var(flags, &w.bake, "bake", "`DURATION` that clusters have to be healthy before others are moved")
	w.deadline = time.Hour
	span.Var(flags, &w.deadline, "deadline", "`DURATION` that a cluster may take before it has failed")
}

// checkFlags refuses what does not go together.
func (w *waves) checkFlags(flags *pflag.FlagSet, args []string) error {
	many := flags.Changed("clusters")
	switch {
	case many && len(args) > 0:
		return exit.Usagef("--clusters selects clusters by their labels: leave out %s", args[0])
	case !many && len(args) == 0:
		return exit.Usagef("name the cluster, or select some with --clusters LABELS")
	case many && !flags.Changed("version"):
		return exit.Usagef("--clusters: say which --version")
	}
	never, because := onlyWaves, "is of an upgrade of many clusters: --clusters LABELS selects them"
	if many {
		never, because = onlyOne, "is of the upgrade of one cluster: leave --clusters out"
	}
	for _, name := range never {
		if flags.Changed(name) {
			return exit.Usagef("--%s %s", name, because)
		}
	}
	return nil
}

// runWaves makes the Rollout, or shows what it would do.
func (o *upgradeOptions) runWaves(ctx context.Context, hub *client.Hub) error {
	r, err := o.rollout()
	if err != nil {
		return err
	}
	var members v1alpha1.MemberClusterList
	if err := hub.ListClusters(ctx, &members, labels.Everything()); err != nil {
		return err
	}
	if r.Spec.Release, err = chooseRelease(o.wish.Version, r, members.Items); err != nil {
		return err
	}
	if r.Name == "" {
		r.Name = "kubernetes-" + r.Spec.Release
	}
	preview, err := previewOf(r, members.Items, o.Now())
	if err != nil {
		return err
	}
	if o.dryRun && o.waves.format != "" {
		return output.Encode(o.Out, o.waves.format, r)
	}
	if o.dryRun {
		return preview.write(o.Factory)
	}
	if err := preview.able(); err != nil {
		return err
	}
	err = hub.Create(ctx, r)
	if apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("there is a rollout %s already: `umbel rollout status rollout/%s` shows how far it is; --rollout NAME begins another", r.Name, r.Name)
	}
	if err != nil {
		return err
	}
	if o.waves.format != "" {
		r.GetObjectKind().SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Rollout"))
		r.ManagedFields = nil
		return output.Encode(o.Out, o.waves.format, r)
	}
	fmt.Fprintf(o.Out, "rollout/%s created: it brings %s to Kubernetes %s\n", r.Name, v1alpha1.Counted(len(preview.rows)-preview.there, "cluster"), r.Spec.Release)
	o.Note("`umbel rollout status rollout/%s --watch` shows how far it is", r.Name)
	return nil
}

// rollout returns what is asked for, without a version.
func (o *upgradeOptions) rollout() (*v1alpha1.Rollout, error) {
	w := &o.waves
	selector, err := metav1.ParseToLabelSelector(w.clusters)
	if err != nil {
		return nil, exit.Usagef("--clusters %q: %v", w.clusters, err)
	}
	r := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: w.name}}
	r.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Rollout"))
	r.Spec = v1alpha1.RolloutSpec{
		Kubernetes: &v1alpha1.KubernetesRollout{ClusterSelector: *selector, RemovedAPIs: v1alpha1.RemovedRefuse},
		Number:     1, Purpose: v1alpha1.RolloutForward, Intent: v1alpha1.IntentRun,
	}
	if o.removed {
		r.Spec.Kubernetes.RemovedAPIs = v1alpha1.RemovedIgnore
	}
	r.Spec.Strategy, err = w.strategy()
	return r, err
}

// strategy returns what the flags come to: without a stage there is one of all clusters.
func (w *waves) strategy() (v1alpha1.RolloutStrategy, error) {
	s := v1alpha1.RolloutStrategy{ProgressDeadline: &metav1.Duration{Duration: w.deadline}, MaxFailures: quantity(w.fails)}
	if len(w.stages) == 0 {
		s.Stages = []v1alpha1.RolloutStage{{Name: "all"}}
	}
	for _, text := range w.stages {
		name, chosen, ok := strings.Cut(text, "=")
		selector, err := metav1.ParseToLabelSelector(chosen)
		if !ok || name == "" || err != nil {
			return s, exit.Usagef("--stage %q: say NAME=LABELS, such as canary=env=dev", text)
		}
		s.Stages = append(s.Stages, v1alpha1.RolloutStage{Name: name, ClusterSelector: *selector})
	}
	s.Stages[0].Canary = quantity(w.canary)
	for i := range s.Stages {
		s.Stages[i].MaxUnavailable = quantity(w.unavailable)
		if w.bake > 0 {
			s.Stages[i].Bake = &metav1.Duration{Duration: w.bake}
		}
	}
	for _, name := range w.approve {
		at := slices.IndexFunc(s.Stages, func(stage v1alpha1.RolloutStage) bool { return stage.Name == name })
		if at < 0 {
			return s, exit.Usagef("--approve %s: there is no such stage; --stage %s=LABELS makes one", name, name)
		}
		s.Stages[at].Approvals = []v1alpha1.ApprovalPoint{v1alpha1.ApproveBefore}
	}
	return s, nil
}

// quantity is a number, or a part of something; nil for nothing.
func quantity(text string) *intstr.IntOrString {
	if text == "" {
		return nil
	}
	return new(intstr.Parse(text))
}

// chooseRelease returns the newest version that somebody can mean, of those that one of the clusters has or can have next.
func chooseRelease(wanted string, r *v1alpha1.Rollout, members []v1alpha1.MemberCluster) (string, error) {
	var offered []string
	selected := 0
	for i := range members {
		m := &members[i]
		if one, err := rollout.Selects(r, m); err != nil {
			return "", err
		} else if !one {
			continue
		}
		selected++
		if m.Status.Lifecycle != nil {
			offered = append(offered, m.Status.Lifecycle.Version)
			offered = append(offered, m.Status.Lifecycle.Next...)
		}
	}
	if selected == 0 {
		return "", fmt.Errorf("--clusters: the hub makes no cluster in namespace %s that these labels select: `umbel cluster get` lists those that it makes", r.Namespace)
	}
	slices.SortFunc(offered, ascent.Compare)
	offered = slices.Compact(offered)
	for _, one := range slices.Backward(offered) {
		if strings.Count(one, ".") == 2 && ascent.Means(wanted, one) {
			return one, nil
		}
	}
	if full := "v" + strings.TrimPrefix(wanted, "v"); strings.Count(full, ".") == 2 {
		return full, nil // each cluster says why it cannot have it
	}
	return "", fmt.Errorf("--version %s: none of the %s can have it next, but %s: one minor after another, and in full where their class does not say which it has",
		wanted, v1alpha1.Counted(selected, "cluster"), strings.Join(offered, ", "))
}

// preview is what a Rollout would do with its clusters.
type preview struct {
	release string
	rows    [][]output.Cell
	// waits are those that it would not bring there now, and why.
	waits []string
	// moves is how many would be brought there, or have it, and there how many have it.
	moves, there int
}

func previewOf(r *v1alpha1.Rollout, members []v1alpha1.MemberCluster, now time.Time) (*preview, error) {
	clusters, err := rollout.KubernetesOf(r, members)
	if err != nil {
		return nil, err
	}
	status, err := rollout.Begin(r, clusters, func(v1alpha1.ClusterName) string { return "" }, now)
	if err != nil {
		return nil, err
	}
	seen := map[v1alpha1.ClusterName]*rollout.Cluster{}
	for i := range clusters {
		seen[clusters[i].Name] = &clusters[i]
	}
	p := &preview{release: r.Spec.Release}
	for _, stage := range status.Stages {
		for _, name := range stage.Waiting {
			c := seen[name]
			note := "→ " + r.Spec.Release
			switch {
			case c.State == rollout.Away:
				note = "is not connected, and follows when it is"
			case c.State == rollout.Well && c.Content:
				note = "has it"
				p.there++
			case c.Message != "":
				note = c.Message
				p.waits = append(p.waits, fmt.Sprintf("%s: %s", name, c.Message))
			}
			if c.State != rollout.Blocked {
				p.moves++
			}
			p.rows = append(p.rows, output.Cells(stage.Name, string(name), c.Holds, note))
		}
	}
	return p, nil
}

func (p *preview) write(f *client.Factory) error {
	table := output.Table{Headers: []string{"STAGE", "CLUSTER", "HAS", "WHAT WOULD BE DONE"}, Palette: f.Palette(f.Out)}
	return table.Write(f.Out, p.rows)
}

// able says why a Rollout would do nothing.
func (p *preview) able() error {
	const few = 5
	switch {
	case p.moves > 0:
		return nil
	case len(p.rows) == 0:
		return errors.New("every cluster that is selected has a later version: nothing is changed")
	}
	return fmt.Errorf("none of the clusters can be brought to %s: %s", p.release, strings.Join(p.waits[:min(few, len(p.waits))], "; "))
}
