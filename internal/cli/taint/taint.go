// Package taint answers: how do people keep Placements away from a cluster? It is the verb `umbel taint`.
//
// It follows kubectl: KEY=VALUE:EFFECT sets, KEY:EFFECT- and KEY- remove, and a taint that has another value is changed with
// --overwrite only. All changes of one cluster are one write, and none is made when one of them is refused.
package taint

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/util/retry"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/kinds"
)

const long = `Set (KEY=VALUE:EFFECT) and remove (KEY:EFFECT-, or KEY- for every effect) taints of clusters. A Placement that does not
tolerate a taint (spec.tolerations) reads it so:

  NoSelect        the cluster is not selected anew; where it is selected already, it stays
  PreferNoSelect  where a number of clusters is asked for, others are taken first
  Evict           as NoSelect, and where it is selected it is given up: what was delivered there is pruned`

const examples = `  # nothing new comes to prod-eu; what is there stays
  umbel taint prod-eu maintenance=disks:NoSelect

  # what a Placement can have elsewhere leaves it
  umbel taint prod-eu maintenance=disks:Evict

  # it is as it was
  umbel taint prod-eu maintenance-

  # which taints clusters have
  umbel get clusters -o wide`

// change is what becomes of one taint.
type change struct {
	v1alpha1.Taint
	// verb says whether it is set or removed.
	verb verb
}

type verb int

const (
	set verb = iota
	remove
)

// Options are the arguments of `umbel taint`.
type Options struct {
	*client.Factory
	// Overwrite changes taints that have another value.
	Overwrite bool

	names   []string
	changes []change
}

// NewCmd returns the command `umbel taint`.
func NewCmd(f *client.Factory) *cobra.Command {
	o := &Options{Factory: f}
	cmd := &cobra.Command{
		Use:     "taint CLUSTER... KEY[=VALUE]:EFFECT|KEY[:EFFECT]-...",
		Short:   "Keep placements away from clusters",
		Long:    long,
		Example: examples,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			if key, _, ok := strings.Cut(typed, ":"); ok {
				return effects(key + ":"), cobra.ShellCompDirectiveNoFileComp
			}
			return f.CompleteNames(kinds.Clusters)(cmd, args, typed)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.complete(args); err != nil {
				return err
			}
			return f.OnHub(cmd.Context(), o.run)
		},
	}
	cmd.Flags().BoolVar(&o.Overwrite, "overwrite", false, "change taints that have another value")
	return cmd
}

func (o *Options) complete(args []string) error {
	var given []string
	for _, arg := range args {
		if strings.ContainsAny(arg, "=:") || strings.HasSuffix(arg, "-") {
			given = append(given, arg)
			continue
		}
		name, err := kinds.Clusters.NameOf(arg)
		if err != nil {
			return err
		}
		o.names = append(o.names, name)
	}
	if len(o.names) == 0 {
		return exit.Usagef("name a cluster: `umbel get clusters` lists them")
	}
	if len(given) == 0 {
		return exit.Usagef("say which taints: KEY=VALUE:EFFECT sets one, KEY- removes one; the effects are %s", strings.Join(effects(""), ", "))
	}
	var err error
	o.changes, err = parse(given)
	return exit.Usage(err)
}

func effects(before string) []string {
	var words []string
	for _, effect := range v1alpha1.TaintEffects() {
		words = append(words, before+string(effect))
	}
	return words
}

// parse reads what is to become of taints, and reports everything that is wrong with it.
func parse(args []string) ([]change, error) {
	var changes []change
	var wrong []error
	for _, arg := range args {
		c, err := parseOne(arg)
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		if slices.ContainsFunc(changes, func(other change) bool { return c.meets(other.Taint) || other.meets(c.Taint) }) {
			wrong = append(wrong, fmt.Errorf("taint %q is given twice", arg))
		}
		changes = append(changes, c)
	}
	return changes, errors.Join(wrong...)
}

