package intake

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/hub"
	"umbel.dev/umbel/internal/kube/kubetest"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

// run runs the command, and returns what it prints on both streams.
func run(t *testing.T, kubeconfig string, args ...string) (out, notes string, err error) {
	t.Helper()
	var o, e bytes.Buffer
	f := &client.Factory{Streams: output.Streams{In: strings.NewReader(""), Out: &o, Err: &e}, Kubeconfig: kubeconfig, Now: time.Now}
	cmd := NewCmd(f)
	cmd.SetArgs(args)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	err = cmd.ExecuteContext(t.Context())
	return o.String(), e.String(), err
}

var everything = []string{"testdata/aws.yaml", "testdata/pools.yaml", "testdata/azure.json", "testdata/attached.json"}

// TestWhatWasExportedIsShown reads what each of the commands prints, before anything is made.
func TestWhatWasExportedIsShown(t *testing.T) {
	if _, _, err := run(t, "", append(everything, "--dry-run")...); err == nil || !strings.Contains(err.Error(), `"shop.floor"`) {
		t.Fatalf("a name that no member can have: %v", err)
	}
	raw, err := os.ReadFile("testdata/attached.json")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "attached.json")
	if err := os.WriteFile(file, bytes.ReplaceAll(raw, []byte("shop.floor"), []byte("shop-floor")), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _, err := run(t, "", "testdata/aws.yaml", "testdata/pools.yaml", "testdata/azure.json", file, "--dry-run")
	if err != nil {
		t.Fatal(err)
	}
	want := `NAME         PLATFORM       REGION         VERSION           NODES   NOTE
old          generic        europe-west1   v1.30.2           -       is left out: it is being ended
orders       eks            eu-west-1      v1.33.4-eks-1     -       -
shop-eu      gke-on-aws     eu-west-1      1.32.4-gke.200    4-6     ends on 2027-03-17
shop-floor   generic        europe-west1   -                 -       nothing was exported by which it can be told from others
shop-west    gke-on-azure   westeurope     1.31.10-gke.100   -       ends on 2027-03-17
`
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestACommandForEachPool: a cluster that ends with its service is built anew, with what Cluster API can take of it.
func TestACommandForEachPool(t *testing.T) {
	out, _, err := run(t, "", "testdata/aws.yaml", "testdata/pools.yaml", "testdata/azure.json", "--rebuild", "aws")
	if err != nil {
		t.Fatal(err)
	}
	want := `# projects/123/locations/europe-west1/awsClusters/shop-eu, Kubernetes 1.32.4-gke.200
# left out: label team=shop of pool web: Cluster API brings those of node.cluster.x-k8s.io and node-restriction.kubernetes.io to nodes
# left out: taint odd=x of pool gpu: its effect is "EFFECT_UNSPECIFIED"
# left out: user ops@example.com, who may do everything there: ` + "`umbel scope create`" + ` says who may do what here
umbel cluster create shop-eu --class aws --workers 0 --pods 10.2.0.0/16 --services 10.1.0.0/16 --labels project=123 --labels region=eu-west-1
umbel cluster pool add shop-eu gpu --workers 1 --taint gpu=true:NoSchedule
umbel cluster pool add shop-eu web --min 3 --max 5 --labels node.cluster.x-k8s.io/tier=web
# projects/123/locations/europe-west4/azureClusters/shop-west, Kubernetes 1.31.10-gke.100
# left out: group platform@example.com, who may do everything there: ` + "`umbel scope create`" + ` says who may do what here
# left out: its nodes: give the files of its pools too
# left out: user ops@example.com, who may do everything there: ` + "`umbel scope create`" + ` says who may do what here
umbel cluster create shop-west --class aws --workers 0 --pods 10.4.0.0/16 --services 10.3.0.0/16 --labels project=123 --labels region=westeurope
`
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestImportedOnAHub makes members, again, and beside others.
func TestImportedOnAHub(t *testing.T) {
	config := kubetest.Start(t)
	kubetest.InstallCRDs(t, config)
	kubeconfig := kubetest.Kubeconfig(t, config)
	scheme, err := hub.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	api, err := kube.New(config, kube.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	member := func(name string) *v1alpha1.MemberCluster {
		t.Helper()
		m := &v1alpha1.MemberCluster{}
		if err := api.Get(context.WithoutCancel(t.Context()), kube.ObjectKey{Name: name}, m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	out, notes, err := run(t, kubeconfig, "testdata/aws.yaml", "--label", "env=prod")
	if err != nil || !strings.Contains(out, "membercluster/shop-eu imported") || !strings.Contains(notes, "umbel join shop-eu") || !strings.Contains(notes, "2027-03-17") {
		t.Fatalf("%v\n%s%s", err, out, notes)
	}
	m := member("shop-eu")
	if diff := cmp.Diff(map[string]string{"platform": "gke-on-aws", "region": "eu-west-1", "project": "123", "env": "prod"}, m.Labels); diff != "" {
		t.Errorf("its labels (-want +got):\n%s", diff)
	}
	if m.Annotations[v1alpha1.IssuerAnnotation] != "https://oidc.example.com/shop-eu" || m.Annotations[v1alpha1.ImportedAnnotation] != "projects/123/locations/europe-west1/awsClusters/shop-eu" {
		t.Errorf("its notes are %v", m.Annotations)
	}
	m.Labels["tier"] = "gold"
	if err := api.Update(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if out, _, err := run(t, kubeconfig, "testdata/aws.yaml"); err != nil || !strings.Contains(out, "not changed") {
		t.Errorf("again: %v\n%s", err, out)
	}
	if labels := member("shop-eu").Labels; labels["tier"] != "gold" || labels["env"] != "prod" {
		t.Errorf("imported again it has the labels %v", labels)
	}
	m = member("shop-eu")
	m.Annotations[v1alpha1.ImportedAnnotation] = "projects/9/locations/eu/awsClusters/shop-eu"
	if err := api.Update(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if _, _, err := run(t, kubeconfig, "testdata/aws.yaml"); err == nil || !strings.Contains(err.Error(), "taken by projects/9") {
		t.Errorf("another one of that name: %v", err)
	}
	if out, _, err := run(t, kubeconfig, "testdata/aws.yaml", "--name", "shop-eu-2"); err != nil || !strings.Contains(out, "shop-eu-2 imported") {
		t.Errorf("by another name: %v\n%s", err, out)
	}
	if out, notes, err := run(t, kubeconfig, "testdata/azure.json"); err != nil || !strings.Contains(out, "shop-west imported: gke-on-azure in westeurope, Kubernetes 1.31.10-gke.100") {
		t.Errorf("one that is degraded: %v\n%s%s", err, out, notes)
	}
}

// TestFilesThatAreNoExport are refused whole, with where they are wrong.
func TestFilesThatAreNoExport(t *testing.T) {
	for reason, c := range map[string]struct {
		content string
		says    []string
	}{
		"nothing":              {"", []string{"no cluster in it", "gcloud"}},
		"a comment":            {"# nothing\n---\n", []string{"no cluster in it"}},
		"no YAML":              {"name: [", []string{"document 1", "neither YAML nor JSON"}},
		"words":                {"just words\n", []string{"document 1", "it is no cluster"}},
		"a list of words":      {"[a, b]", []string{"no list of clusters"}},
		"another resource":     {"name: projects/1/locations/eu/clusters/x\n", []string{"name:", "clusters/x", "awsClusters"}},
		"a kubeconfig":         {"apiVersion: v1\nkind: Config\n", []string{"name:", `""`}},
		"a wrong type":         {"name: projects/1/locations/eu/awsClusters/x\nawsRegion: [eu]\n", []string{"awsRegion"}},
		"one of a list":        {"- name: projects/1/locations/eu/awsClusters/x\n- name: other\n", []string{"document 1[1]", `"other"`}},
		"pools alone":          {"name: projects/1/locations/eu/awsClusters/x/awsNodePools/p\n", []string{"projects/1/locations/eu/awsClusters/x", "give its file too"}},
		"two of the same name": {"- name: projects/1/locations/eu/awsClusters/x\n- name: projects/1/locations/us/awsClusters/x\n", []string{"same name", "--name"}},
	} {
		t.Run(reason, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "export")
			if err := os.WriteFile(file, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, _, err := run(t, "", file, "--dry-run")
			if err == nil {
				t.Fatal("it is taken")
			}
			for _, word := range c.says {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("it does not say %q:\n%v", word, err)
				}
			}
		})
	}
}

func FuzzExport(f *testing.F) {
	for _, file := range everything {
		raw, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		var e export
		if e.read("file", content) != nil {
			return
		}
		clusters, err := e.whole()
		if err != nil {
			return
		}
		for _, c := range clusters {
			if c.name == "" || c.resource == "" {
				t.Errorf("a cluster without a name: %+v", c)
			}
			c.rebuild(c.name, "class")
		}
	})
}
