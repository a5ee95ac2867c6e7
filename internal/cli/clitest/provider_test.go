package clitest_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/clitest"
	"umbel.dev/umbel/internal/hub"
	"umbel.dev/umbel/internal/lifecycle/capi"
	"umbel.dev/umbel/internal/programtest"
)

func TestProvider(t *testing.T) {
	f := newFleet(t)
	home, files := t.TempDir(), t.TempDir()
	run := func(args ...string) said {
		t.Helper()
		return f.run(t.Context(), append([]string{"--home", home, "provider"}, args...)...)
	}
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(files, name)
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	program := write("program", "#!/bin/true\n")
	manifests := write("components.yaml", "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: as.dev}\n")
	none := write("none.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: dev}\n")
	expect := func(reason string, want said, args ...string) {
		t.Helper()
		if diff := cmp.Diff(want, run(args...)); diff != "" {
			t.Errorf("%s: umbel provider %s (-want +got):\n%s", reason, strings.Join(args, " "), diff)
		}
	}
	expect("none yet", said{Err: "No providers, and no Cluster API: `umbel provider add NAME` has the hub run both\n"}, "list")
	expect("for programs that is a list as well", said{Out: "[]\n"}, "list", "-o", "json")
	expect("not the hub's machine", said{Err: "error: no hub is in the data folder " + home + ": run this on the hub's machine, with its --home\n", Code: 1},
		"add", "dev", "--command", program, "--components", manifests)
	if _, err := hub.LoadState(home, hub.Changes{}); err != nil {
		t.Fatal(err)
	}
	expect("no files", said{Err: "error: say which program (--command) and which manifests (--components): its project releases both; of aws, azure, vsphere, local this is known\n", Code: 2}, "add", "dev")
	expect("no name", said{Err: "error: name one provider; what its program is given follows --\n", Code: 2}, "add", "--", "dev")
	expect("a path", said{Err: "error: \"../dev\" is no name of a provider: lower case letters, digits and '-', at most 63 characters\n", Code: 2}, "add", "../dev")
	expect("Cluster API itself", said{Err: "error: cluster-api is Cluster API itself: the hub runs it as soon as there is another provider\n", Code: 2}, "add", "cluster-api")
	expect("manifests of something else", said{Err: "error: --components " + none + ": no CustomResourceDefinition is in the manifests: give the file of components that the provider's project releases\n", Code: 1},
		"add", "dev", "--command", program, "--components", none)
	folder := capi.FolderOf(hub.ProvidersDir(home), "dev")
	if _, err := os.Stat(string(folder)); !os.IsNotExist(err) {
		t.Errorf("what was refused left a folder: %v", err)
	}
	add := []string{"add", "dev", "--command", program, "--components", manifests}
	expect("added", said{Out: "provider/dev added; `umbel provider list` says whether it serves\n"}, append(add, "--", "--x=1")...)
	expect("again", said{Out: "provider/dev not changed; `umbel provider list` says whether it serves\n"}, append(add, "--", "--x=1")...)
	write("program", "#!/bin/false\n")
	expect("another program", said{Out: "provider/dev changed; `umbel provider list` says whether it serves\n"}, append(add, "--", "--x=1")...)
	var dev v1alpha1.Provider
	if err := f.api.Get(t.Context(), kube.ObjectKey{Name: "dev"}, &dev); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.api.Delete(t.Context(), &dev) })
	copied, err := os.ReadFile(folder.Program())
	if err != nil || string(copied) != "#!/bin/false\n" {
		t.Errorf("the hub's machine has the program %q (%v)", copied, err)
	}
	wanted := v1alpha1.ProviderSpec{Args: []string{"--x=1"}, Digest: capi.Digest(copied, []byte("apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: as.dev}\n"))}
	if diff := cmp.Diff(wanted, dev.Spec); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	dev.Status.Conditions = []metav1.Condition{{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonProcessEnds, LastTransitionTime: metav1.Now(),
		Message: "its process ended (exit status 1) and was started again: /logs/dev.log says why",
	}}
	if err := f.api.Status().Update(t.Context(), &dev); err != nil {
		t.Fatal(err)
	}
	f.now = dev.CreationTimestamp.Add(15 * time.Minute)
	for file, args := range map[string]string{"providers.txt": "list", "providers-wide.txt": "list -o wide", "providers-name.txt": "list -o name"} {
		got := run(strings.Fields(args)...)
		if got.Err != "" || got.Code != 0 {
			t.Errorf("umbel provider %s: %+v", args, got)
		}
		clitest.Golden(t, file, got.Out)
	}
	expect("the version of what does not say one", said{Err: "error: --version 1: " + program + " does not say which version it is\n", Code: 1}, append(add, "--version", "1")...)
	expect("no such provider", said{Err: "error: there is no provider \"nope\": `umbel provider list` lists them\n", Code: 1}, "remove", "nope")
	keeps := func(finalizers string) {
		t.Helper()
		one := &v1alpha1.Provider{ObjectMeta: metav1.ObjectMeta{Name: "dev"}}
		if err := f.api.Patch(t.Context(), one, kube.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":`+finalizers+`}}`))); err != nil {
			t.Fatal(err)
		}
	}
	keeps(`["` + v1alpha1.ProviderFinalizer + `"]`)
	expect("removed", said{Out: "provider/dev goes when nothing needs it; `umbel provider list -o wide` says what does\n"}, "remove", "dev")
	expect("added while it goes", said{Err: "error: provider dev is being removed, and goes when nothing needs it: `umbel provider list -o wide` says what does; it can be added again then\n", Code: 1}, add...)
	keeps("null")
}