func parseOne(arg string) (c change, err error) {
	text, removes := strings.CutSuffix(arg, "-")
	if removes {
		c.verb = remove
	}
	named, effect, hasEffect := strings.Cut(text, ":")
	key, value, hasValue := strings.Cut(named, "=")
	c.Taint = v1alpha1.Taint{Key: key, Value: value, Effect: v1alpha1.TaintEffect(effect)}
	var wrong []error
	for _, why := range validation.IsQualifiedName(key) {
		wrong = append(wrong, fmt.Errorf("taint %q: key %q: %s", arg, key, why))
	}
	for _, why := range validation.IsValidLabelValue(value) {
		wrong = append(wrong, fmt.Errorf("taint %q: value %q: %s", arg, value, why))
	}
	switch {
	case removes && hasValue:
		wrong = append(wrong, fmt.Errorf("taint %q: to remove it, leave its value out: %s-", arg, strings.Replace(text, "="+value, "", 1)))
	case !removes && !hasEffect:
		wrong = append(wrong, fmt.Errorf("taint %q: say which effect, as %s:%s; the effects are %s", arg, named, v1alpha1.TaintNoSelect, strings.Join(effects(""), ", ")))
	case hasEffect && !slices.Contains(v1alpha1.TaintEffects(), c.Effect):
		wrong = append(wrong, fmt.Errorf("taint %q: there is no effect %q: the effects are %s", arg, effect, strings.Join(effects(""), ", ")))
	}
	return c, errors.Join(wrong...)
}

// meets says whether the change is one of this taint.
func (c change) meets(taint v1alpha1.Taint) bool {
	return c.Key == taint.Key && (c.Effect == taint.Effect || c.Effect == "")
}

func (o *Options) run(ctx context.Context, hub *client.Hub) error {
	var failed []error
	for _, name := range o.names {
		done, err := o.one(ctx, hub, name)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		fmt.Fprintf(o.Out, "cluster/%s %s\n", name, done)
	}
	return errors.Join(failed...)
}

// one changes one cluster and says what it did. When somebody else writes it meanwhile, it looks again.
func (o *Options) one(ctx context.Context, hub *client.Hub, name string) (done string, err error) {
	err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		var cluster v1alpha1.MemberCluster
		if err := hub.Get(ctx, kube.ObjectKey{Name: name}, &cluster); err != nil {
			return err
		}
		before := cluster.DeepCopy()
		if err := o.apply(&cluster); err != nil {
			return err
		}
		switch was, is := before.Spec.Taints, cluster.Spec.Taints; {
		case slices.Equal(was, is):
			done = "not tainted"
			return nil
		case len(is) < len(was):
			done = "untainted"
		default:
			done = "tainted"
		}
		return hub.Patch(ctx, &cluster, kube.MergeFromWithOptions(before, kube.MergeFromWithOptimisticLock{}))
	})
	return done, err
}

// apply changes the taints of a cluster in memory.
func (o *Options) apply(cluster *v1alpha1.MemberCluster) error {
	var refused []error
	for _, c := range o.changes {
		taints := cluster.Spec.Taints
		i := slices.IndexFunc(taints, c.meets)
		switch {
		case c.verb == remove && i < 0:
			refused = append(refused, fmt.Errorf("cluster %q has no taint %s", cluster.Name, strings.TrimSuffix(c.Key+":"+string(c.Effect), ":")))
		case c.verb == remove:
			cluster.Spec.Taints = slices.DeleteFunc(slices.Clone(taints), c.meets)
		case i < 0:
			cluster.Spec.Taints = append(taints[:len(taints):len(taints)], c.Taint)
		case taints[i].Value != c.Value && !o.Overwrite:
			refused = append(refused, fmt.Errorf("cluster %q has the taint %s already: add --overwrite to make it %s", cluster.Name, taints[i], c.Taint))
		default:
			cluster.Spec.Taints = slices.Clone(taints)
			cluster.Spec.Taints[i] = c.Taint
		}
	}
	return errors.Join(refused...)
}
