package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/join"
	"umbel.dev/umbel/internal/cli/span"
	"umbel.dev/umbel/internal/identity"
)

const createExamples = `  # one cluster, within a day, that somebody approves when it comes
  umbel token create shop-42

  # five hundred edge clusters, within a week, with the same manifest, let in as they come
  umbel token create edge --uses 500 --expires 7d --policy Automatic --label env=edge --manifest edge.yaml
  kubectl apply -f edge.yaml   # on each of them`

const createLong = `Make a token with which clusters register themselves, and show it: once, since the hub keeps its hash only.

A cluster that presents it gets a MemberCluster with the token's labels. With the policy Approval it waits until somebody
runs umbel approve; with Automatic it is let in. A name that a cluster has is never given to another.

--manifest writes what a cluster applies to come by itself, with the token in it: keep it like a password. Each cluster
takes the name of the token and ten digits that tell it from others, such as edge-3f9a1c07b2.`

// createOptions are the arguments of `umbel token create`.
type createOptions struct {
	*client.Factory
	name     string
	uses     int
	life     time.Duration
	policy   string
	labels   map[string]string
	manifest string
}

func newCreateCmd(f *client.Factory) *cobra.Command {
	o := &createOptions{Factory: f}
	cmd := &cobra.Command{
		Use:               "create NAME",
		Short:             "Make a token, and show it once",
		Long:              createLong,
		Example:           createExamples,
		Args:              exit.Takes("NAME"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.name = args[0]
			if err := o.check(); err != nil {
				return err
			}
			return f.OnHub(cmd.Context(), o.run)
		},
	}
	cmd.Flags().IntVar(&o.uses, "uses", 1, fmt.Sprintf("`N` clusters that it lets in, 1 to %d", v1alpha1.MaxTokenUses))
	o.life = 24 * time.Hour
	span.Var(cmd.Flags(), &o.life, "expires", "`DURATION` after which it lets in nobody")
	cmd.Flags().StringVar(&o.policy, "policy", string(v1alpha1.JoinApproval), "`POLICY`: Approval (clusters wait for umbel approve) or Automatic (they are let in)")
	cmd.Flags().StringToStringVarP(&o.labels, "label", "l", nil, "`KEY=VALUE` that its clusters get, for placements to select by")
	cmd.Flags().StringVar(&o.manifest, "manifest", "", "`FILE` to write what a cluster applies to come by itself, with the token in it")
	policies := []string{string(v1alpha1.JoinApproval), string(v1alpha1.JoinAutomatic)}
	_ = cmd.RegisterFlagCompletionFunc("policy", cobra.FixedCompletions(policies, cobra.ShellCompDirectiveNoFileComp)) // it fails for a flag that does not exist only
	return cmd
}

func (o *createOptions) check() error {
	wrong := []error{checkName(o.name)}
	if o.uses < 1 || o.uses > v1alpha1.MaxTokenUses {
		wrong = append(wrong, fmt.Errorf("--uses is 1 to %d, not %d", v1alpha1.MaxTokenUses, o.uses))
	}
	if o.life <= 0 {
		wrong = append(wrong, fmt.Errorf("--expires is a time from now, such as 24h or 7d, not %s", span.Text(o.life)))
	}
	if p := v1alpha1.JoinPolicy(o.policy); p != v1alpha1.JoinApproval && p != v1alpha1.JoinAutomatic {
		wrong = append(wrong, fmt.Errorf("--policy is %s or %s, not %q", v1alpha1.JoinApproval, v1alpha1.JoinAutomatic, o.policy))
	}
	for _, key := range slices.Sorted(maps.Keys(o.labels)) {
		for _, why := range append(validation.IsQualifiedName(key), validation.IsValidLabelValue(o.labels[key])...) {
			wrong = append(wrong, fmt.Errorf("--label %s=%s: %s", key, o.labels[key], why))
		}
	}
	return exit.Usage(errors.Join(wrong...))
}

func (o *createOptions) run(ctx context.Context, hub *client.Hub) error {
	presented, err := identity.NewFleetToken(o.name)
	if err != nil {
		return err
	}
	var manifest []byte
	if o.manifest != "" { // first, so that a hub that is not ready leaves no token
		if manifest, err = join.Manifest(ctx, hub, presented); err != nil {
			return err
		}
	}
	token := v1alpha1.JoinToken{
		Hash: identity.HashToken(presented), Expires: metav1.NewTime(o.Now().Add(o.life).UTC().Truncate(time.Second)),
		MaxUses: o.uses, Policy: v1alpha1.JoinPolicy(o.policy), Labels: o.labels,
	}
	if err := o.create(ctx, hub, token); err != nil {
		return err
	}
	if o.manifest == "" {
		o.Note("This is shown once; the hub keeps its hash.")
		fmt.Fprintln(o.Out, presented)
		return nil
	}
	if err := renameio.WriteFile(o.manifest, manifest, os.FileMode(0o600)); err != nil {
		return fmt.Errorf("writing the manifest: %w; `umbel token revoke %s` takes the token back", err, o.name)
	}
	fmt.Fprintf(o.Out, "token/%s created; `kubectl apply -f %s` on a cluster lets it come\n", o.name, o.manifest)
	return nil
}

func (o *createOptions) create(ctx context.Context, hub kube.Client, token v1alpha1.JoinToken) error {
	raw, err := json.Marshal(token)
	if err != nil {
		return err
	}
	err = hub.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.JoinTokenPrefix + o.name},
		Type:       v1alpha1.JoinTokenType, Data: map[string][]byte{v1alpha1.JoinTokenData: raw},
	})
	if apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("there is a token %q already: take another name, or `umbel token revoke %s` first", o.name, o.name)
	}
	return err
}
