// Package label answers: how do people change the labels that placements select by? It is the verb `umbel label`.
//
// It follows kubectl: KEY=VALUE sets, KEY- removes, and a label that has another value is changed with --overwrite
// only. All changes of one object are one write, and none is made when one of them is refused.
package label

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/util/retry"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/kinds"
)

const examples = `  # say where a cluster is, and what it is for
  umbel label cluster prod-eu region=eu env=prod

  # make dev a production cluster: it gets what is selected by env=prod
  umbel label cluster dev env=prod --overwrite

  # take a label away
  umbel label cluster dev region-`

// change is what becomes of a label: a value, or nil for its removal.
type change map[string]*string

// Options are the arguments of `umbel label`.
type Options struct {
	*client.Factory
	// Overwrite changes labels that have another value.
	Overwrite bool

	kind   kinds.Kind
	names  []string
	change change
}

// NewCmd returns the command `umbel label`.
func NewCmd(f *client.Factory) *cobra.Command {
	o := &Options{Factory: f}
	cmd := &cobra.Command{
		Use:               "label KIND NAME... KEY=VALUE|KEY-...",
		Short:             "Change the labels that placements select clusters by",
		Long:              "Set (KEY=VALUE) and remove (KEY-) labels. Placements select clusters by them, so that a cluster may get or lose packages.",
		Example:           examples,
		ValidArgsFunction: f.CompleteTarget(client.Many, kinds.Words()...),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.complete(args); err != nil {
				return err
			}
			return f.OnHub(cmd.Context(), o.run)
		},
	}
	f.AddNamespaceFlag(cmd)
	cmd.Flags().BoolVar(&o.Overwrite, "overwrite", false, "change labels that have another value")
	return cmd
}

func (o *Options) complete(args []string) (err error) {
	named, changes := split(args)
	if o.kind, o.names, err = kinds.Target(named); err != nil {
		return err
	}
	if len(o.names) == 0 {
		return exit.Usagef("name a %s: `umbel get %s` lists them", o.kind.Singular, o.kind.Plural)
	}
	if len(changes) == 0 {
		return exit.Usagef("say which labels: KEY=VALUE sets one, KEY- removes one")
	}
	o.change, err = parse(changes)
	return exit.Usage(err)
}

// split tells names from labels: no name has a "=" in it or ends with a "-".
func split(args []string) (named, changes []string) {
	for _, arg := range args {
		if strings.Contains(arg, "=") || strings.HasSuffix(arg, "-") {
			changes = append(changes, arg)
			continue
		}
		named = append(named, arg)
	}
	return named, changes
}

// parse reads KEY=VALUE and KEY-, and reports everything that is wrong with them.
func parse(args []string) (change, error) {
	c := change{}
	var wrong []error
	for _, arg := range args {
		key, value, sets := strings.Cut(arg, "=")
		if !sets {
			key = strings.TrimSuffix(arg, "-")
		}
		if _, twice := c[key]; twice {
			wrong = append(wrong, fmt.Errorf("label %q is given twice", key))
		}
		for _, why := range validation.IsQualifiedName(key) {
			wrong = append(wrong, fmt.Errorf("label key %q: %s", key, why))
		}
		c[key] = nil
		if !sets {
			continue
		}
		for _, why := range validation.IsValidLabelValue(value) {
			wrong = append(wrong, fmt.Errorf("label %q: value %q: %s", key, value, why))
		}
		c[key] = &value
	}
	return c, errors.Join(wrong...)
}

func (o *Options) run(ctx context.Context, hub *client.Hub) error {
	var failed []error
	for _, name := range o.names {
		done, err := o.one(ctx, hub, name)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		fmt.Fprintf(o.Out, "%s/%s %s\n", o.kind.Singular, name, done)
	}
	return errors.Join(failed...)
}

// one changes one object and says what it did. When somebody else writes the object meanwhile, it looks again.
func (o *Options) one(ctx context.Context, hub *client.Hub, name string) (done string, err error) {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(o.kind.GVK)
	key := kube.ObjectKey{Name: name}
	if o.kind.Scope == kinds.Namespaced {
		key.Namespace = o.Namespace
	}
	err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if err := hub.Get(ctx, key, object); err != nil {
			return err
		}
		if err := o.allowed(object); err != nil {
			return err
		}
		if done = o.change.effect(object.Labels); done == unchanged {
			return nil
		}
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
			"labels": o.change, "resourceVersion": object.ResourceVersion,
		}})
		if err != nil {
			return err
		}
		return hub.Patch(ctx, object, kube.RawPatch(types.MergePatchType, patch))
	})
	return done, err
}

// allowed refuses to change labels that have another value, unless it was asked to.
func (o *Options) allowed(object *metav1.PartialObjectMetadata) error {
	if o.Overwrite {
		return nil
	}
	var refused []error
	for _, key := range slices.Sorted(maps.Keys(o.change)) {
		value := o.change[key]
		has, ok := object.Labels[key]
		if value != nil && ok && has != *value {
			refused = append(refused, fmt.Errorf("%s %q has the label %s=%s already: add --overwrite to make it %s", o.kind.Singular, object.Name, key, has, *value))
		}
	}
	return errors.Join(refused...)
}

// unchanged is said of an object that has the labels already.
const unchanged = "not labeled"

// effect says what the change does to labels.
func (c change) effect(labels map[string]string) string {
	effect := unchanged
	for key, value := range c {
		has, ok := labels[key]
		switch {
		case value == nil && ok && effect == unchanged:
			effect = "unlabeled"
		case value != nil && (!ok || has != *value):
			effect = "labeled"
		}
	}
	return effect
}
