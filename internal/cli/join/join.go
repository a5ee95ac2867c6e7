// Package join is `umbel join`: it makes an existing cluster a member of the fleet.
//
// It runs where the person runs it, with two kubeconfigs: the hub's and the cluster's. On the hub it creates the
// MemberCluster and a one-time token, of which the hub keeps the hash; on the cluster it installs the agent (deploy/agent.yaml)
// with that token. The cluster's kubeconfig goes nowhere else: the hub never sees a credential of a member.
package join

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/progress"
	"umbel.dev/umbel/internal/identity"
)

const examples = `  # make a cluster a member, with the labels that placements select by
  umbel join prod-eu --kubeconfig ~/.kube/prod-eu.yaml --label env=prod --label region=eu

  # a kubeconfig with several contexts
  umbel join dev --kubeconfig ~/.kube/config --context dev --label env=dev`

// tokenLife is how long the agent has to present its token.
const tokenLife = time.Hour

// AgentMode says how the agent runs.
type AgentMode string

const (
	// Deployment runs the agent as a Deployment in the cluster.
	Deployment AgentMode = "deployment"
	// Process leaves it to the caller to run umbel-agent: for clusters without nodes.
	Process AgentMode = "process"
)

// Options are the arguments of `umbel join`.
type Options struct {
	*client.Factory
	// Name of the member.
	Name v1alpha1.ClusterName
	// Member is the kubeconfig of the cluster, MemberContext one of its contexts; empty means the current one.
	Member        string
	MemberContext string
	// Labels of the MemberCluster.
	Labels map[string]string
	// Agent says how the agent runs, and AgentDir, for a process, where its files go.
	Agent    AgentMode
	AgentDir string
	// Timeout is how long the agent has to connect.
	Timeout time.Duration
	// Progress shows what is being done. Optional: by default lines go to the error stream.
	Progress *progress.View
}

// NewCmd returns the command `umbel join`.
func NewCmd(f *client.Factory) *cobra.Command {
	o := &Options{Factory: f}
	cmd := &cobra.Command{
		Use:   "join NAME --kubeconfig FILE",
		Short: "Make an existing cluster a member of the fleet",
		Long: "Make an existing cluster a member of the fleet: install the agent there and wait until it is connected.\n\n" +
			"--kubeconfig is the cluster's; it is used here and now, and never sent to the hub. The hub is the one in the\n" +
			"data folder, or --hub-kubeconfig. The agent dials out: nothing on the cluster has to be reachable.",
		Example: examples,
		Args:    exit.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Name = v1alpha1.ClusterName(args[0])
			hub, err := f.Connect()
			if err != nil {
				return err
			}
			view := progress.New(f.Err, progress.Liveness(output.Terminal(f.Err)), f.Now)
			defer view.Close()
			o.Progress = view
			return hub.Explain(Run(cmd.Context(), o, hub))
		},
	}
	// On this command --kubeconfig is the cluster's, as people expect; the hub's has a name of its own.
	cmd.Flags().StringVar(&o.Member, "kubeconfig", "", "kubeconfig of the cluster that joins")
	cmd.Flags().StringVar(&f.Kubeconfig, "hub-kubeconfig", f.Kubeconfig, "kubeconfig of the hub (default: the hub in the data folder)")
	cmd.Flags().StringVar(&o.MemberContext, "context", "", "context of the cluster's kubeconfig (default: its current one)")
	cmd.Flags().StringToStringVarP(&o.Labels, "label", "l", nil, "labels for placements to select by, such as env=prod")
	cmd.Flags().StringVar((*string)(&o.Agent), "agent", string(Deployment), "how the agent runs: deployment, or process (you run umbel-agent)")
	cmd.Flags().StringVar(&o.AgentDir, "agent-dir", "", "with --agent=process: where the agent's files are written")
	cmd.Flags().DurationVar(&o.Timeout, "timeout", 2*time.Minute, "how long the agent may take to connect")
	_ = cmd.MarkFlagRequired("kubeconfig") // it fails for a flag that does not exist only
	return cmd
}

func (o *Options) check() error {
	switch {
	case o.Agent != Deployment && o.Agent != Process:
		return exit.Usagef("--agent is deployment or process, not %q", o.Agent)
	case o.Agent == Process && o.AgentDir == "":
		return exit.Usagef("--agent=process needs --agent-dir: where the agent's files are written")
	}
	return nil
}

