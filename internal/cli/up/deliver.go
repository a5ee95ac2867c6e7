package up

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/examples"
	"umbel.dev/umbel/internal/cli/progress"
	"umbel.dev/umbel/internal/hub"
)

// deliver makes the example repository and the Packages of its folders, and waits until they are delivered.
func (r *fleet) deliver(ctx context.Context) error {
	err := r.view.Run("example repository", func(*progress.Step) error { return r.repository(ctx) })
	if err != nil {
		return err
	}
	return r.view.Run("packages delivered", func(step *progress.Step) error {
		names, err := r.packages(ctx)
		if err != nil {
			return err
		}
		return r.delivered(ctx, step, names)
	})
}

func (r *fleet) repositoryDir() string { return filepath.Join(r.Home, "fleet") }
func (r *fleet) repositoryURL() string { return "file://" + r.repositoryDir() }

// repository makes a Git repository of the example fleet, once, and in it a hook that tells the hub of each commit.
func (r *fleet) repository(ctx context.Context) error {
	dir := r.repositoryDir()
	if _, err := os.Stat(filepath.Join(dir, ".git", "hooks", "post-commit")); err == nil {
		return nil
	}
	source, err := fs.Sub(examples.Fleet, "fleet")
	if err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil { // half made by a run that was killed: the hook comes last
		return err
	}
	if err := os.CopyFS(dir, source); err != nil {
		return fmt.Errorf("writing the example repository: %w", err)
	}
	for _, args := range [][]string{
		{"init", "-q", "-b", "main"},
		{"config", "user.name", "umbel"},
		{"config", "user.email", "umbel@localhost"},
		{"add", "-A"},
		{"commit", "-q", "-m", "An example fleet"},
	} {
		cmd := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("git %s in %s: %w: %s", strings.Join(args, " "), dir, err, out)
		}
	}
	hook := fmt.Sprintf("#!/bin/sh\n# Tell the hub that there is something new, so that it need not wait for its next poll.\nexec '%s' refresh package --git '%s' --home '%s' --kubeconfig '%s' --quiet\n",
		filepath.Join(r.programs, "umbel"), r.repositoryURL(), r.Home, hub.AdminKubeconfig(r.Home))
	return os.WriteFile(filepath.Join(dir, ".git", "hooks", "post-commit"), []byte(hook), 0o755)
}

// packages applies the example's Placements and Packages, and returns the names of the Packages.
func (r *fleet) packages(ctx context.Context) ([]string, error) {
	text := strings.ReplaceAll(examples.Packages, "REPOSITORY", r.repositoryURL())
	var names []string
	for decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader([]byte(text)), 4096); ; {
		o := &unstructured.Unstructured{}
		if err := decoder.Decode(&o.Object); errors.Is(err, io.EOF) {
			return names, nil
		} else if err != nil {
			return nil, fmt.Errorf("reading the example's packages: %w", err)
		}
		if err := r.hub.Apply(ctx, kube.ApplyConfigurationFromUnstructured(o), kube.FieldOwner("umbel-up")); err != nil {
			return nil, fmt.Errorf("applying %s %s: %w", o.GetKind(), o.GetName(), err)
		}
		if o.GetKind() == "Package" {
			names = append(names, o.GetName())
		}
	}
}

// delivered waits until the packages are ready.
func (r *fleet) delivered(ctx context.Context, step *progress.Step, names []string) error {
	watching, err := r.hub.Watch(ctx, &v1alpha1.PackageList{}, kube.InNamespace("default"))
	if err != nil {
		return err
	}
	defer watching.Stop()
	waiting := map[string]string{}
	for _, name := range names {
		waiting[name] = "not rendered yet"
	}
	for len(waiting) > 0 {
		select {
		case event, open := <-watching.ResultChan():
			if !open {
				return errors.New("the hub ended the watch; run `umbel up` again")
			}
			p, ok := event.Object.(*v1alpha1.Package)
			if !ok || waiting[p.Name] == "" {
				continue
			}
			for _, c := range p.Status.Conditions {
				if c.Type == v1alpha1.ConditionReady {
					waiting[p.Name] = c.Message + "."
				}
			}
			if meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionReady) && p.Status.ObservedGeneration == p.Generation {
				delete(waiting, p.Name)
			}
			step.Note("%d of %d", len(names)-len(waiting), len(names))
		case <-ctx.Done():
			return fmt.Errorf("waiting for packages: %v: %w", waiting, ctx.Err())
		}
	}
	return nil
}

// next is what people may try now. Every line works when it is pasted.
func (r *fleet) next(clusters []cluster) string {
	umbel := "umbel"
	if found, err := exec.LookPath("umbel"); err != nil || filepath.Dir(found) != r.programs {
		umbel = r.short(filepath.Join(r.programs, "umbel"))
	}
	if os.Getenv("UMBEL_HOME") == "" && r.isDefaultHome() {
		// the commands find the fleet by themselves
	} else if os.Getenv("UMBEL_HOME") != r.Home {
		umbel += " --home " + r.Home
	}
	if os.Getenv("UMBEL_KUBECONFIG") != "" { // it names another hub than this one
		umbel = "UMBEL_KUBECONFIG= " + umbel
	}
	first := clusters[0].name
	var b strings.Builder
	fmt.Fprintf(&b, "\nThe fleet is up. Try:\n\n  %s get clusters -o wide\n", umbel)
	if r.Example == None {
		return b.String()
	}
	repo := r.short(r.repositoryDir())
	fmt.Fprintf(&b, `  %[1]s get packages
  %[1]s describe package shop

Somebody deletes a role; it comes back:

  %[1]s kubectl %[2]s -- delete role pod-reader -n shop
  %[1]s kubectl %[2]s -- get role pod-reader -n shop

One commit changes every cluster:

  sed -i "s/greeting: .*/greeting: Good day at $(date +%%T)/" %[3]s/shop/storefront.yaml
  git -C %[3]s commit -qam 'Greet anew'
  %[1]s kubectl %[2]s -- get configmap storefront -n shop -o yaml

A cluster gets what its labels say:

  %[1]s label cluster dev env=prod --overwrite
  %[1]s describe package guardrails
  %[1]s label cluster dev env=dev --overwrite

And away with all of it:

  %[1]s down
`, umbel, first, repo)
	return b.String()
}

// short is a path as people would type it from here.
func (r *fleet) short(path string) string {
	if dir, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(dir, path); err == nil && !strings.HasPrefix(rel, "..") {
			return "./" + rel
		}
	}
	return path
}

func (r *fleet) isDefaultHome() bool {
	user, err := os.UserHomeDir()
	return err == nil && r.Home == filepath.Join(user, ".umbel")
}
