package scope

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/kinds"
	"umbel.dev/umbel/internal/cli/output"
)

const createExamples = `  # the shop's people may edit what is in its namespace, on every production cluster
  umbel scope create shop --group team-shop --role edit --clusters env=prod --namespaces shop

  # two people may look at everything, everywhere
  umbel scope create auditors --user ada --user grace --role view --all-clusters --all-namespaces

  # the packages of a team, which act as this ServiceAccount, may too
  umbel scope create shop-packages --service-account shop/deployer --role edit --clusters env=prod --namespaces shop

  # into a repository instead
  umbel scope create shop --group team-shop --role edit --clusters env=prod --namespaces shop --dry-run -o yaml`

// The values of --dry-run.
const (
	dryNone   = "none"
	dryClient = "client"
	dryServer = "server"
)

// createOptions are the arguments of `umbel scope create`.
type createOptions struct {
	*client.Factory
	spec        v1alpha1.ScopeSpec
	name        string
	clusters    string
	allClusters bool
	everywhere  bool
	dryRun      string
	format      output.Format
}

func newCreateCmd(f *client.Factory) *cobra.Command {
	o := &createOptions{Factory: f}
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Give people a role in namespaces of clusters",
		Long: "Give people a role in namespaces of the clusters that have the labels, now and later.\n\n" +
			"The role is a ClusterRole of the clusters. To give it away takes the verb bind on the ClusterRole of that name on the hub.",
		Example:           createExamples,
		Args:              exit.Takes("NAME"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.name = args[0]
			scope, err := o.scope()
			if err != nil {
				return err
			}
			if o.dryRun == dryClient {
				return o.write(scope, "created (dry run)")
			}
			return f.OnHub(cmd.Context(), func(ctx context.Context, hub *client.Hub) error { return o.create(ctx, hub, scope) })
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&o.spec.Users, "user", nil, "`NAME` of a user of the hub; may be given more than once")
	flags.StringSliceVar(&o.spec.Groups, "group", nil, "`NAME` of a group of the hub; may be given more than once")
	flags.StringSliceVar(&o.spec.ServiceAccounts, "service-account", nil, "`NAMESPACE/NAME` of a ServiceAccount of the clusters, such as one that a team's packages act as; may be given more than once")
	flags.StringVar(&o.spec.Role, "role", "", "`NAME` of a ClusterRole of the clusters: view, edit, admin or one of your own")
	flags.StringVar(&o.clusters, "clusters", "", "`LABELS` of the clusters, such as env=prod,region!=us")
	flags.BoolVar(&o.allClusters, "all-clusters", false, "every cluster of the fleet, now and later")
	flags.StringSliceVar(&o.spec.Namespaces, "namespaces", nil, "`NAMES` of the namespaces in which the role holds")
	flags.BoolVar(&o.everywhere, "all-namespaces", false, "every namespace, and what lives in none")
	flags.StringVar(&o.dryRun, "dry-run", dryNone, "`WHERE` it ends: client, which is meant without =WHERE, prints it and asks nobody; server asks the hub and keeps nothing; none creates it")
	flags.Lookup("dry-run").NoOptDefVal = dryClient
	output.AddFlag(cmd, &o.format, output.JSON, output.YAML, output.Name)
	// They fail for flags that do not exist only.
	_ = cmd.RegisterFlagCompletionFunc("clusters", f.CompleteLabels(kinds.Clusters))
	for flag, values := range map[string][]string{"role": {"view", "edit", "admin"}, "dry-run": {dryNone, dryClient, dryServer}} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	for _, flag := range []string{"user", "group", "service-account", "namespaces"} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.NoFileCompletions)
	}
	return cmd
}

// scope makes the Scope of the flags. What is not said is asked for: nothing stands for everything by accident.
func (o *createOptions) scope() (*v1alpha1.Scope, error) {
	switch {
	case len(o.name) > v1alpha1.MaxScopeName || !v1alpha1.ValidClusterName(v1alpha1.ClusterName(o.name)):
		return nil, exit.Usagef("%q is no name of a scope: lower case letters, digits and '-', at most %d characters", o.name, v1alpha1.MaxScopeName)
	case len(o.spec.Users)+len(o.spec.Groups)+len(o.spec.ServiceAccounts) == 0:
		return nil, exit.Usagef("say who: --user NAME, --group NAME or --service-account NAMESPACE/NAME")
	case o.spec.Role == "":
		return nil, exit.Usagef("say what they may: --role view, edit, admin, or a ClusterRole of your own")
	case (o.clusters == "") == !o.allClusters:
		return nil, exit.Usagef("say on which clusters: --clusters LABELS or --all-clusters, one of the two")
	case (len(o.spec.Namespaces) == 0) == !o.everywhere:
		return nil, exit.Usagef("say in which namespaces: --namespaces NAMES or --all-namespaces, one of the two")
	case o.dryRun != dryNone && o.dryRun != dryClient && o.dryRun != dryServer:
		return nil, exit.Usagef("--dry-run is %s, %s or %s, not %q", dryNone, dryClient, dryServer, o.dryRun)
	}
	scope := &v1alpha1.Scope{ObjectMeta: metav1.ObjectMeta{Name: o.name}, Spec: o.spec}
	scope.SetGroupVersionKind(kinds.Scopes.GVK)
	if o.everywhere {
		scope.Spec.Namespaces = []string{v1alpha1.EveryNamespace}
	}
	if o.clusters != "" {
		var err error
		if scope.Spec.ClusterSelector, err = selector(o.clusters); err != nil {
			return nil, exit.Usagef("the selector %q cannot be read: %w", o.clusters, err)
		}
	}
	return scope, nil
}

