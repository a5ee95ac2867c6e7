package cluster

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/progress"
	"umbel.dev/umbel/internal/cli/span"
)

const createExamples = `  # a cluster on the hub's machine, once ` + "`umbel provider add local`" + ` has been run there
  umbel cluster create dev --workers 1 --labels env=dev

  # one whose API outlives the loss of a member
  umbel cluster create prod --control-plane 3 --workers 3

  # and two machines more, with a label that pods can ask for
  umbel cluster create dev --workers 1 --pool big=2,node.cluster.x-k8s.io/size=big

  # machines in two zones of a vCenter
  umbel cluster create far --class vsphere --workers 1 --zone east --pool west=1,zone=west

  # one whose Services of type LoadBalancer get addresses, of sixteen
  umbel cluster create shop --workers 2 --load-balancer-pool 0.0.0.0/28

  # one that begins with what a snapshot of another one holds
  umbel cluster create copy --from-backup dev

  # what would be made?
  umbel cluster create dev --class local --version 1.36 --workers 3 --dry-run`

// createOptions are the arguments of `umbel cluster create`.
type createOptions struct {
	*client.Factory
	wish    wish
	pools   []string
	from    string
	dryRun  bool
	timeout time.Duration
}

func newCreateCmd(f *client.Factory) *cobra.Command {
	o := &createOptions{Factory: f}
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a cluster",
		Long: "Make a cluster after a class, and return when its machines are there and it is a member of the fleet.\n\n" +
			"What is in the way is said before anything is made, and about what its machines cost where the hub has prices (umbel capacity). When the command is interrupted the cluster goes on to be made: `umbel cluster\n" +
			"describe` shows how far it is.",
		Example:           createExamples,
		Args:              exit.Takes("NAME"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.wish.name, o.wish.namespace = args[0], f.Namespace
			for _, text := range o.pools {
				p, err := parsePool(text)
				if err != nil {
					return exit.Usage(err)
				}
				o.wish.pools = append(o.wish.pools, p)
			}
			return f.OnHub(cmd.Context(), o.run)
		},
	}
	f.AddNamespaceFlag(cmd)
	cmd.Flags().StringVar(&o.wish.class, "class", v1alpha1.LocalProvider, "`CLASS`: a ClusterClass of the hub")
	cmd.Flags().StringVar(&o.wish.version, "version", "", "`VERSION` of Kubernetes, such as 1.36 (default: the newest that the class has)")
	cmd.Flags().IntVar(&o.wish.workers, "workers", 1, "`NUMBER` of machines for pods")
	cmd.Flags().StringVar(&o.wish.zone, "zone", "", "`ZONE` that those machines are in, by its name in the infrastructure (default: what the class says)")
	cmd.Flags().IntVar(&o.wish.planes, "control-plane", 1, "`NUMBER` of members of the control plane: 1, or 3, of which one may be lost")
	cmd.Flags().StringArrayVar(&o.pools, "pool", nil, "`NAME=NUMBER` of more machines, and their zone, and labels and taints of their nodes: NAME=NUMBER,zone=ZONE,KEY=VALUE,KEY=VALUE:EFFECT,...; can be given several times")
	cmd.Flags().StringToStringVarP(&o.wish.labels, "labels", "l", nil, "`KEY=VALUE,...` for placements to select by, such as env=prod,region=eu")
	cmd.Flags().StringVar(&o.wish.pods, "pods", "", "`CIDR` of the pods' addresses (default: one that is free)")
	cmd.Flags().StringVar(&o.wish.services, "services", "", "`CIDR` of the services' addresses (default: one that is free)")
	cmd.Flags().StringVar(&o.wish.balancer, "load-balancer-pool", "", "`CIDR` of the addresses of Services of type LoadBalancer, or 0.0.0.0/28 for any of that size that is free (default: none)")
	cmd.Flags().BoolVar(&o.wish.protect, "protect", false, "keep it from being deleted, until umbel cluster unprotect lets it go")
	cmd.Flags().StringVar(&o.from, "from-backup", "", "`BACKUP[/SNAPSHOT]` that it begins with, as `umbel cluster backups` lists them (default: the newest of BACKUP)")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "look whether it can be made, print the objects, and make nothing")
	o.timeout = 5 * time.Minute
	span.Var(cmd.Flags(), &o.timeout, "timeout", "`DURATION` to wait for the cluster")
	_ = cmd.RegisterFlagCompletionFunc("from-backup", completeSnapshots(f))
	_ = cmd.RegisterFlagCompletionFunc("class", client.CompleteValue(f, func(ctx context.Context, hub *client.Hub) ([]string, error) {
		s, err := survey(ctx, hub, wish{namespace: f.Namespace})
		var names []string
		for _, c := range s.classes {
			names = append(names, c.GetName())
		}
		return names, err
	}, func(name string) string { return name })) // it fails for a flag that does not exist only
	return cmd
}

