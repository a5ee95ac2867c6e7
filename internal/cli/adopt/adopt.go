package adopt

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/adopt/origin"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/kinds"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/span"
)

const long = `Take over what somebody else manages on a cluster: the same objects, without making any of them anew and without a change of what is
in them, and give them back as they were.

A plan comes first: what the other manages is read on the cluster, through the hub and as you; it becomes a Package, which is rendered
here and compared with the cluster, object by object. When everything is the same you are asked; then the other is stopped, the agent
takes over, and the other's claim to the fields ends. Each step may be repeated after an interruption, and ` + "`umbel adopt back`" + ` goes
back from any of them.`

// Options are the arguments of the verbs below `umbel adopt`.
type Options struct {
	*client.Factory
	Where
	Manner
	Repository
	// ref is from whom, and to the package that takes over.
	ref origin.Ref
	to  types.NamespacedName
}

// Where is what is meant.
type Where struct {
	// Cluster has the objects; Control is where the other does its work, when that is another one.
	Cluster, Control string
	// To is the package, as NAMESPACE/NAME.
	To string
	// Inside is the namespace on the cluster, unless All are meant, and Labels what the objects there have.
	Inside, Labels string
	All            bool
}

// Manner is how it is done.
type Manner struct {
	// From is a folder that stands for the root of the source.
	From        string
	DryRun, Yes bool
	Timeout     time.Duration
	Format      output.Format
}

// Repository is where the manifests are, when the other does not say it.
type Repository struct {
	Git, Path, Ref, Secret string
	// Write is a folder that manifests are written to.
	Write string
}

// NewCmd returns the command `umbel adopt`.
func NewCmd(f *client.Factory) *cobra.Command {
	cmd := &cobra.Command{
		Use: "adopt", Short: "Take over what somebody else manages on a cluster, and give it back", Long: long,
		Example: "  umbel adopt kubectl shop -n shop --cluster prod-eu --git https://git.example.com/shop.git",
	}
	cmd.AddCommand(newKubectlCmd(f), newFluxCmd(f), newArgoCmd(f), newBackCmd(f))
	cmd.AddCommand(newRootSyncCmd(f), newRepoSyncCmd(f), newGitRepoCmd(f))
	return cmd
}

// command makes a verb; kind is from whom it takes over.
func (o *Options) command(kind origin.Kind, what, examples string) *cobra.Command {
	o.Timeout = 5 * time.Minute
	cmd := &cobra.Command{
		Use: string(kind) + " NAME", Short: "Take over " + what, Long: "Take over " + what + ".\n\n" + long, Example: examples,
		Args: exit.Takes("NAME"), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.complete(kind, args[0]); err != nil {
				return err
			}
			return o.OnHub(cmd.Context(), o.run)
		},
	}
	o.addFlags(cmd)
	flags := cmd.Flags()
	flags.StringVar(&o.To, "to", "", "`NAMESPACE/NAME` of the package that takes over (default: default/NAME)")
	flags.StringVar(&o.From, "from", "", "`FOLDER` that stands for the root of the source, instead of fetching it")
	output.AddFlag(cmd, &o.Format, output.JSON, output.YAML)
	flags.Lookup("output").Usage = "print the plan (json), or the package and its placement (yaml), and change nothing"
	return cmd
}

func (o *Options) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.Cluster, "cluster", "", "`NAME` of the cluster")
	_ = cmd.RegisterFlagCompletionFunc("cluster", o.CompleteName(kinds.Clusters)) // it fails for a flag that does not exist only
	flags.BoolVar(&o.DryRun, "dry-run", false, "show what would happen, and change nothing")
	flags.BoolVarP(&o.Yes, "yes", "y", false, "do not ask")
	span.Var(flags, &o.Timeout, "timeout", "`DURATION` that the hub and the agent may take")
}

func (o *Options) complete(kind origin.Kind, name string) error {
	if o.Cluster == "" {
		return exit.Usagef("say which cluster: --cluster NAME")
	}
	o.ref = origin.Ref{Kind: kind, Namespace: o.Inside, Name: name, Labels: o.Labels}
	if kind == origin.Kubectl {
		o.ref.Name = ""
	}
	o.to = types.NamespacedName{Namespace: "default", Name: strings.ReplaceAll(name, ".", "-")}
	if o.To != "" {
		namespace, name, both := strings.Cut(o.To, "/")
		if !both {
			namespace, name = "default", o.To
		}
		o.to = types.NamespacedName{Namespace: namespace, Name: name}
	}
	if wrong := validation.IsDNS1123Label(o.to.Name); len(wrong) > 0 {
		return exit.Usagef("%q cannot be the name of a package: %s; --to gives it another one", o.to.Name, wrong[0])
	}
	return nil
}

