package get

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/kinds"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/view"
)

const examples = `  # all clusters, and whether they are as they should be
  umbel get clusters

  # production clusters, with labels, versions and reasons
  umbel get clusters -l env=prod -o wide

  # packages of every namespace, and then each change
  umbel get packages -A --watch

  # the rollouts that go on, and what they wait for
  umbel get rollouts -A -o wide

  # one package as the API has it
  umbel get package shop -o yaml

  # what the clusters hold, of any kind: every pod in production, in one table
  umbel get pods -A --clusters env=prod

  # what does not run, anywhere
  umbel get pods -A --all-clusters --field-selector status.phase!=Running

  # one Deployment on each cluster, with the images
  umbel get deployment web -n shop --all-clusters -o wide`

// Options are the arguments of `umbel get`.
type Options struct {
	*client.Factory
	// Kind is what is asked for.
	Kind kinds.Kind
	// Names are the objects asked for. None means all.
	Names []string
	// Selector restricts them by label.
	Selector string
	// Everywhere means all namespaces.
	Everywhere bool
	// Watch goes on with each change.
	Watch bool
	// NoHeaders leaves the headers of tables out.
	NoHeaders bool
	// Format is how they are written.
	Format output.Format
	// Members is what is asked of the clusters; nobody asks them without Clusters or AllClusters.
	Members membersOptions

	selector labels.Selector
}

// NewCmd returns the command `umbel get`.
func NewCmd(f *client.Factory) *cobra.Command {
	o := &Options{Factory: f}
	cmd := &cobra.Command{
		Use:   "get KIND [NAME...]",
		Short: "List clusters, packages, rollouts and other objects of the hub; or what clusters hold",
		Long: "List objects of the hub. The kinds are " + kinds.List() + ".\n\n" +
			"A status is as old as the hub's last word on it: what has not been confirmed lately reads Unknown.\n\n" +
			"With --clusters or --all-clusters, list objects of any kind that the clusters have, as they are there now. Each cluster is asked\n" +
			"through the hub, as you. What could not be read is said by cluster on standard error, and the command ends with code 1.",
		Example:           examples,
		SuggestFor:        []string{"list"},
		ValidArgsFunction: f.CompleteTarget(client.Many, kinds.Words()...),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.Members.given(cmd); err != nil {
				return err
			}
			if o.Members.asked() {
				return o.readMembers(cmd.Context(), args)
			}
			if err := o.complete(args); err != nil {
				return err
			}
			return f.OnHub(cmd.Context(), o.run)
		},
	}
	f.AddNamespaceFlag(cmd)
	output.AddFlag(cmd, &o.Format, output.Wide, output.JSON, output.YAML, output.Name)
	cmd.Flags().StringVarP(&o.Selector, "selector", "l", "", "`LABELS` that the objects have, such as env=prod,region!=us")
	cmd.Flags().BoolVarP(&o.Everywhere, "all-namespaces", "A", false, "objects of every namespace")
	cmd.Flags().BoolVarP(&o.Watch, "watch", "w", false, "go on with each change until interrupted, which is no failure (exit code 0)")
	cmd.Flags().BoolVar(&o.NoHeaders, "no-headers", false, "leave the headers of the table out")
	o.Members.addFlags(cmd, f)
	return cmd
}

func (o *Options) complete(args []string) (err error) {
	if o.Kind, o.Names, err = kinds.Target(args); err != nil {
		return elsewhere(args, err)
	}
	if o.selector, err = labels.Parse(o.Selector); err != nil {
		return exit.Usagef("the selector %q cannot be read: %w", o.Selector, err)
	}
	switch {
	case len(o.Names) > 0 && o.Selector != "":
		return exit.Usagef("give names or a selector, not both")
	case len(o.Names) > 0 && o.Everywhere && o.Kind.Scope == kinds.Namespaced:
		return exit.Usagef("a %s is named within one namespace: give it with -n instead of -A", o.Kind.Singular)
	}
	return nil
}

// elsewhere adds to the error for a kind that the hub has not where objects of it are.
func elsewhere(args []string, err error) error {
	if len(args) == 0 {
		return err
	}
	word, _, _ := strings.Cut(strings.ToLower(args[0]), "/")
	switch word, _, _ = strings.Cut(word, "."); strings.TrimSuffix(word, "s") {
	case "agentupgrade":
		return exit.Usagef("%w; `umbel upgrade status` shows the upgrade of the agents", err)
	case "clusterprofile":
		return exit.Usagef("%w; kubectl reads ClusterProfiles from the hub's API: `kubectl get clusterprofiles -n %s`", err, v1alpha1.SystemNamespace)
	case "placementdecision":
		return exit.Usagef("%w; `umbel describe placement NAME` shows what it selects, and kubectl reads PlacementDecisions from the hub's API: `kubectl get placementdecisions -A`", err)
	}
	return exit.Usagef("%w; to read it from clusters add --all-clusters or --clusters SELECTOR", err)
}

