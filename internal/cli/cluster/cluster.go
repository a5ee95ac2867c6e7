// Package cluster answers: which clusters does the hub make, and how do they do? It holds `umbel cluster create`, `scale`, `upgrade`,
// `pool`, `protect`, `delete`, `get` and `describe`, and `backup`, `backups`, `restore`, `drill`,
// `hibernate`, `wake`, `kubeconfig` and `adopt`.
//
// A cluster that the hub makes is a Cluster of Cluster API, in a namespace of the hub. What it is made of, its ClusterClass
// says; who makes it, a provider (`umbel provider`). It becomes a member of the fleet by itself (internal/lifecycle/enrol). These
// commands write Clusters and nothing else; adopt makes a member of one that is there, and does not write that.
package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
)

// NewCmd returns the command `umbel cluster`.
func NewCmd(f *client.Factory) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Make, scale, upgrade and end clusters",
		Long: "Make, scale, upgrade and end clusters by the hub. They are made by providers (`umbel provider`) after a class, and become members of the fleet\n" +
			"by themselves. Clusters that others made are adopted with `umbel cluster adopt`, where Cluster API made them,\n" +
			"and attached with `umbel join`; `umbel get clusters` lists all.",
	}
	cmd.AddCommand(newCreateCmd(f), newScaleCmd(f), newPoolCmd(f), newUpgradeCmd(f), newProtectCmd(f), newUnprotectCmd(f), newDeleteCmd(f), newGetCmd(f), newDescribeCmd(f), newAdoptCmd(f),
		newBackupCmd(f), newBackupsCmd(f), newRestoreCmd(f), newDrillCmd(f), newHibernateCmd(f), newWakeCmd(f), newKubeconfigCmd(f))
	return cmd
}

// poll is between two looks at how far a cluster is: what is looked at are several objects of several kinds.
const poll = 300 * time.Millisecond

func kind(name string) schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: "cluster.x-k8s.io", Version: "v1beta2", Kind: name}
}

// errNoAPI says that nothing here makes clusters.
var errNoAPI = fmt.Errorf("this hub makes no clusters yet: `umbel provider add %s` has it make them on its own machine, and takes some seconds; docs/operate/providers.md has others", v1alpha1.LocalProvider)

// explain says what the lack of a kind means.
func explain(err error) error {
	if meta.IsNoMatchError(err) {
		return errNoAPI
	}
	return err
}

// webhookPatience is how long a write waits for Cluster API's webhooks.
const webhookPatience = 30 * time.Second

// whenServed writes to the hub's API, again and again while the webhooks that are asked about it do not answer: those of Cluster API do some seconds
// later than the API of a hub that begins. Such a write has changed nothing.
func whenServed(ctx context.Context, write func() error) error {
	end := time.NewTimer(webhookPatience)
	defer end.Stop()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		err := write()
		if !apierrors.IsInternalError(err) || !strings.Contains(err.Error(), "failed to call webhook") {
			return err
		}
		select {
		case <-tick.C:
		case <-end.C:
			return fmt.Errorf("%w; `umbel provider list` says whether Cluster API serves", err)
		case <-ctx.Done():
			return err
		}
	}
}

func mergePatch(patch string) kube.Patch { return kube.RawPatch(types.MergePatchType, []byte(patch)) }

// list returns the objects of a kind of Cluster API, by namespace and name.
func list(ctx context.Context, hub kube.Reader, of schema.GroupVersionKind, in ...kube.ListOption) ([]unstructured.Unstructured, error) {
	all := &unstructured.UnstructuredList{}
	of.Kind += "List"
	all.SetGroupVersionKind(of)
	if err := hub.List(ctx, all, in...); err != nil {
		return nil, explain(err)
	}
	slices.SortFunc(all.Items, func(a, b unstructured.Unstructured) int {
		return strings.Compare(a.GetNamespace()+"/"+a.GetName(), b.GetNamespace()+"/"+b.GetName())
	})
	return all.Items, nil
}

