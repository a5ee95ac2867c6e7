package plan

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	kube "sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/delivery"
	"umbel.dev/umbel/internal/delivery/render"
	delivered "umbel.dev/umbel/internal/delivery/source"
)

// source is what is rendered.
type source struct {
	// name says what it is, for people.
	name  string
	makes render.Maker
	close func()
}

// readPackage reads a Package as people write it, from a file or, for -, from standard input.
func readPackage(file string, in io.Reader, namespace string) (*v1alpha1.Package, error) {
	var text []byte
	var err error
	if file == "-" {
		text, err = io.ReadAll(in)
	} else {
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, err
	}
	pkg := &v1alpha1.Package{}
	if err := yaml.UnmarshalStrict(text, pkg); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if pkg.Kind != "Package" || pkg.APIVersion != v1alpha1.GroupVersion.String() || pkg.Name == "" {
		return nil, fmt.Errorf("%s: it has to be one Package of %s with a name, and is %s %q of %q", file, v1alpha1.GroupVersion, pkg.Kind, pkg.Name, pkg.APIVersion)
	}
	if pkg.Namespace == "" {
		pkg.Namespace = namespace
	}
	return pkg, nil
}

// open finds the files that stand for the source of a Package.
func (o *Options) open(ctx context.Context, hub *client.Hub, pkg *v1alpha1.Package) (_ *source, err error) {
	from, found := pkg.Spec.Source, &source{name: "the package itself"}
	kit, end, err := o.Kit(ctx)
	if err != nil {
		return nil, err
	}
	closing := []func(){end}
	found.close = func() {
		for _, each := range slices.Backward(closing) {
			each()
		}
	}
	defer func() {
		if err != nil {
			found.close()
		}
	}()
	if err := o.lends(ctx, hub, pkg); err != nil {
		return nil, err
	}
	var files fs.FS
	switch {
	case from.Inline != nil && (o.From != "" || o.Ref != ""):
		return nil, exit.Usagef("the objects stand in the package itself: --from and --ref have no meaning; -f FILE shows what another version of it would do")
	case from.OCI != nil && o.From == "":
		return nil, exit.Usagef("the package comes from a registry: name the folder that is to be pushed with --from")
	case from.Helm != nil && o.From == "":
		return nil, exit.Usagef("the chart comes from a repository of charts: name its folder with --from (`helm pull --untar` makes one)")
	case from.Inline == nil:
		root, name, err := o.root(ctx)
		if errors.Is(err, errNoTree) {
			return nil, inClone(err, from.Git)
		}
		if err != nil {
			return nil, err
		}
		if o.Ref != "" {
			var remove func()
			if root, remove, err = commit(ctx, root, o.Ref); err != nil {
				return nil, err
			}
			closing = append(closing, remove)
		}
		at, err := os.OpenRoot(root) // no link in it leads elsewhere
		if err != nil {
			return nil, err
		}
		closing = append(closing, func() { _ = at.Close() }) // nothing was written
		files = at.FS()
		folder := path.Clean("./" + delivery.FolderOf(pkg))
		found.name = fmt.Sprintf("path %s of %s", folder, name)
		if _, err := fs.Stat(files, folder); errors.Is(err, fs.ErrNotExist) && from.Git != nil {
			return nil, inClone(fmt.Errorf("%s is not there", found.name), from.Git)
		}
	}
	if found.makes, err = kit.MakerOf(ctx, hub, pkg, files); err != nil {
		return nil, fmt.Errorf("rendering %s: %w", found.name, err)
	}
	return found, nil
}

// lends asks the hub what it knows of the Package in a file, and of the Secrets that this names, to see what the file may have fetched.
func (o *Options) lends(ctx context.Context, hub *client.Hub, pkg *v1alpha1.Package) error {
	if o.File == "" || pkg.Spec.Kustomize == nil {
		return nil
	}
	var known v1alpha1.Package
	if err := hub.Get(ctx, kube.ObjectKeyFromObject(pkg), &known); kube.IgnoreNotFound(err) != nil {
		return err
	}
	return mayFetch(o.File, pkg, &known, func(name string) (string, error) {
		var secret corev1.Secret
		err := hub.Get(ctx, kube.ObjectKey{Namespace: pkg.Namespace, Name: name}, &secret)
		return secret.Annotations[v1alpha1.OnlyForAnnotation], err
	})
}

