package upgrade

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/util/retry"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/kinds"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/span"
	"umbel.dev/umbel/internal/kube/conditions"
	"umbel.dev/umbel/internal/upgrade"
)

type agents struct {
	*client.Factory
	clusters, version, image, wave string
	canary                         int32
	bake, timeout                  time.Duration
	dryRun, wait                   bool
	format                         output.Format
}

func newAgentsCmd(f *client.Factory) *cobra.Command {
	o := &agents{Factory: f}
	cmd := &cobra.Command{
		Use:   "agents",
		Short: "Say which program the agents are to run",
		Long: "Say which program the agents are to run: the one that this hub brings, or one that an earlier hub brought (--version).\n\n" +
			"It replaces what was asked for before, and lets clusters that failed try again. Clusters that are not connected have\n" +
			"their turn when they are back.",
		Example: `  # all agents get the program that this hub brings; the first cluster alone, then a tenth at once
  umbel upgrade agents

  # what would happen
  umbel upgrade agents --dry-run

  # development first, two at once, and wait for the end
  umbel upgrade agents --clusters env=dev --wave 2 --bake 5m --wait

  # back to an earlier program
  umbel upgrade agents --version v0.1.0

  # clusters whose nodes cannot pull from the hub (see umbel hub image)
  umbel upgrade agents --clusters net=closed --image registry.example.com/umbel/agent:v0.2.0`,
		Args:              exit.Takes(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			spec, err := o.spec()
			if err != nil {
				return err
			}
			return f.OnHub(cmd.Context(), func(ctx context.Context, hub *client.Hub) error { return o.run(ctx, hub, spec) })
		},
	}
	cmd.Flags().StringVar(&o.clusters, "clusters", "", "`SELECTOR` of the clusters' labels (default: every cluster)")
	cmd.Flags().StringVar(&o.version, "version", "", "`BUILD`, or the beginning of one, that the hub knows (default: the one that this hub brings)")
	cmd.Flags().StringVar(&o.image, "image", "", "`REF` of the same program, for clusters whose agent is not from the hub's registry")
	cmd.Flags().StringVar(&o.wave, "wave", "10%", "`N` or N%: how many clusters change at once")
	cmd.Flags().Int32Var(&o.canary, "canary", 1, "`N`: how many clusters change first, before any other")
	o.bake = time.Minute
	span.Var(cmd.Flags(), &o.bake, "bake", "`DURATION` that a wave has to be well before the next begins")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "show what would happen, and change nothing")
	cmd.Flags().BoolVar(&o.wait, "wait", false, "wait until every cluster that can be reached is upgraded, or one fails")
	o.timeout = time.Hour
	span.Var(cmd.Flags(), &o.timeout, "timeout", "`DURATION` for which --wait waits")
	output.AddFlag(cmd, &o.format, output.JSON, output.YAML)
	cmd.Flags().Lookup("output").Usage += " (with --dry-run)"
	_ = cmd.RegisterFlagCompletionFunc("clusters", f.CompleteLabels(kinds.Clusters)) // it fails for a flag that does not exist only
	return cmd
}

// spec is what the flags ask for, but for the build.
func (o *agents) spec() (v1alpha1.AgentUpgradeSpec, error) {
	if o.format != output.Human && !o.dryRun {
		return v1alpha1.AgentUpgradeSpec{}, exit.Usagef("-o is for --dry-run: `umbel upgrade status -o %s` shows what was asked for, and how far it is", o.format)
	}
	selector, err := metav1.ParseToLabelSelector(o.clusters)
	if err != nil {
		return v1alpha1.AgentUpgradeSpec{}, exit.Usagef("--clusters: %w", err)
	}
	if o.image != "" {
		if _, err := name.ParseReference(o.image); err != nil {
			return v1alpha1.AgentUpgradeSpec{}, exit.Usagef("--image: %w", err)
		}
	}
	wave := intstr.Parse(o.wave)
	if n, err := intstr.GetScaledValueFromIntOrPercent(&wave, 100, true); err != nil || n < 1 || wave.Type == intstr.String && n > 100 {
		return v1alpha1.AgentUpgradeSpec{}, exit.Usagef("--wave is a number of clusters from 1, or a part of them from 1%% to 100%%, not %q", o.wave)
	}
	if o.canary < 1 || o.bake < 0 {
		return v1alpha1.AgentUpgradeSpec{}, exit.Usagef("--canary is at least 1, and --bake no negative time")
	}
	return v1alpha1.AgentUpgradeSpec{
		ClusterSelector: *selector, Image: o.image, Wave: wave, Canary: o.canary, Bake: metav1.Duration{Duration: o.bake},
		Intent: v1alpha1.UpgradeRun,
	}, nil
}

