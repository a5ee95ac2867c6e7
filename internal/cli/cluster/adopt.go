package cluster

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/join"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/progress"
	"umbel.dev/umbel/internal/cli/span"
	"umbel.dev/umbel/internal/lifecycle/enrol"
)

const adoptLong = `Make a member of a cluster that Cluster API made and nobody told the hub of. Its Cluster is on the hub's API, or, with --from, on that of
another management cluster. It is reached by the kubeconfig that Cluster API keeps of it (Secret NAME-kubeconfig), from here; the agent is installed there, and the
labels of the Cluster are the member's.

Nothing of Cluster API is written: not a Cluster, a control plane, a pool or a machine, nor a label, annotation or finalizer of one. So whoever
made it goes on as before.

A Cluster of the hub's API is managed then: ` + "`umbel cluster`" + ` scales, upgrades and deletes it, when somebody says so, and the hub keeps the labels of the member
as those of the Cluster. One of another management cluster is attached: it is scaled, upgraded and deleted there, ` + "`umbel cluster describe NAME --kubeconfig FILE`" + `
shows it, and ` + "`umbel label cluster`" + ` changes the labels, of which that API tells nobody here.
` + "`umbel leave NAME`" + ` takes it out of the fleet again, and leaves the Cluster as it is. Once the Cluster is deleted, ` + "`umbel leave NAME --force`" + ` forgets the member.`

const adoptExamples = `  # what is it, and what would be written?
  umbel cluster adopt shop-eu -n clusters --dry-run

  umbel cluster adopt shop-eu -n clusters --label env=prod

  # a Cluster of another management cluster; nothing is to be delivered for now
  umbel cluster adopt shop-us -n clusters --from management.kubeconfig --level observed`

// adoptOptions are the arguments of `umbel cluster adopt`.
type adoptOptions struct {
	*client.Factory
	name, from, fromContext, as string
	labels                      map[string]string
	level                       string
	dryRun                      bool
	timeout                     time.Duration
}

func newAdoptCmd(f *client.Factory) *cobra.Command {
	o := &adoptOptions{Factory: f}
	cmd := &cobra.Command{
		Use:               "adopt NAME",
		Short:             "Make a member of a cluster that Cluster API made, without touching it",
		Long:              adoptLong,
		Example:           adoptExamples,
		Args:              exit.Takes("NAME"),
		ValidArgsFunction: complete(f),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.name = args[0]
			return f.OnHub(cmd.Context(), func(ctx context.Context, hub *client.Hub) error { return o.run(ctx, hub) })
		},
	}
	f.AddNamespaceFlag(cmd)
	cmd.Flags().StringVar(&o.from, "from", "", "`FILE` with the kubeconfig of the management cluster that the Cluster is on (default: the hub's API)")
	cmd.Flags().StringVar(&o.fromContext, "from-context", "", "`CONTEXT` of that kubeconfig (default: its current one)")
	cmd.Flags().StringVar(&o.as, "as", "", "with --from: `NAME` of the member (default: the Cluster's)")
	cmd.Flags().StringToStringVarP(&o.labels, "label", "l", nil, "`KEY=VALUE` for placements to select by, such as env=prod, beside the Cluster's")
	cmd.Flags().StringVar(&o.level, "level", "", "`LEVEL`: observed has nothing written there, attached has Packages delivered (default: as before, else attached)")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "show what would be taken over, and change nothing")
	o.timeout = 2 * time.Minute
	span.Var(cmd.Flags(), &o.timeout, "timeout", "`DURATION` that the agent may take to connect")
	return cmd
}

func (o *adoptOptions) run(ctx context.Context, hub *client.Hub) error {
	if o.from == "" && (o.as != "" || o.fromContext != "") {
		return exit.Usagef("--as and --from-context go with --from: a Cluster of the hub has its own name in the fleet")
	}
	management, where, err := o.management(hub)
	if err != nil {
		return err
	}
	key := kube.ObjectKey{Namespace: o.Namespace, Name: o.name}
	tree, err := grow(ctx, management, key)
	if err != nil {
		return err
	}
	cluster, err := find(ctx, management, key)
	if err != nil {
		return err
	}
	if err := o.overrides(enrol.Labels(cluster)); err != nil {
		return err
	}
	found := adoption{cluster: cluster, name: v1alpha1.ClusterName(cmp.Or(o.as, o.name)), where: where}
	if err := found.check(); err != nil {
		return err
	}
	member := &v1alpha1.MemberCluster{}
	if err := hub.Get(ctx, kube.ObjectKey{Name: string(found.name)}, member); err == nil {
		err = found.same(member)
		if err != nil {
			return err
		}
	} else if !apierrors.IsNotFound(err) {
		return err
	}
	if err := tree.write(o.Out); err != nil {
		return err
	}
	if o.dryRun {
		fmt.Fprintf(o.Out, "cluster %s would become a member; nothing of the above would be written\n", found.name)
		return nil
	}
	if err := o.join(ctx, hub, management, found); err != nil {
		return err
	}
	fmt.Fprintf(o.Out, "cluster %s is adopted; nothing of the above was written\n", found.name)
	return nil
}