// addRepository adds the flags by which a repository is described, in place of what the other says.
func (o *Options) addRepository(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.Path, "path", "", "`FOLDER` of the manifests in the repository")
	flags.StringVar(&o.Ref, "ref", "", "`BRANCH`, tag or commit of it")
	flags.StringVar(&o.Secret, "secret", "", "`NAME` of the Secret on the hub, in the namespace of the package, with the credentials for it")
}

// controlled makes a verb for one that is told by an object of its own what to do.
func (o *Options) controlled(kind origin.Kind, what, namespace, examples string) *cobra.Command {
	cmd := o.command(kind, what, examples)
	cmd.Flags().StringVarP(&o.Inside, "namespace", "n", namespace, "`NAMESPACE` of it on the cluster")
	cmd.Flags().StringVar(&o.Control, "control", "", "`NAME` of the cluster that it is on, where that is not the one with the objects")
	_ = cmd.RegisterFlagCompletionFunc("control", o.CompleteName(kinds.Clusters)) // it fails for a flag that does not exist only
	o.addRepository(cmd)
	return cmd
}

func newFluxCmd(f *client.Factory) *cobra.Command {
	o := &Options{Factory: f}
	return o.controlled(origin.Kustomization, "a Kustomization of Flux", "flux-system", `  # what would happen
  umbel adopt kustomization apps -n flux-system --cluster prod-eu --dry-run

  # take it over
  umbel adopt kustomization apps -n flux-system --cluster prod-eu`)
}

func newArgoCmd(f *client.Factory) *cobra.Command {
	o := &Options{Factory: f}
	return o.controlled(origin.Application, "an Application of Argo CD", "argocd", `  # what would happen
  umbel adopt application shop -n argocd --cluster prod-eu --dry-run

  # take it over from an Argo CD that is on another cluster
  umbel adopt application shop -n argocd --cluster prod-eu --control tools`)
}

func newRootSyncCmd(f *client.Factory) *cobra.Command {
	o := &Options{Factory: f}
	return o.controlled(origin.RootSync, "a RootSync of Config Sync", "config-management-system", `  # what would happen
  umbel adopt rootsync root-sync --cluster prod-eu --dry-run

  # take it over
  umbel adopt rootsync root-sync --cluster prod-eu`)
}

func newRepoSyncCmd(f *client.Factory) *cobra.Command {
	o := &Options{Factory: f}
	return o.controlled(origin.RepoSync, "a RepoSync of Config Sync", "default", `  umbel adopt reposync repo-sync -n shop --cluster prod-eu`)
}

func newGitRepoCmd(f *client.Factory) *cobra.Command {
	o := &Options{Factory: f}
	cmd := o.controlled(origin.GitRepo, "a GitRepo of Fleet", "fleet-default", `  # take it over from a Fleet whose manager is on another cluster
  umbel adopt gitrepo shop -n fleet-default --cluster prod-eu --control rancher --fleet-cluster cluster-fleet-default-prod-eu-1a2b3c`)
	cmd.Flags().StringVar(&o.Labels, "fleet-cluster", "", "`NAMESPACE` that the cluster has in Fleet, where the GitRepo has several")
	return cmd
}

func newBackCmd(f *client.Factory) *cobra.Command {
	o := &Options{Factory: f}
	o.Timeout = 5 * time.Minute
	cmd := &cobra.Command{
		Use: "back PACKAGE", Short: "Give a cluster's objects back to whom they were taken from",
		Long: "Give a cluster's objects back to whom they were taken from. The objects stay, with what is in them now, also those that the\n" +
			"package made since; their fields belong again to those to whom they belonged; and the other is started again as it was.",
		Example: "  umbel adopt back shop --cluster prod-eu",
		Args:    exit.Takes("PACKAGE"), ValidArgsFunction: f.CompleteName(kinds.Packages),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.Cluster == "" {
				return exit.Usagef("say which cluster: --cluster NAME")
			}
			name, err := kinds.Packages.NameOf(args[0])
			if err != nil {
				return err
			}
			o.to = types.NamespacedName{Namespace: f.Namespace, Name: name}
			return f.OnHub(cmd.Context(), o.back)
		},
	}
	f.AddNamespaceFlag(cmd)
	o.addFlags(cmd)
	return cmd
}