// Run joins the cluster. It may be called again after it failed half way.
func Run(ctx context.Context, o *Options, hub *client.Hub) error {
	if err := o.check(); err != nil {
		return err
	}
	target, err := openMember(o.Member, o.MemberContext)
	if err != nil {
		return err
	}
	var boot v1alpha1.Bootstrap
	var image string
	err = o.Progress.Run(fmt.Sprintf("%s: hub knows the cluster", o.Name), func(*progress.Step) error {
		if boot, image, err = hubInfo(ctx, hub); err != nil {
			return err
		}
		boot.Cluster = o.Name
		if err := o.createMember(ctx, hub); err != nil {
			return err
		}
		boot.Token, err = createToken(ctx, hub, o.Name, o.Now().Add(tokenLife))
		return err
	})
	if err != nil {
		return err
	}
	err = o.Progress.Run(fmt.Sprintf("%s: agent installed", o.Name), func(*progress.Step) error {
		if o.Agent == Process {
			image = ""
		}
		if err := target.install(ctx, boot, image); err != nil {
			return err
		}
		if o.Agent == Process {
			return writeProcess(o.AgentDir, o.Member, boot)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return o.Progress.Run(fmt.Sprintf("%s: agent connected", o.Name), func(step *progress.Step) error {
		return o.await(ctx, hub, target, step)
	})
}

// hubInfo reads how members reach the hub.
func hubInfo(ctx context.Context, hub kube.Client) (v1alpha1.Bootstrap, string, error) {
	var info corev1.ConfigMap
	err := hub.Get(ctx, kube.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.HubInfoConfigMap}, &info)
	if apierrors.IsNotFound(err) {
		return v1alpha1.Bootstrap{}, "", errors.New("the hub has not said yet how members reach it: is `umbel hub` running?")
	}
	if err != nil {
		return v1alpha1.Bootstrap{}, "", err
	}
	return v1alpha1.Bootstrap{Address: info.Data[v1alpha1.HubInfoAddress], CA: info.Data[v1alpha1.HubInfoCA]}, info.Data[v1alpha1.HubInfoAgentImage], nil
}

// createMember creates the MemberCluster, or takes one up that has never had an agent.
func (o *Options) createMember(ctx context.Context, hub kube.Client) error {
	member := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: string(o.Name), Labels: o.Labels}}
	err := hub.Create(ctx, member)
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	if err := hub.Get(ctx, kube.ObjectKeyFromObject(member), member); err != nil {
		return err
	}
	if !member.DeletionTimestamp.IsZero() {
		return fmt.Errorf("cluster %q is leaving the fleet; `umbel describe cluster %s` shows what it waits for", o.Name, o.Name)
	}
	if member.Status.Identity != nil {
		return fmt.Errorf("the name %q is taken: a cluster joined under it already (key %.12s…); choose another name, or run `umbel leave %s` first",
			o.Name, member.Status.Identity.KeyFingerprint, o.Name)
	}
	patch := kube.MergeFrom(member.DeepCopy())
	if member.Labels == nil {
		member.Labels = map[string]string{}
	}
	for k, v := range o.Labels {
		member.Labels[k] = v
	}
	return hub.Patch(ctx, member, patch)
}

// createToken makes a one-time token for the cluster and keeps its hash on the hub.
func createToken(ctx context.Context, hub kube.Client, cluster v1alpha1.ClusterName, expires time.Time) (string, error) {
	token, err := identity.NewToken()
	if err != nil {
		return "", err
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.JoinTokenSecret(cluster)},
		Type:       v1alpha1.JoinTokenType,
		StringData: map[string]string{
			v1alpha1.JoinTokenHash:    identity.HashToken(token),
			v1alpha1.JoinTokenExpires: expires.UTC().Format(time.RFC3339),
		},
	}
	if err := hub.Delete(ctx, secret.DeepCopy()); err != nil && !apierrors.IsNotFound(err) {
		return "", err
	}
	return token, hub.Create(ctx, secret)
}

// await waits until the hub says that the agent is connected. When it does not come, the error says what is known.
func (o *Options) await(ctx context.Context, hub *client.Hub, target *member, step *progress.Step) error {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	watching, err := hub.Watch(ctx, &v1alpha1.MemberClusterList{}, kube.MatchingFields{"metadata.name": string(o.Name)})
	if err != nil {
		return err
	}
	defer watching.Stop()
	last := "the hub has not heard of the agent"
	for {
		select {
		case event, open := <-watching.ResultChan():
			if !open && ctx.Err() == nil {
				return errors.New("the hub ended the watch: is it still running? `umbel join` may be run again")
			}
			mc, ok := event.Object.(*v1alpha1.MemberCluster)
			if !ok {
				continue
			}
			connected := meta.FindStatusCondition(mc.Status.Conditions, v1alpha1.ConditionConnected)
			if connected != nil && connected.Status == metav1.ConditionTrue {
				return nil
			}
			if connected != nil && connected.Message != "" {
				last = connected.Message
				step.Note("%s", last)
			}
		case <-ctx.Done():
			why := last
			if o.Agent == Deployment {
				why = target.why(context.WithoutCancel(ctx), last)
			}
			return fmt.Errorf("the agent of %s did not connect within %s: %s", o.Name, o.Timeout, why)
		}
	}
}

// BootstrapFile is where an agent that runs as a process finds its hub, in its folder.
func BootstrapFile(dir string) string { return filepath.Join(dir, "bootstrap.json") }
