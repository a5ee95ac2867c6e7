package secrets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/fleet"
	"umbel.dev/umbel/internal/cli/kinds"
)

const rotateExamples = `  # prod-eu makes another key, and keeps the one before
  umbel secrets rotate prod-eu

  # for whom to encrypt from now on
  umbel secrets recipients prod-eu -o wide`

// rotateTimeout is how long a cluster may take to answer.
const rotateTimeout = 15 * time.Second

// rotateOptions are the arguments of `umbel secrets rotate`.
type rotateOptions struct {
	*client.Factory
	names []string
}

func newRotateCmd(f *client.Factory) *cobra.Command {
	o := &rotateOptions{Factory: f}
	return &cobra.Command{
		Use:   "rotate CLUSTER...",
		Short: "Have clusters make new keys",
		Long: "Have clusters make new keys to encrypt for. The keys before stay, so what is encrypted for them is opened as it was, until it is\n" +
			"encrypted anew (`sops updatekeys`) and somebody takes the old entry out of the Secret " + v1alpha1.AgeSecret + ".\n\n" +
			"You act on the cluster as yourself: you need the right to change that Secret in namespace " + v1alpha1.AgentNamespace + ".",
		Example:           rotateExamples,
		ValidArgsFunction: f.CompleteNames(kinds.Clusters),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, arg := range args {
				name, err := kinds.Clusters.NameOf(arg)
				if err != nil {
					return err
				}
				o.names = append(o.names, name)
			}
			if len(o.names) == 0 {
				return exit.Usagef("name a cluster: `umbel get clusters` lists them")
			}
			return f.OnHub(cmd.Context(), o.run)
		},
	}
}

// rotated is what became of one cluster.
type rotated struct {
	cluster v1alpha1.ClusterName
	err     error
}

func (o *rotateOptions) run(ctx context.Context, hub *client.Hub) error {
	var list v1alpha1.MemberClusterList
	if err := hub.ListClusters(ctx, &list, labels.Everything()); err != nil {
		return err
	}
	there := map[string]v1alpha1.MemberCluster{}
	for _, cluster := range list.Items {
		there[cluster.Name] = cluster
	}
	var asked []v1alpha1.MemberCluster
	for _, name := range o.names {
		cluster, is := there[name]
		if !is {
			return fmt.Errorf("there is no cluster %q: `umbel get clusters` lists them", name)
		}
		asked = append(asked, cluster)
	}
	members, err := fleet.Members(ctx, o.Factory, hub, asked)
	if err != nil {
		return err
	}
	var failed []error
	for said := range fleet.Ask(ctx, members, o.rotate) {
		if said.err != nil {
			failed = append(failed, fmt.Errorf("cluster %q: %w", said.cluster, said.err))
			continue
		}
		if _, err := fmt.Fprintf(o.Out, "%s makes another key\n", kinds.Clusters.Qualified(string(said.cluster))); err != nil {
			return err
		}
	}
	return errors.Join(failed...)
}

func (o *rotateOptions) rotate(ctx context.Context, m fleet.Member) rotated {
	said := rotated{cluster: m.Cluster, err: m.Gone}
	if said.err != nil {
		return said
	}
	ctx, cancel := context.WithTimeout(ctx, rotateTimeout)
	defer cancel()
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{
		v1alpha1.RotateAnnotation: o.Now().UTC().Format(time.RFC3339),
	}}})
	if err != nil {
		said.err = err
		return said
	}
	api, err := kubernetes.NewForConfig(m.Config)
	if err == nil {
		_, err = api.CoreV1().Secrets(v1alpha1.AgentNamespace).Patch(ctx, v1alpha1.AgeSecret, types.MergePatchType, patch, metav1.PatchOptions{})
	}
	if apierrors.IsNotFound(err) {
		err = errors.New("it has no key yet: its agent makes one when it starts")
	}
	said.err = err
	return said
}
