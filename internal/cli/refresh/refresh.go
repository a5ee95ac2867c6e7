// Package refresh answers: how does somebody, or a Git hook, make the hub look at a source now? It is the verb
// `umbel refresh`.
//
// It sets v1alpha1.RefreshAnnotation of Packages to the time; the hub fetches when it sees a new value. A hook calls
// it on every commit, so it is fast (one list, one small patch a Package), can be quiet, and is no error where no
// Package has the source.
package refresh

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/kinds"
	"umbel.dev/umbel/internal/cli/view"
)

const examples = `  # fetch the source of one package now
  umbel refresh package shop

  # of every package in a namespace
  umbel refresh package --all -n team-a

  # of every package that comes from a repository: a line for its hooks/post-receive
  umbel refresh package --git https://git.example.com/fleet.git --quiet`

// Options are the arguments of `umbel refresh`.
type Options struct {
	*client.Factory
	// Names are the packages.
	Names []string
	// All means every package of the namespace.
	All bool
	// Git means every package, in all namespaces, whose source is this repository.
	Git string
	// Quiet says nothing about what went well.
	Quiet bool
}

// NewCmd returns the command `umbel refresh`.
func NewCmd(f *client.Factory) *cobra.Command {
	o := &Options{Factory: f}
	cmd := &cobra.Command{
		Use:               "refresh [package] NAME...",
		Short:             "Fetch the sources of packages now",
		Long:              "Ask the hub to look at the sources of packages now, instead of when it polls them next.",
		Example:           examples,
		ValidArgsFunction: f.CompleteTarget(client.Many, kinds.Packages.Singular),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.complete(args); err != nil {
				return err
			}
			return f.OnHub(cmd.Context(), o.run)
		},
	}
	f.AddNamespaceFlag(cmd)
	cmd.Flags().BoolVar(&o.All, "all", false, "every package of the namespace")
	cmd.Flags().StringVar(&o.Git, "git", "", "every package, in all namespaces, that comes from the repository at `URL`")
	cmd.Flags().BoolVarP(&o.Quiet, "quiet", "q", false, "say nothing about what went well")
	return cmd
}

func (o *Options) complete(args []string) error {
	if len(args) > 0 && namesAlone(args) {
		o.Names = args
	} else if len(args) > 0 { // `umbel refresh --all` can only mean packages
		kind, names, err := kinds.Target(args)
		if err != nil {
			return err
		}
		if kind != kinds.Packages {
			return exit.Usagef("a %s has no source: only packages can be refreshed", kind.Singular)
		}
		o.Names = names
	}
	ways := 0
	for _, given := range []bool{len(o.Names) > 0, o.All, o.Git != ""} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		return exit.Usagef("say which packages: NAME..., --all or --git URL, one of them")
	}
	return nil
}

// namesAlone says whether the word for the kind was left out: nothing but packages can be refreshed.
func namesAlone(args []string) bool {
	_, err := kinds.Lookup(args[0])
	return err != nil && !strings.Contains(strings.Join(args, ""), "/")
}

func (o *Options) run(ctx context.Context, hub *client.Hub) error {
	keys, err := o.keys(ctx, hub)
	if err != nil {
		return err
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{
		v1alpha1.RefreshAnnotation: o.Now().UTC().Format(time.RFC3339Nano),
	}}})
	if err != nil {
		return err
	}
	var failed []error
	for _, key := range keys {
		pkg := &metav1.PartialObjectMetadata{}
		pkg.SetGroupVersionKind(kinds.Packages.GVK)
		pkg.Namespace, pkg.Name = key.Namespace, key.Name
		switch err := hub.Patch(ctx, pkg, kube.RawPatch(types.MergePatchType, patch)); {
		case apierrors.IsNotFound(err) && len(o.Names) == 0: // it went away since it was listed
		case err != nil:
			failed = append(failed, err)
		case !o.Quiet:
			fmt.Fprintf(o.Out, "package/%s refreshed\n", key.Name)
		}
	}
	return errors.Join(failed...)
}

// keys returns the packages that are meant.
func (o *Options) keys(ctx context.Context, hub *client.Hub) ([]kube.ObjectKey, error) {
	var keys []kube.ObjectKey
	if len(o.Names) > 0 {
		for _, name := range o.Names {
			keys = append(keys, kube.ObjectKey{Namespace: o.Namespace, Name: name})
		}
		return keys, nil
	}
	var in []kube.ListOption
	if o.All {
		in = append(in, kube.InNamespace(o.Namespace))
	}
	var packages v1alpha1.PackageList
	if err := hub.List(ctx, &packages, in...); err != nil {
		return nil, err
	}
	for i := range packages.Items {
		if o.All || comesFrom(&packages.Items[i], o.Git) {
			keys = append(keys, kube.ObjectKeyFromObject(&packages.Items[i]))
		}
	}
	if len(keys) == 0 && !o.Quiet {
		o.Note("%s", o.nothing())
	}
	return keys, nil
}

func (o *Options) nothing() string {
	if o.All {
		return fmt.Sprintf("No packages in %s namespace.", o.Namespace)
	}
	return fmt.Sprintf("No package comes from %s: `umbel get packages -A -o yaml` shows their sources.", o.Git)
}

// comesFrom says whether the package's source is the repository.
func comesFrom(pkg *v1alpha1.Package, url string) bool {
	from := view.SourceOf(pkg.Spec.Source).URL
	return from != "" && repository(from) == repository(url)
}

// repository makes URLs that name the same repository equal: a path is one of this machine, and neither a trailing
// slash nor .git makes a difference.
func repository(url string) string {
	if strings.HasPrefix(url, "/") {
		url = "file://" + url
	}
	return strings.TrimSuffix(strings.TrimRight(url, "/"), ".git")
}