func (o *Options) run(ctx context.Context, hub *client.Hub) error {
	if o.Watch {
		return (&watcher{Options: o, hub: hub}).run(ctx)
	}
	found, missing := o.fetch(ctx, hub)
	if missing != nil && len(found.Items) == 0 {
		return missing // nothing is shown that could be old
	}
	moment := o.moment(ctx, hub)
	return errors.Join(o.write(moment, found.Items), missing)
}

// moment is now, and warns when statuses are old. Where none are shown it asks nobody.
func (o *Options) moment(ctx context.Context, hub *client.Hub) view.Moment {
	moment := view.Moment{Now: o.Now()}
	if !o.showsStatus() {
		return moment
	}
	moment.Pulse = hub.Pulse(ctx)
	if warning := moment.Pulse.Warning(moment.Now); warning != "" {
		o.Note("%s", warning)
	}
	return moment
}

func (o *Options) showsStatus() bool {
	return o.Kind != kinds.Releases && o.Kind != kinds.Plans && o.Format != output.Name
}

// fetch reads the objects. Of names, those that exist are returned beside the error for those that do not.
func (o *Options) fetch(ctx context.Context, hub *client.Hub) (*unstructured.UnstructuredList, error) {
	list := o.newList()
	if len(o.Names) == 0 && o.Kind == kinds.Clusters {
		return list, hub.ListClusters(ctx, list, o.selector)
	}
	if len(o.Names) == 0 {
		err := hub.List(ctx, list, o.scope()...)
		if o.Kind == kinds.Rollouts {
			slices.SortStableFunc(list.Items, byNumber)
		}
		return list, err
	}
	var missing []error
	for _, name := range o.Names {
		object := unstructured.Unstructured{}
		object.SetGroupVersionKind(o.Kind.GVK)
		if err := hub.Get(ctx, o.key(name), &object); err != nil {
			missing = append(missing, err)
			continue
		}
		list.Items = append(list.Items, object)
	}
	return list, errors.Join(missing...)
}

// byNumber sorts the rollouts of a package by age: as a name, shop-10 comes before shop-9.
func byNumber(a, b unstructured.Unstructured) int {
	number := func(of unstructured.Unstructured) (string, int64) {
		pkg, _, _ := unstructured.NestedString(of.Object, "spec", "packageRef", "name") // the API has checked that both are there
		n, _, _ := unstructured.NestedInt64(of.Object, "spec", "number")
		return of.GetNamespace() + "/" + pkg, n
	}
	pkgA, nA := number(a)
	pkgB, nB := number(b)
	return cmp.Or(strings.Compare(pkgA, pkgB), cmp.Compare(nA, nB))
}

func (o *Options) newList() *unstructured.UnstructuredList {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(o.Kind.ListGVK())
	return list
}

// scope restricts a list to what was asked for.
func (o *Options) scope() []kube.ListOption {
	in := []kube.ListOption{kube.MatchingLabelsSelector{Selector: o.selector}}
	if o.Kind.Scope == kinds.Namespaced && !o.Everywhere {
		in = append(in, kube.InNamespace(o.Namespace))
	}
	return in
}

func (o *Options) key(name string) kube.ObjectKey {
	if o.Kind.Scope == kinds.Cluster {
		return kube.ObjectKey{Name: name}
	}
	return kube.ObjectKey{Namespace: o.Namespace, Name: name}
}

// write writes what was found, once.
func (o *Options) write(moment view.Moment, items []unstructured.Unstructured) error {
	switch o.Format {
	case output.JSON, output.YAML:
		if len(o.Names) == 1 {
			return output.Encode(o.Out, o.Format, clean(items[0]))
		}
		return output.Encode(o.Out, o.Format, listOf(items))
	case output.Name:
		return o.writeNames(items)
	}
	if len(items) == 0 {
		o.Note("%s", o.nothing())
		return nil
	}
	return o.newTable().write(moment, items)
}

func (o *Options) writeNames(items []unstructured.Unstructured) error {
	for _, item := range items {
		if _, err := fmt.Fprintln(o.Out, o.Kind.Qualified(item.GetName())); err != nil {
			return err
		}
	}
	return nil
}

func (o *Options) nothing() string {
	if o.Kind.Scope == kinds.Namespaced && !o.Everywhere {
		return fmt.Sprintf("No resources found in %s namespace.", o.Namespace)
	}
	return "No resources found"
}

// listOf is how kubectl writes several objects.
func listOf(items []unstructured.Unstructured) map[string]any {
	objects := []any{}
	for _, item := range items {
		objects = append(objects, clean(item))
	}
	return map[string]any{
		"apiVersion": "v1", "kind": "List", "metadata": map[string]any{"resourceVersion": ""}, "items": objects,
	}
}

// clean leaves out who manages which field: nobody reads it, and it is longer than the rest.
func clean(item unstructured.Unstructured) map[string]any {
	item.SetManagedFields(nil)
	return item.Object
}