func newKubectlCmd(f *client.Factory) *cobra.Command {
	o := &Options{Factory: f}
	cmd := o.command(origin.Kubectl, "what `kubectl apply` put on a cluster", `  # write down what was applied there, for a repository
  umbel adopt kubectl shop -n shop --cluster prod-eu --write fleet/shop

  # what would happen, once that is committed
  umbel adopt kubectl shop -n shop --cluster prod-eu --git https://git.example.com/fleet.git --path shop --dry-run

  # take it over
  umbel adopt kubectl shop -n shop --cluster prod-eu --git https://git.example.com/fleet.git --path shop

  # few objects need no repository: they stand in the package
  umbel adopt kubectl tools -n tools -l app=shell --cluster prod-eu
  # and move into one later, with the same objects
  umbel adopt kubectl tools -n tools -l app=shell --cluster prod-eu --git https://git.example.com/fleet.git --path tools`)
	cmd.Use = "kubectl PACKAGE"
	cmd.Args = exit.Takes("PACKAGE")
	flags := cmd.Flags()
	flags.StringVarP(&o.Inside, "namespace", "n", "default", "`NAMESPACE` on the cluster")
	flags.BoolVarP(&o.All, "all-namespaces", "A", false, "all of the cluster")
	flags.StringVarP(&o.Labels, "selector", "l", "", "`LABELS` that the objects have")
	flags.StringVar(&o.Git, "git", "", "`URL` of the Git repository that has the manifests")
	o.addRepository(cmd)
	flags.StringVar(&o.Write, "write", "", "write the manifests to this `FOLDER`, and change nothing")
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if o.All {
			if flags.Changed("namespace") {
				return exit.Usagef("give -n or -A, not both")
			}
			o.Inside = ""
		}
		return run(cmd, args)
	}
	return cmd
}

// source completes the source of the Package by what was given on the command line.
func (m *move) source(pkg *v1alpha1.Package, managed *origin.Managed) error {
	if m.ref.Kind != origin.Kubectl {
		m.adjust(&pkg.Spec.Source)
		if managed.Overlay != nil && m.Path == "" {
			managed.Overlay()
		}
		return nil
	}
	if m.Write != "" {
		return nil
	}
	if m.Git != "" {
		pkg.Spec.Source.Git = &v1alpha1.GitSource{URL: m.Git}
		m.adjust(&pkg.Spec.Source)
		return nil
	}
	const most, bytes = 256, 1 << 20
	size := 0
	inline := &v1alpha1.InlineSource{}
	for _, manifest := range managed.Manifests {
		size += len(manifest)
		object, err := v1alpha1.Inline(manifest)
		if err != nil {
			return err
		}
		inline.Objects = append(inline.Objects, object)
	}
	if len(inline.Objects) > most || size > bytes {
		return fmt.Errorf("%s: that is too much to stand in a package: write them to a folder with --write, commit that, and name the repository with --git", v1alpha1.Counted(len(managed.Manifests), "object"))
	}
	pkg.Spec.Source.Inline = inline
	return nil
}

// adjust has a source say what was given on the command line.
func (o *Options) adjust(from *v1alpha1.Source) {
	var secret *v1alpha1.LocalReference
	if o.Secret != "" {
		secret = &v1alpha1.LocalReference{Name: o.Secret}
	}
	switch {
	case from.Git != nil:
		from.Git.Path, from.Git.Ref = cmp.Or(o.Path, from.Git.Path, "."), cmp.Or(o.Ref, from.Git.Ref)
		from.Git.SecretRef = cmp.Or(secret, from.Git.SecretRef)
	case from.OCI != nil:
		from.OCI.Path, from.OCI.SecretRef = cmp.Or(o.Path, from.OCI.Path, "."), cmp.Or(secret, from.OCI.SecretRef)
	case from.Helm != nil:
		from.Helm.SecretRef = cmp.Or(secret, from.Helm.SecretRef)
	}
}