func (o *agents) run(ctx context.Context, hub *client.Hub, spec v1alpha1.AgentUpgradeSpec) error {
	var info corev1.ConfigMap
	if err := hub.Get(ctx, kube.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.HubInfoConfigMap}, &info); err != nil {
		return fmt.Errorf("reading which agent the hub brings: %w", err)
	}
	repository, own := upgrade.SplitImage(info.Data[v1alpha1.HubInfoAgentImage])
	members := &v1alpha1.MemberClusterList{}
	if err := hub.List(ctx, members); err != nil {
		return err
	}
	var err error
	if err := o.some(spec, members.Items); err != nil {
		return err
	}
	if spec.Build, err = choose(o.version, own, members.Items); err != nil {
		return err
	}
	if o.dryRun {
		// A hub is of the version of the agent that it brings; this program may be of another.
		return o.show(spec, upgrade.Seen{Clusters: members.Items, Repository: repository, HubVersion: own})
	}
	made, err := o.write(ctx, hub, spec)
	if err != nil {
		return err
	}
	fmt.Fprintf(o.Out, "agentupgrade/%s: %s\n", made.Name, spec.Build)
	if !o.wait {
		o.Note("`umbel upgrade status` shows how far it is")
		return nil
	}
	return o.await(ctx, hub, made.Generation)
}

// some makes sure that the labels mean a cluster: of a typo it would be said that all is done.
func (o *agents) some(spec v1alpha1.AgentUpgradeSpec, members []v1alpha1.MemberCluster) error {
	selected, err := upgrade.Selected(spec, members)
	if err == nil && len(selected) == 0 && o.clusters != "" {
		return fmt.Errorf("no clusters match %s (of %s): nothing is asked for or changed; `umbel get clusters -o wide` shows their labels", o.clusters, v1alpha1.Counted(len(members), "cluster"))
	}
	return err
}

// choose returns the build that is meant: the hub's own, or the one that begins so, of those that the hub knows.
func choose(asked, own string, members []v1alpha1.MemberCluster) (string, error) {
	if asked == "" {
		if own == "" {
			return "", errors.New("the hub has not said yet which agent it brings: is `umbel hub` running?")
		}
		return own, nil
	}
	known := map[string]bool{own: true}
	for _, m := range members {
		if m.Status.Agent != nil {
			known[m.Status.Agent.Build] = true
		}
		if m.Spec.Agent != nil {
			known[m.Spec.Agent.Build] = true
		}
	}
	builds := slices.Sorted(maps.Keys(known))
	fits := slices.DeleteFunc(slices.Clone(builds), func(build string) bool { return !strings.HasPrefix(build, asked) })
	switch {
	case slices.Contains(fits, asked):
		return asked, nil
	case len(fits) == 1:
		return fits[0], nil
	case len(fits) > 1:
		return "", exit.Usagef("--version %q: several builds begin so: %s", asked, strings.Join(fits, ", "))
	}
	return "", exit.Usagef("--version %q: the hub knows no build that begins so; it knows %s", asked, strings.Join(builds, ", "))
}

// write makes the upgrade, or asks for another one. Clusters that failed try again.
func (o *agents) write(ctx context.Context, hub kube.Client, spec v1alpha1.AgentUpgradeSpec) (*v1alpha1.AgentUpgrade, error) {
	made := &v1alpha1.AgentUpgrade{}
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		was, err := current(ctx, hub)
		if errors.Is(err, errNone) {
			made = &v1alpha1.AgentUpgrade{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.AgentUpgradeName}, Spec: spec}
			return hub.Create(ctx, made)
		}
		if err != nil {
			return err
		}
		made = was.DeepCopy()
		made.Spec = spec
		if was.Spec.Build == spec.Build {
			made.Spec.Attempt = was.Spec.Attempt
			if was.Status.Failed > 0 {
				made.Spec.Attempt++
			}
		}
		return hub.Patch(ctx, made, kube.MergeFromWithOptions(was, kube.MergeFromWithOptimisticLock{}))
	})
	return made, err
}

// show prints what would happen.
func (o *agents) show(spec v1alpha1.AgentUpgradeSpec, seen upgrade.Seen) (err error) {
	if seen.Clusters, err = upgrade.Selected(spec, seen.Clusters); err != nil {
		return err
	}
	status := upgrade.Next(&v1alpha1.AgentUpgrade{Spec: spec}, seen, o.Now()).Status
	conditions.DeriveReady(&status.Conditions, 0, v1alpha1.ConditionAdvancing, v1alpha1.ConditionUpgraded)
	o.Note("dry run: nothing is changed; this is how it would begin")
	planned := &v1alpha1.AgentUpgrade{Spec: spec, Status: status}
	planned.Name = v1alpha1.AgentUpgradeName
	return printAs(o.Factory, planned, o.format)
}

// await waits until the upgrade is done, or has stopped.
func (o *agents) await(ctx context.Context, hub kube.Client, generation int64) error {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("not done in %s: %s", o.timeout, said)
		case <-tick.C:
		}
		now, err := current(ctx, hub)
		if err != nil {
			if ctx.Err() != nil {
				continue
			}
			return err
		}
		ready := meta.FindStatusCondition(now.Status.Conditions, v1alpha1.ConditionReady)
		if ready == nil || now.Status.ObservedGeneration < generation {
			continue
		}
		if text := fmt.Sprintf("%d/%d: %s", now.Status.Done, now.Status.Selected, ready.Message); text != said {
			said = text
			o.Note("%s", said)
		}
		switch {
		case ready.Status == metav1.ConditionTrue:
			return nil
		case meta.IsStatusConditionFalse(now.Status.Conditions, v1alpha1.ConditionAdvancing):
			return errors.New(ready.Message)
		}
	}
}