// management is the API that the Cluster is on, and how people know that one; empty for the hub's.
func (o *adoptOptions) management(hub *client.Hub) (api kube.Reader, where string, err error) {
	if o.from == "" {
		return hub, "", nil
	}
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: o.from}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: o.fromContext}).ClientConfig()
	if err != nil {
		return nil, "", fmt.Errorf("--from: reading the kubeconfig of the management cluster, %s: %w", o.from, err)
	}
	config.Timeout = 30 * time.Second
	api, err = kube.New(config, kube.Options{Scheme: hub.Scheme()})
	if err != nil {
		return nil, "", fmt.Errorf("--from: reaching the management cluster at %s: %w", config.Host, err)
	}
	return api, config.Host, nil
}

// join makes it a member, by the kubeconfig that Cluster API keeps of it, which is in a file of its own meanwhile.
func (o *adoptOptions) join(ctx context.Context, hub *client.Hub, management kube.Reader, found adoption) error {
	secret := &corev1.Secret{}
	key := kube.ObjectKey{Namespace: found.cluster.GetNamespace(), Name: found.cluster.GetName() + "-kubeconfig"}
	err := management.Get(ctx, key, secret)
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("cluster %s has no kubeconfig yet: whoever makes its control plane writes the Secret %s in namespace %s; adopt it then", found.cluster.GetName(), key.Name, key.Namespace)
	}
	if err != nil {
		return fmt.Errorf("reading the kubeconfig of cluster %s: %w", found.cluster.GetName(), err)
	}
	dir, err := os.MkdirTemp("", "umbel-adopt-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(file, secret.Data["value"], 0o600); err != nil {
		return err
	}
	labels := map[string]string{}
	if found.where != "" { // the hub gives those of a Cluster of its own, and takes them back
		labels = enrol.Labels(found.cluster)
	}
	maps.Copy(labels, o.labels)
	view := progress.New(o.Err, progress.Liveness(output.Terminal(o.Err)), o.Now)
	defer view.Close()
	joining := &join.Options{
		Factory: o.Factory, Name: found.name, Member: file, Labels: labels, Annotations: found.notes(), Agent: join.Deployment, Timeout: o.timeout, Progress: view,
	}
	if err := joining.SetLevel(o.level); err != nil {
		return err
	}
	if err := join.Run(ctx, joining, hub); err != nil {
		return fmt.Errorf("adopting cluster %s by the kubeconfig in Secret %s/%s: %w", found.cluster.GetName(), key.Namespace, key.Name, err)
	}
	if found.where != "" {
		return nil
	}
	return enrol.Follow(ctx, hub, found.cluster)
}

// overrides refuses a label for which the hub's own Cluster has another value, which the member would have at once again.
func (o *adoptOptions) overrides(labels map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(o.labels)) {
		if value, has := labels[key]; has && o.from == "" && value != o.labels[key] {
			return exit.Usagef("--label %s=%s: the Cluster has %s=%s, and its member follows it: change it there, by `kubectl label cluster %s -n %s %s=%s --overwrite`",
				key, o.labels[key], key, value, o.name, o.Namespace, key, o.labels[key])
		}
	}
	return nil
}

// adoption is a Cluster that is to be a member.
type adoption struct {
	cluster *unstructured.Unstructured
	name    v1alpha1.ClusterName
	where   string // the management cluster's address; empty for the hub
}

// check refuses what cannot be adopted now.
func (a adoption) check() error {
	name := a.cluster.GetName()
	switch {
	case a.cluster.GetDeletionTimestamp() != nil:
		return fmt.Errorf("cluster %s is being deleted since %s: it is not adopted any more", name, a.cluster.GetDeletionTimestamp().UTC().Format("15:04:05 MST"))
	case a.where == "" && a.cluster.GetAnnotations()[v1alpha1.JoinAnnotation] == "true":
		return fmt.Errorf("cluster %s becomes a member by itself, as its annotation %s says: `umbel cluster describe %s -n %s` shows how far that is", name, v1alpha1.JoinAnnotation, name, a.cluster.GetNamespace())
	case !v1alpha1.ValidClusterName(a.name):
		return fmt.Errorf("the name %q is none of a member: lower case letters, digits and '-', at most 63: name it with --as", a.name)
	}
	return nil
}

// notes are the annotations by which the member says what it is.
func (a adoption) notes() map[string]string {
	identity := a.cluster.GetNamespace() + "/" + a.cluster.GetName()
	if a.where == "" {
		return map[string]string{v1alpha1.ManagedAnnotation: identity}
	}
	return map[string]string{v1alpha1.AdoptedAnnotation: a.where + " " + identity}
}

// same refuses a member of that name which says that it is another Cluster.
func (a adoption) same(member *v1alpha1.MemberCluster) error {
	for _, note := range []string{v1alpha1.ManagedAnnotation, v1alpha1.AdoptedAnnotation} {
		if is := member.Annotations[note]; is != "" && is != a.notes()[note] {
			return fmt.Errorf("the name %q is taken by a member that is the Cluster %s: take another one, with --from and --as, or `umbel leave %s` first", a.name, is, a.name)
		}
	}
	return nil
}
