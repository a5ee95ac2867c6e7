package provider

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	hubs "umbel.dev/umbel/internal/hub"
	"umbel.dev/umbel/internal/lifecycle/capi"
)

const addLong = `Have the hub run a provider of Cluster API, unchanged: the program that its project builds, with the manifests that its
project releases (infrastructure-components.yaml). It is run on the hub's machine, as the hub's user, and does to the hub's API
what the hub may do: add what you trust.

The program and the manifests are copied to the hub's data folder, so run this on the hub's machine. Of the manifests the kinds
and webhooks count; their Deployment does not, and cert-manager is not needed. What follows -- is given to the program, before the
flags of Cluster API's managers by which it finds the hub's API and serves its webhooks. No secret belongs there: the arguments can
be read in the Provider.

The provider local is Umbel's own: it needs no files, and makes clusters on the hub's machine (` + "`umbel cluster`" + `). Of aws, azure and
vsphere the files are looked for beside umbel, where ` + "`make capa`, `make capz` and `make capv`" + ` put them.

To add a provider again with other files or arguments has it started anew with these: so it gets another version.`

const addExamples = `  # Cluster API's own provider for development, with clusters that live in memory
  umbel provider add dev --command build/bin/capd --components build/bin/capd.yaml -- --feature-gates=ClusterTopology=true

  # Umbel's own, which makes clusters on the hub's machine
  umbel provider add local

  # that for vSphere, which make capv has built beside umbel, if it is this version
  umbel provider add vsphere --version 1.16.1

  # does it serve?
  umbel provider list`

// known are the providers whose program and manifests are looked for beside umbel, and what these are called there and in the Makefile.
var known = map[string]string{"aws": "capa", "azure": "capz", "vsphere": "capv"}

// namedAlone are the providers that are added by their name alone.
func namedAlone() []string { return append(slices.Sorted(maps.Keys(known)), v1alpha1.LocalProvider) }

// addOptions are the arguments of `umbel provider add`.
type addOptions struct {
	*client.Factory
	name, command, components, version string
	args                               []string
}

func newAddCmd(f *client.Factory) *cobra.Command {
	o := &addOptions{Factory: f}
	cmd := &cobra.Command{
		Use:               "add NAME [--command PROGRAM --components FILE] [--version VERSION] [-- ARG...]",
		Short:             "Have the hub run a provider",
		Long:              addLong,
		Example:           addExamples,
		ValidArgsFunction: cobra.FixedCompletions(namedAlone(), cobra.ShellCompDirectiveNoFileComp),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.complete(args, cmd.ArgsLenAtDash()); err != nil {
				return err
			}
			return f.OnHub(cmd.Context(), o.run)
		},
	}
	cmd.Flags().StringVar(&o.command, "command", "", "`PROGRAM` of the provider: a file, or what is found in PATH")
	cmd.Flags().StringVar(&o.components, "components", "", "`FILE` of manifests that the provider's project releases")
	cmd.Flags().StringVar(&o.version, "version", "", "`VERSION` that it is to be, as its program says (default: whichever it is)")
	return cmd
}

func (o *addOptions) complete(args []string, dash int) error {
	if dash < 0 {
		dash = len(args)
	}
	if dash != 1 {
		return exit.Usagef("name one provider; what its program is given follows --")
	}
	o.name, o.args = args[0], args[dash:]
	if err := checkName(o.name); err != nil {
		return err
	}
	if o.name == v1alpha1.CoreProvider {
		return exit.Usagef("%s is Cluster API itself: the hub runs it as soon as there is another provider", o.name)
	}
	if o.name == v1alpha1.LocalProvider {
		if o.command != "" || o.components != "" || o.version != "" {
			return exit.Usagef("%s is Umbel's own provider, of clusters on the hub's machine: it needs neither --command nor --components, and its version is Umbel's", o.name)
		}
		return nil
	}
	if _, ok := known[o.name]; ok && o.command == "" && o.components == "" {
		return nil
	}
	if o.command == "" || o.components == "" {
		return exit.Usagef("say which program (--command) and which manifests (--components): its project releases both; of %s this is known", strings.Join(namedAlone(), ", "))
	}
	return nil
}