// operators are those of selectors on the command line that the API has.
var operators = map[selection.Operator]metav1.LabelSelectorOperator{
	selection.In: metav1.LabelSelectorOpIn, selection.NotIn: metav1.LabelSelectorOpNotIn, selection.NotEquals: metav1.LabelSelectorOpNotIn,
	selection.Exists: metav1.LabelSelectorOpExists, selection.DoesNotExist: metav1.LabelSelectorOpDoesNotExist,
}

// selector reads a selector as people write it into one as the API has it.
func selector(text string) (metav1.LabelSelector, error) {
	var made metav1.LabelSelector
	requirements, err := labels.ParseToRequirements(text)
	for _, r := range requirements {
		values := slices.Sorted(maps.Keys(r.Values()))
		if r.Operator() == selection.Equals || r.Operator() == selection.DoubleEquals {
			if is, twice := made.MatchLabels[r.Key()]; twice && is != values[0] {
				return made, fmt.Errorf("%s cannot be both %q and %q", r.Key(), is, values[0])
			}
			metav1.AddLabelToSelector(&made, r.Key(), values[0])
			continue
		}
		operator, known := operators[r.Operator()]
		if !known {
			return made, fmt.Errorf("%s: %q is not among =, !=, in, notin, and the key alone", r.Key(), r.Operator())
		}
		made.MatchExpressions = append(made.MatchExpressions, metav1.LabelSelectorRequirement{Key: r.Key(), Operator: operator, Values: values})
	}
	return made, err
}

func (o *createOptions) create(ctx context.Context, hub *client.Hub, scope *v1alpha1.Scope) error {
	done := "created"
	var how []kube.CreateOption
	if o.dryRun == dryServer {
		done, how = "created (server dry run)", append(how, kube.DryRunAll)
	}
	err := hub.Create(ctx, scope, how...)
	if apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("there is a scope %q already: `umbel describe scope %s` shows it, `umbel scope delete %s` takes it back; or change it with kubectl, or take another name", o.name, o.name, o.name)
	}
	if err != nil {
		return err
	}
	scope.SetGroupVersionKind(kinds.Scopes.GVK)
	if err := o.write(scope, done); err != nil {
		return err
	}
	o.warn(ctx, hub)
	return nil
}

// wellKnown are the roles that every cluster has.
var wellKnown = []string{"view", "edit", "admin", "cluster-admin"}

// warn says what the clusters have to have, and the hub makes sure of nowhere.
func (o *createOptions) warn(ctx context.Context, hub *client.Hub) {
	if o.clusters != "" {
		o.warnOfNone(ctx, hub)
	}
	if !slices.Contains(wellKnown, o.spec.Role) && !strings.HasPrefix(o.spec.Role, "umbel:") {
		o.Note("the clusters have to have a ClusterRole %q, which the hub does not check: a scope makes none", o.spec.Role)
	}
	if len(o.spec.Namespaces) > 0 && o.format == output.Human {
		o.Note("the clusters have to have the namespaces (%s): a scope makes none, and catches up when they are there", strings.Join(o.spec.Namespaces, ", "))
	}
}

// warnOfNone says when no cluster has the labels. Who may not list clusters is told nothing: the scope is made.
func (o *createOptions) warnOfNone(ctx context.Context, hub *client.Hub) {
	chosen, err := labels.Parse(o.clusters)
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(kinds.Clusters.ListGVK())
	if err != nil || hub.ListClusters(ctx, list, chosen) != nil || len(list.Items) > 0 {
		return
	}
	if none, err := hub.NoneMatch(ctx, o.clusters); err == nil {
		o.Note("%s", none)
	}
}

func (o *createOptions) write(scope *v1alpha1.Scope, done string) error {
	switch o.format {
	case output.JSON, output.YAML:
		return output.Encode(o.Out, o.format, manifest(scope))
	case output.Name:
		_, err := fmt.Fprintln(o.Out, kinds.Scopes.Qualified(scope.Name))
		return err
	}
	if o.dryRun == dryNone {
		done += fmt.Sprintf("; `umbel describe scope %s` tells how far it is", scope.Name)
	}
	_, err := fmt.Fprintf(o.Out, "scope/%s %s\n", scope.Name, done)
	return err
}

// manifest is a Scope as people keep it: without what a server writes.
func manifest(scope *v1alpha1.Scope) map[string]any {
	return map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": kinds.Scopes.GVK.Kind,
		"metadata": map[string]any{"name": scope.Name}, "spec": scope.Spec,
	}
}