func (o *createOptions) run(ctx context.Context, hub *client.Hub) error {
	if o.from != "" {
		from, err := originOf(ctx, hub, o.wish.namespace, o.from, "")
		if err != nil {
			return err
		}
		o.wish = o.wish.beginningWith(from, o.Now())
	}
	s, err := survey(ctx, hub, o.wish)
	if err != nil {
		return err
	}
	ordered, err := preflight(o.wish, s)
	if err == nil {
		err = ordered.growth(s.classes).ask(ctx, o.Factory, hub)
	}
	if err != nil {
		return fmt.Errorf("cluster %q cannot be made: %s", o.wish.name, strings.ReplaceAll(err.Error(), "\n", "; and "))
	}
	cluster := ordered.object()
	if o.dryRun {
		if err := whenServed(ctx, func() error { return hub.Create(ctx, cluster.DeepCopy(), kube.DryRunAll) }); err != nil {
			return fmt.Errorf("cluster %q cannot be made: %w", o.wish.name, err)
		}
		return output.Encode(o.Out, output.YAML, cluster.Object)
	}
	if err := whenServed(ctx, func() error { return hub.Create(ctx, cluster.DeepCopy()) }); err != nil {
		return fmt.Errorf("cluster %q cannot be made: %w", o.wish.name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	view := progress.On(o.Streams, o.Now)
	defer view.Close()
	key := kube.ObjectKey{Namespace: o.wish.namespace, Name: o.wish.name}
	if err := follow(ctx, hub, view, key, placeStage, planeStage, machinesStage(ctx, hub, key)); err != nil {
		return err
	}
	if o.wish.planes > 1 {
		if err := follow(ctx, hub, view, key, membersStage); err != nil {
			return err
		}
	}
	if o.wish.machines() == 0 {
		view.Close()
		o.Note("Its agent comes when it has machines: `umbel cluster scale %s --workers 1 -n %s`", key.Name, key.Namespace)
		return nil
	}
	return joined(ctx, hub, view, key.Name)
}

// survey reads what a wish is held against.
func survey(ctx context.Context, hub kube.Reader, w wish) (s seen, err error) {
	if s.clusters, err = list(ctx, hub, kind("Cluster")); err != nil {
		return s, err
	}
	namespaces := []string{v1alpha1.SystemNamespace}
	if w.namespace != v1alpha1.SystemNamespace {
		namespaces = append(namespaces, w.namespace)
	}
	for _, namespace := range namespaces {
		classes, err := list(ctx, hub, kind("ClusterClass"), kube.InNamespace(namespace))
		if err != nil {
			return s, err
		}
		s.classes = append(s.classes, classes...)
	}
	hosted := schema.GroupVersionKind{Group: "infrastructure.umbel.dev", Version: "v1alpha1", Kind: "HostedCluster"}
	if s.places, err = list(ctx, hub, hosted); err != nil && err != errNoAPI { // there are other providers
		return s, err
	}
	if w.name == "" {
		return s, nil
	}
	info := &corev1.ConfigMap{}
	err = hub.Get(ctx, kube.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.HubInfoConfigMap}, info)
	if kube.IgnoreNotFound(err) != nil {
		return s, err
	}
	s.hub = info.Data[v1alpha1.HubInfoAddress]
	member := &v1alpha1.MemberCluster{}
	err = hub.Get(ctx, kube.ObjectKey{Name: w.name}, member)
	if apierrors.IsNotFound(err) || apierrors.IsInvalid(err) {
		return s, nil
	}
	s.member = member
	return s, err
}