func (o *addOptions) run(ctx context.Context, hub *client.Hub) error {
	if o.name == v1alpha1.LocalProvider {
		return o.put(ctx, hub, "", "")
	}
	if _, err := hubs.ReadState(o.Home); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("no hub is in the data folder %s: run this on the hub's machine, with its --home", o.Home)
		}
		return err
	}
	program, manifests, err := o.read()
	if err != nil {
		return err
	}
	version := versionOf(program)
	if err := o.check(version); err != nil {
		return err
	}
	folder := capi.FolderOf(hubs.ProvidersDir(o.Home), o.name)
	if err := os.MkdirAll(string(folder), 0o700); err != nil {
		return fmt.Errorf("making the folder of provider %s: %w", o.name, err)
	}
	if err := renameio.WriteFile(folder.Program(), program, 0o700); err != nil {
		return fmt.Errorf("copying the program: %w", err)
	}
	if err := renameio.WriteFile(folder.Components(), manifests, 0o600); err != nil {
		return fmt.Errorf("copying the manifests: %w", err)
	}
	return o.put(ctx, hub, capi.Digest(program, manifests), version)
}

// put makes the Provider, or changes it.
func (o *addOptions) put(ctx context.Context, hub *client.Hub, digest, version string) error {
	provider := &v1alpha1.Provider{ObjectMeta: metav1.ObjectMeta{Name: o.name}}
	done, err := controllerutil.CreateOrUpdate(ctx, hub, provider, func() error {
		if !provider.DeletionTimestamp.IsZero() {
			return fmt.Errorf("provider %s is being removed, and goes when nothing needs it: `umbel provider list -o wide` says what does; it can be added again then", o.name)
		}
		provider.Spec.Args, provider.Spec.Digest = o.args, digest
		delete(provider.Annotations, v1alpha1.ProviderVersionAnnotation)
		if version != "" {
			metav1.SetMetaDataAnnotation(&provider.ObjectMeta, v1alpha1.ProviderVersionAnnotation, version)
		}
		return nil
	})
	if err != nil {
		return err
	}
	word := map[controllerutil.OperationResult]string{controllerutil.OperationResultCreated: "added", controllerutil.OperationResultUpdated: "changed", controllerutil.OperationResultNone: "not changed"}[done]
	if version != "" {
		word += ", " + version
	}
	fmt.Fprintf(o.Out, "provider/%s %s; `umbel provider list` says whether it serves\n", o.name, word)
	return nil
}

// read reads both files, and finds out now what the hub would find out later.
func (o *addOptions) read() (program, manifests []byte, err error) {
	if o.command == "" {
		if err := o.beside(known[o.name]); err != nil {
			return nil, nil, err
		}
	}
	path, err := exec.LookPath(o.command)
	if err != nil {
		return nil, nil, fmt.Errorf("--command %s: %w", o.command, err)
	}
	if program, err = os.ReadFile(path); err != nil {
		return nil, nil, fmt.Errorf("--command: %w", err)
	}
	if manifests, err = os.ReadFile(o.components); err != nil {
		return nil, nil, fmt.Errorf("--components: %w", err)
	}
	if err := capi.Check(manifests); err != nil {
		return nil, nil, fmt.Errorf("--components %s: %w", o.components, err)
	}
	return program, manifests, nil
}

// beside takes the program and the manifests that lie beside umbel.
func (o *addOptions) beside(program string) error {
	programs, err := client.Programs()
	if err != nil {
		return err
	}
	o.command, o.components = filepath.Join(programs, program), filepath.Join(programs, program+".yaml")
	for _, file := range []string{o.command, o.components} {
		if _, err := os.Stat(file); err != nil {
			return fmt.Errorf("looking for provider %s beside umbel: %w: `make %s` builds it; one that is elsewhere is named by --command and --components", o.name, err, program)
		}
	}
	return nil
}

// versionOf returns the version of the module that a program was built from, empty for one that does not say.
func versionOf(program []byte) string {
	info, err := buildinfo.Read(bytes.NewReader(program))
	if err != nil || !strings.HasPrefix(info.Main.Version, "v") { // one that was built in its own repository may be "(devel)"
		return ""
	}
	return info.Main.Version
}

// check says why what is there is not the version that was asked for.
func (o *addOptions) check(version string) error {
	switch {
	case o.version == "" || "v"+strings.TrimPrefix(o.version, "v") == version:
		return nil
	case version == "":
		return fmt.Errorf("--version %s: %s does not say which version it is", o.version, o.command)
	}
	return fmt.Errorf("--version %s is not to be had: %s is %s; name the program and the manifests of another version by --command and --components", o.version, o.command, version)
}