// TestAProviderByItsName: of those that are known the program and the manifests are beside umbel, and the version is that of the program.
func TestAProviderByItsName(t *testing.T) {
	f := newFleet(t)
	home := t.TempDir()
	if _, err := hub.LoadState(home, hub.Changes{}); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) said {
		t.Helper()
		return f.run(t.Context(), append([]string{"--home", home, "provider"}, args...)...)
	}
	expect := func(reason string, want said, args ...string) {
		t.Helper()
		if diff := cmp.Diff(want, run(args...)); diff != "" {
			t.Errorf("%s: umbel provider %s (-want +got):\n%s", reason, strings.Join(args, " "), diff)
		}
	}
	beside, err := client.Programs()
	if err != nil {
		t.Fatal(err)
	}
	capv := filepath.Join(beside, "capv")
	for name, program := range map[string]string{"vsphere": "capv", "aws": "capa", "azure": "capz"} {
		expect("not built", said{
			Err: "error: looking for provider " + name + " beside umbel: stat " + filepath.Join(beside, program) + ": no such file or directory: `make " + program +
				"` builds it; one that is elsewhere is named by --command and --components\n",
			Code: 1,
		}, "add", name)
	}
	for _, name := range []string{"capv", "capv.yaml"} {
		link := filepath.Join(beside, name)
		if err := os.Symlink(programtest.Of(t, name), link); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Remove(link) }) // its folder goes with the program of the tests
	}
	has := required(t, "tools/capv/go.mod", "sigs.k8s.io/cluster-api-provider-vsphere")
	expect("another version", said{
		Err:  "error: --version 1.2.3 is not to be had: " + capv + " is " + has + "; name the program and the manifests of another version by --command and --components\n",
		Code: 1,
	}, "add", "vsphere", "--version", "1.2.3")
	provider := &v1alpha1.Provider{}
	if err := f.api.Get(t.Context(), kube.ObjectKey{Name: "vsphere"}, provider); !apierrors.IsNotFound(err) {
		t.Errorf("of a version that is not to be had there is a Provider (%v)", err)
	}
	expect("this version", said{Out: "provider/vsphere added, " + has + "; `umbel provider list` says whether it serves\n"}, "add", "vsphere", "--version", strings.TrimPrefix(has, "v"))
	if err := f.api.Get(t.Context(), kube.ObjectKey{Name: "vsphere"}, provider); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.api.Delete(context.WithoutCancel(t.Context()), provider) })
	expect("whichever it is", said{Out: "provider/vsphere not changed, " + has + "; `umbel provider list` says whether it serves\n"}, "add", "vsphere")
	folder := capi.FolderOf(hub.ProvidersDir(home), "vsphere")
	for file, name := range map[string]string{folder.Program(): "capv", folder.Components(): "capv.yaml"} {
		copied, err := os.ReadFile(file)
		built, missing := os.ReadFile(programtest.Of(t, name))
		if err := errors.Join(err, missing); err != nil || !bytes.Equal(copied, built) {
			t.Errorf("%s is not what was built (%v)", file, err)
		}
	}
	if got := run("list", "-o", "wide"); !strings.Contains(got.Out, " "+has+" ") {
		t.Errorf("the list does not say that it is %s:\n%s", has, got.Out)
	}

	// Another program in its place is another version, here one that nobody has given a number.
	program, manifests := filepath.Join(home, "program"), folder.Components()
	if err := os.WriteFile(program, []byte("#!/bin/true\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	expect("another program", said{Out: "provider/vsphere changed; `umbel provider list` says whether it serves\n"}, "add", "vsphere", "--command", program, "--components", manifests)
	if got := run("list", "-o", "wide"); strings.Contains(got.Out, has) {
		t.Errorf("the list says that it is %s still:\n%s", has, got.Out)
	}
	expect("Umbel's own has Umbel's", said{
		Err:  "error: local is Umbel's own provider, of clusters on the hub's machine: it needs neither --command nor --components, and its version is Umbel's\n",
		Code: 2,
	}, "add", "local", "--version", "1")
}

// required returns the version of a module that a go.mod of the repository has.
func required(t *testing.T, file, module string) string {
	t.Helper()
	root, err := programtest.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == module {
			return fields[1]
		}
	}
	t.Fatalf("%s does not require %s", file, module)
	return ""
}