// find returns the Cluster of a name, and says where to look when there is none.
func find(ctx context.Context, hub kube.Reader, key kube.ObjectKey) (*unstructured.Unstructured, error) {
	cluster := &unstructured.Unstructured{}
	cluster.SetGroupVersionKind(kind("Cluster"))
	err := hub.Get(ctx, key, cluster)
	if !apierrors.IsNotFound(err) {
		return cluster, explain(err)
	}
	member := &v1alpha1.MemberCluster{}
	err = hub.Get(ctx, kube.ObjectKey{Name: key.Name}, member)
	switch {
	case apierrors.IsNotFound(err), apierrors.IsForbidden(err): // who may see no member is told what there is to see
		return nil, fmt.Errorf("the hub makes no cluster %q in namespace %s: `umbel cluster get -A` lists those that it makes", key.Name, key.Namespace)
	case err != nil:
		return nil, err
	}
	if namespace, _, ok := v1alpha1.SplitManaged(member.Annotations[v1alpha1.ManagedAnnotation]); ok {
		if namespace == key.Namespace {
			return nil, fmt.Errorf("the hub makes no cluster %q in namespace %s any more, and the fleet has its member still: `umbel leave %s --force` takes it out", key.Name, namespace, key.Name)
		}
		return nil, fmt.Errorf("cluster %q is in namespace %s: name that with -n %s", key.Name, namespace, namespace)
	}
	return nil, fmt.Errorf("cluster %q is attached, and not made by this hub: `umbel leave %s` takes it out of the fleet", key.Name, key.Name)
}

// complete completes the name of a Cluster.
func complete(f *client.Factory) cobra.CompletionFunc {
	return client.CompleteListed(f, func(ctx context.Context, hub *client.Hub) ([]unstructured.Unstructured, error) {
		return list(ctx, hub, kind("Cluster"), kube.InNamespace(f.Namespace))
	}, func(c unstructured.Unstructured) string { return c.GetName() })
}

func text(o *unstructured.Unstructured, path ...string) string {
	s, _, _ := unstructured.NestedString(o.Object, path...)
	return s
}

func number(o *unstructured.Unstructured, path ...string) int64 {
	n, _, _ := unstructured.NestedInt64(o.Object, path...)
	return n
}

// condition is what an object says of itself.
type condition struct{ status, reason, message string }

// conditionOf returns a condition of an object, Unknown when it says nothing.
func conditionOf(o *unstructured.Unstructured, name string) condition {
	return conditionIn(o, name, "status", "conditions")
}

// formerly returns a condition of an object as the contract before, v1beta1, has it.
func formerly(o *unstructured.Unstructured, name string) condition {
	return conditionIn(o, name, "status", "deprecated", "v1beta1", "conditions")
}

func conditionIn(o *unstructured.Unstructured, name string, path ...string) condition {
	all, _, _ := unstructured.NestedSlice(o.Object, path...)
	for _, one := range all {
		c, _ := one.(map[string]any)
		if c["type"] == name {
			status, _ := c["status"].(string)
			message, _ := c["message"].(string)
			reason, _ := c["reason"].(string)
			return condition{status, reason, inOneLine(message)}
		}
	}
	return condition{status: "Unknown"}
}

// inOneLine writes a message in one line of which Cluster API has made a list.
func inOneLine(message string) string {
	var all strings.Builder
	for line := range strings.Lines(message) {
		item, listed := strings.CutPrefix(strings.TrimSpace(line), "* ")
		switch said := all.String(); {
		case said == "":
		case listed && !strings.HasSuffix(said, ":"):
			all.WriteString("; ")
		default:
			all.WriteString(" ")
		}
		all.WriteString(strings.ReplaceAll(strings.Join(strings.Fields(item), " "), ": * ", ": "))
	}
	return strings.TrimSpace(all.String())
}
