package clitest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/clitest"
)

// TestKubeconfig merges a fleet into a kubeconfig that has entries of its own, with a hub whose credentials are a token.
func TestKubeconfig(t *testing.T) {
	f := newFleet(t)
	f.openDoor(t, "127.0.0.1:7443", "PEM")
	file := filepath.Join(t.TempDir(), "config")
	own := clientcmdapi.NewConfig()
	own.Clusters["kind"] = &clientcmdapi.Cluster{Server: "https://127.0.0.1:40000", CertificateAuthority: "relative.crt"}
	own.AuthInfos["me"] = &clientcmdapi.AuthInfo{Token: "mine"}
	own.Contexts["kind"] = &clientcmdapi.Context{Cluster: "kind", AuthInfo: "me"}
	own.Contexts["prod-us"] = &clientcmdapi.Context{Cluster: "kind", AuthInfo: "me", Namespace: "legacy"}
	own.Clusters["gone"] = &clientcmdapi.Cluster{Server: "https://127.0.0.1:7443/clusters/gone"}
	own.Contexts["gone"] = &clientcmdapi.Context{Cluster: "gone", AuthInfo: "umbel@127.0.0.1:7443"}
	own.Clusters["other-hub"] = &clientcmdapi.Cluster{Server: "https://127.0.0.1:8443/clusters/gone"}
	own.Contexts["other-hub"] = &clientcmdapi.Context{Cluster: "other-hub", AuthInfo: "me"}
	own.CurrentContext = "gone"
	if err := clientcmd.WriteToFile(*own, file); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", link+string(os.PathListSeparator)+filepath.Join(t.TempDir(), "second"))
	steps := []struct {
		reason string
		args   string
		want   said
	}{
		{
			reason: "a name that something else has is left alone, and so is the rest", args: "kubeconfig",
			want: said{Err: "error: kubeconfig " + file + ": context \"prod-us\" leads elsewhere (cluster \"kind\"): it is left alone; choose other names with --prefix\n", Code: 1},
		},
		{
			reason: "those that are selected", args: "kubeconfig --clusters region=eu",
			want: said{Out: "context/prod-eu created\n", Err: "The kubeconfig is " + link + "\n"},
		},
		{
			reason: "the same again changes nothing", args: "kubeconfig --clusters region=eu",
			want: said{Out: "context/prod-eu unchanged\n", Err: "The kubeconfig is " + link + "\n"},
		},
		{
			reason: "a prefix keeps names apart; clusters that have left are taken out", args: "kubeconfig --prefix umbel- --prune",
			want: said{Out: "context/umbel-dev created\ncontext/umbel-edge created\ncontext/umbel-prod-eu created\ncontext/umbel-prod-us created\ncontext/gone removed\n", Err: "The kubeconfig is " + link + "\n"},
		},
		{
			reason: "a selector that selects nothing", args: "kubeconfig --clusters env=lab --prune",
			want: said{Err: "No clusters match env=lab (of 4 clusters)\n"},
		},
		{
			reason: "a format is no file", args: "kubeconfig -o yaml",
			want: said{Err: "error: -o names a file here: a kubeconfig has one format. `-o -` prints it, and a file of this name is ./yaml\n", Code: 2},
		},
		{
			reason: "nothing can be taken out of standard output", args: "kubeconfig -o - --prune",
			want: said{Err: "error: --prune takes out of a file: standard output has nothing yet\n", Code: 2},
		},
		{
			reason: "a selector that cannot be read", args: "kubeconfig --clusters env=(prod)",
			want: said{Err: "error: the selector \"env=(prod)\" cannot be read: unable to parse requirement: found '(', expected: identifier\n", Code: 2},
		},
	}
	for _, step := range steps {
		t.Run(step.reason, func(t *testing.T) {
			if diff := cmp.Diff(step.want, f.run(t.Context(), strings.Fields(step.args)...)); diff != "" {
				t.Errorf("umbel %s (-want +got):\n%s", step.args, diff)
			}
		})
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	clitest.Golden(t, "kubeconfig-merged.yaml", f.withoutCredentials(t, string(raw)))
	if info, err := os.Lstat(file); err != nil || info.Mode() != 0o600 {
		t.Errorf("the file has mode %v (%v), want that nobody else reads it", info.Mode(), err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is one no longer (%v)", err)
	}
	if entries, err := os.ReadDir(filepath.Dir(file)); err != nil || len(entries) != 1 {
		t.Errorf("beside the file are %v (%v), want nothing", entries, err)
	}
}

func TestKubeconfigOnStandardOutput(t *testing.T) {
	f := newFleet(t)
	f.openDoor(t, "127.0.0.1:7443", "PEM")
	got := f.run(t.Context(), "kubeconfig", "--clusters", "env=dev", "-o", "-")
	if got.Code != 0 {
		t.Fatal(got.Err)
	}
	clitest.Golden(t, "kubeconfig-stdout.yaml", f.withoutCredentials(t, got.Out))
}

func TestKubeconfigWaitsForNoLock(t *testing.T) {
	f := newFleet(t)
	f.openDoor(t, "127.0.0.1:7443", "PEM")
	file := filepath.Join(t.TempDir(), "new", "config")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file+".lock", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want := said{Err: "error: kubeconfig " + file + " is being written by another program: try again, or remove " + file + ".lock when there is none\n", Code: 1}
	if diff := cmp.Diff(want, f.run(t.Context(), "kubeconfig", "--output", file)); diff != "" {
		t.Errorf("while it is locked (-want +got):\n%s", diff)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("it was written all the same")
	}
}

// openDoor has the hub say where it is reached.
func (f *fleet) openDoor(t *testing.T, address, ca string) {
	t.Helper()
	f.create(t, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.HubInfoConfigMap},
		Data:       map[string]string{v1alpha1.HubInfoAddress: address, v1alpha1.HubInfoCA: ca},
	})
}

// withoutCredentials checks that those of the hub's kubeconfig are in the text, and leaves them out: they differ.
func (f *fleet) withoutCredentials(t *testing.T, text string) string {
	t.Helper()
	config, err := clientcmd.Load([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	hub, err := clientcmd.LoadFromFile(f.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	user := config.AuthInfos["umbel@127.0.0.1:7443"]
	want := hub.AuthInfos[hub.Contexts[hub.CurrentContext].AuthInfo]
	if user == nil || user.Token != want.Token || string(user.ClientKeyData) != string(want.ClientKeyData) {
		t.Fatalf("the credentials are not those of the hub's kubeconfig:\n%s", text)
	}
	config.AuthInfos["umbel@127.0.0.1:7443"] = clientcmdapi.NewAuthInfo()
	raw, err := clientcmd.Write(*config)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