// mayFetch refuses what a Package in a file, which anybody may have written, would have fetched as nobody else may: a remote base with a
// Secret that is not for one address alone, or from this machine's disk. Those of the Package that is known to the hub, whoever made it had to
// be let. only is the address that a Secret is for; empty when it is for any.
func mayFetch(file string, pkg, known *v1alpha1.Package, only func(secret string) (string, error)) error {
	for i, base := range pkg.Spec.Kustomize.RemoteBases {
		field := fmt.Sprintf("%s: spec.kustomize.remoteBases[%d]", file, i)
		local := strings.HasPrefix(strings.ToLower(base.URL), "file:")
		switch {
		case !local && base.SecretRef == nil || lists(known, base):
			continue
		case local:
			return fmt.Errorf("%s: %s is a folder of this machine, and package %s on the hub does not list it: serve it, or let the hub's Package list it first", field, base.URL, pkg.Name)
		}
		address, err := only(base.SecretRef.Name)
		if err != nil {
			return fmt.Errorf("%s: reading secret %s: %w", field, base.SecretRef.Name, err)
		}
		if address == "" {
			return fmt.Errorf("%s: secret %s would be sent to %s, which package %s on the hub does not list: annotate the secret with %s=ADDRESS, for which it is then alone",
				field, base.SecretRef.Name, delivered.Redact(base.URL), pkg.Name, v1alpha1.OnlyForAnnotation)
		}
	}
	return nil
}

// lists says whether a Package lists a remote base with the same Secret, at whichever ref.
func lists(pkg *v1alpha1.Package, base v1alpha1.RemoteBase) bool {
	if pkg.Spec.Kustomize == nil {
		return false
	}
	return slices.ContainsFunc(pkg.Spec.Kustomize.RemoteBases, func(b v1alpha1.RemoteBase) bool {
		b.Ref = base.Ref
		return equality.Semantic.DeepEqual(b, base)
	})
}

// inClone says where the source of a package is to be found.
func inClone(err error, from *v1alpha1.GitSource) error {
	return fmt.Errorf("%w: run this in a clone of %s, name one with --from, or plan what the hub has rendered with --release (`umbel get releases` lists that)", err, delivered.Redact(from.URL))
}

// errNoTree says that somebody is nowhere near the source of the package.
var errNoTree = errors.New("there is no Git working tree here")

// root is the folder that stands for the root of the repository, and what it is called.
func (o *Options) root(ctx context.Context) (root, name string, err error) {
	if root, err = filepath.Abs(o.From); err != nil {
		return "", "", err
	}
	top, err := git(ctx, root, "rev-parse", "--show-toplevel")
	switch {
	case err != nil && o.From == "":
		return "", "", errNoTree
	case err != nil && o.Ref != "":
		return "", "", fmt.Errorf("--ref needs a Git repository, and %s is none: %w", root, err)
	case err != nil:
		return root, root, nil
	case o.From == "" || o.Ref != "":
		root = strings.TrimSpace(string(top))
	}
	if o.Ref != "" {
		hash, err := git(ctx, root, "rev-parse", "--verify", "--short=12", "--end-of-options", o.Ref+"^{commit}")
		if err != nil {
			return "", "", fmt.Errorf("--ref %s is no commit of %s: %w", o.Ref, root, err)
		}
		return root, fmt.Sprintf("%s (commit %s)", o.Ref, strings.TrimSpace(string(hash))), nil
	}
	return root, "the working tree " + root + state(ctx, root), nil
}

// state says which commit a working tree is of, and whether it differs.
func state(ctx context.Context, root string) string {
	head, err := git(ctx, root, "rev-parse", "--short=12", "HEAD")
	if err != nil {
		return "" // nothing is committed yet
	}
	changed, err := git(ctx, root, "status", "--porcelain")
	if err != nil || len(changed) == 0 {
		return fmt.Sprintf(" (commit %s)", strings.TrimSpace(string(head)))
	}
	return fmt.Sprintf(" (commit %s, with changes)", strings.TrimSpace(string(head)))
}

// commit unpacks a commit into a folder, which remove removes.
func commit(ctx context.Context, root, ref string) (folder string, remove func(), err error) {
	archive, err := git(ctx, root, "archive", "--format=tar", ref)
	if err != nil {
		return "", nil, fmt.Errorf("reading commit %s: %w", ref, err)
	}
	if folder, err = os.MkdirTemp("", "umbel-plan-"); err != nil {
		return "", nil, err
	}
	remove = func() { _ = os.RemoveAll(folder) } // it is in the folder for temporary files
	if err := unpack(archive, folder); err != nil {
		remove()
		return "", nil, fmt.Errorf("unpacking commit %s: %w", ref, err)
	}
	return folder, remove, nil
}

// unpack writes the files of an archive below a folder, and nothing elsewhere.
func unpack(archive []byte, folder string) error {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // each file in it was closed with its own error
	entries := tar.NewReader(bytes.NewReader(archive))
	for {
		entry, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch entry.Typeflag {
		case tar.TypeDir:
			err = root.MkdirAll(path.Clean(entry.Name), 0o700)
		case tar.TypeSymlink:
			err = root.Symlink(entry.Linkname, entry.Name) // rendering says what it thinks of them
		case tar.TypeReg:
			var content []byte
			if content, err = io.ReadAll(entries); err == nil {
				err = root.WriteFile(entry.Name, content, 0o600)
			}
		}
		if err != nil {
			return err
		}
	}
}

// git runs git in a folder. Its error is what git says.
func git(ctx context.Context, folder string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", folder}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if said := strings.TrimSpace(errs.String()); said != "" {
			return nil, errors.New(said)
		}
		return nil, err
	}
	return out.Bytes(), nil
}
