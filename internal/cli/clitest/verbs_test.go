package clitest_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
)

func TestGet(t *testing.T) {
	f := newFleet(t)
	cases := []struct {
		reason string
		args   string
		want   said
	}{
		{
			reason: "all clusters", args: "get clusters",
			want: said{Out: "" +
				"NAME      READY     CONNECTED          KUBERNETES   PACKAGES   AGE\n" +
				"dev       False     True               v1.36.3      0/1        15m\n" +
				"edge      False     False              -            0/0        15m\n" +
				"prod-eu   True      True               v1.36.3      1/1        15m\n" +
				"prod-us   Unknown   Unknown (4m ago)   v1.36.3      1/1        15m\n"},
		},
		{
			reason: "by selector, for a script", args: "get mc -l env=prod -o name",
			want: said{Out: "membercluster.umbel.dev/prod-eu\nmembercluster.umbel.dev/prod-us\n"},
		},
		{
			reason: "what exists is shown beside what does not", args: "get clusters edge nope --no-headers",
			want: said{
				Out:  "edge   False   False   -   0/0   15m\n",
				Err:  "error: there is no cluster \"nope\": `umbel get clusters` lists them\n",
				Code: 1,
			},
		},
		{
			reason: "packages of every namespace", args: "get packages -A",
			want: said{Out: "" +
				"NAMESPACE   NAME     READY   CLUSTERS   REVISION       AGE\n" +
				"default     shop     False   1/3        4f0c2a9e7b1d   15m\n" +
				"team-a      broken   False   -          -              15m\n"},
		},
		{
			reason: "placements", args: "get pl",
			want: said{Out: "NAME    READY   SELECTED   AGE\nshops   True    3          15m\n"},
		},
		{
			reason: "releases", args: "get releases --no-headers",
			want: said{Out: "shop-1a2b3c4d   shop   4f0c2a9e7b1d   3-4   2   15m\n"},
		},
		{
			reason: "nothing there is no error", args: "get packages -n elsewhere",
			want: said{Err: "No resources found in elsewhere namespace.\n"},
		},
		{
			reason: "nothing there, as a list", args: "get packages -n elsewhere -o yaml",
			want: said{Out: "apiVersion: v1\nitems: []\nkind: List\nmetadata:\n  resourceVersion: \"\"\n"},
		},
		{
			reason: "a name that does not exist", args: "get package shop -n team-a",
			want: said{Err: "error: there is no package \"shop\" in namespace \"team-a\": `umbel get packages -A` lists all\n", Code: 1},
		},
		{
			reason: "a kind that does not exist", args: "get pakages",
			want: said{Err: "error: there is no kind \"pakages\": the kinds are clusters (mc), packages (pkg), placements (pl), releases (rel)\n", Code: 2},
		},
		{
			reason: "a format that does not exist", args: "get clusters -o xml",
			want: said{Err: "error: invalid argument \"xml\" for \"-o, --output\" flag: \"xml\" is not one of wide, json, yaml, name: `umbel get --help` lists the flags\n", Code: 2},
		},
		{
			reason: "a selector that cannot be read", args: "get clusters -l env=(prod)",
			want: said{Err: "error: the selector \"env=(prod)\" cannot be read: unable to parse requirement: found '(', expected: identifier\n", Code: 2},
		},
		{
			reason: "names and a selector", args: "get clusters dev -l env=dev",
			want: said{Err: "error: give names or a selector, not both\n", Code: 2},
		},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			if diff := cmp.Diff(c.want, f.run(t.Context(), strings.Fields(c.args)...)); diff != "" {
				t.Errorf("umbel %s (-want +got):\n%s", c.args, diff)
			}
		})
	}
}

func TestGetJSON(t *testing.T) {
	f := newFleet(t)
	var one v1alpha1.MemberCluster
	read(t, f.run(t.Context(), "get", "cluster", "prod-eu", "-o", "json"), &one)
	if one.Kind != "MemberCluster" || one.APIVersion != "umbel.dev/v1alpha1" || one.ManagedFields != nil || len(one.Status.Packages) != 1 {
		t.Errorf("got %+v, want the MemberCluster as the API has it, without managed fields", one)
	}
	var several struct {
		Kind  string
		Items []v1alpha1.MemberCluster
	}
	read(t, f.run(t.Context(), "get", "clusters", "dev", "prod-eu", "-o", "json"), &several)
	if several.Kind != "List" || len(several.Items) != 2 || several.Items[0].Name != "dev" || several.Items[0].Kind != "MemberCluster" {
		t.Errorf("got %+v, want a List of the two in the order asked for", several)
	}
}

func TestStatusesAreAsOldAsTheHub(t *testing.T) {
	f := newFleet(t)
	f.heard(t, 3*time.Minute)
	want := said{
		Out: "" +
			"dev       Unknown   Unknown   v1.36.3   0/1   15m\n" +
			"edge      Unknown   Unknown   -         0/0   15m\n" +
			"prod-eu   Unknown   Unknown   v1.36.3   1/1   15m\n" +
			"prod-us   Unknown   Unknown   v1.36.3   1/1   15m\n",
		Err: "the hub has not been heard of for 3m; statuses are as old as that: is it running? `umbel up` starts it\n",
	}
	if diff := cmp.Diff(want, f.run(t.Context(), "get", "clusters", "--no-headers")); diff != "" {
		t.Errorf("with a silent hub (-want +got):\n%s", diff)
	}
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.HubLease}}
	if err := f.api.Delete(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	want.Err = "the hub has never been heard of; statuses may be of any age: is it running? `umbel up` starts it\n"
	if diff := cmp.Diff(want, f.run(t.Context(), "get", "clusters", "--no-headers")); diff != "" {
		t.Errorf("without a Lease (-want +got):\n%s", diff)
	}
}

func TestWatch(t *testing.T) {
	f := newFleet(t)
	ctx, cancel := context.WithCancel(t.Context())
	lines, done := f.follow(ctx, "get", "clusters", "-w")
	expect := func(reason string, want ...string) {
		t.Helper()
		for _, line := range want {
			if got := <-lines; strings.Join(strings.Fields(got), " ") != line {
				t.Fatalf("%s: got line %q, want %q", reason, got, line)
			}
		}
	}
	expect("the list comes first",
		"NAME READY CONNECTED KUBERNETES PACKAGES AGE", "dev False True v1.36.3 0/1 15m", "edge False False - 0/0 15m",
		"prod-eu True True v1.36.3 1/1 15m", "prod-us Unknown Unknown (4m ago) v1.36.3 1/1 15m")

	edge := &v1alpha1.MemberCluster{}
	if err := f.api.Get(t.Context(), kube.ObjectKey{Name: "edge"}, edge); err != nil {
		t.Fatal(err)
	}
	edge.Status.KubernetesVersion = "v1.35.4"
	if err := f.api.Status().Update(t.Context(), edge); err != nil {
		t.Fatal(err)
	}
	expect("a change is a row", "edge False False v1.35.4 0/0 15m")

	f.heard(t, time.Minute)
	expect("a hub that falls silent takes every status back",
		"! the hub has not been heard of for 60s; statuses are as old as that: is it running? `umbel up` starts it",
		"dev Unknown Unknown v1.36.3 0/1 15m", "edge Unknown Unknown v1.35.4 0/0 15m",
		"prod-eu Unknown Unknown v1.36.3 1/1 15m", "prod-us Unknown Unknown v1.36.3 1/1 15m")
	f.heard(t, 0)
	expect("and gives them back when it returns",
		"! the hub is heard of again", "dev False True v1.36.3 0/1 15m", "edge False False v1.35.4 0/0 15m",
		"prod-eu True True v1.36.3 1/1 15m", "prod-us Unknown Unknown (4m ago) v1.36.3 1/1 15m")

	if err := f.api.Delete(t.Context(), edge); err != nil {
		t.Fatal(err)
	}
	expect("what is deleted is said to be gone", `! cluster "edge" is gone`)
	cancel()
	if err := <-done; err != nil {
		t.Errorf("an interrupt ended the watch with %v, want no error", err)
	}
}

func TestDescribe(t *testing.T) {
	f := newFleet(t)
	shop := &v1alpha1.Package{}
	if err := f.api.Get(t.Context(), kube.ObjectKey{Namespace: "default", Name: "shop"}, shop); err != nil {
		t.Fatal(err)
	}
	f.create(t, &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: "default", Name: "shop.1"},
		InvolvedObject: corev1.ObjectReference{Kind: "Package", Namespace: "default", Name: "shop", UID: shop.UID},
		Type:           "Normal", Reason: "Released", Message: "Released shop-1a2b3c4d", LastTimestamp: metav1.NewTime(f.now.Add(-time.Minute)), Count: 2,
	})
	cases := []struct {
		reason string
		args   string
		want   []string // lines, with one blank where there are more
	}{
		{
			reason: "a package", args: "describe package shop",
			want: []string{
				"Git: https://git.example.com/fleet.git", "Clusters: 1 of 3 ready, 1 failing, 1 unknown", "Delivered False ClustersFailing",
				"dev Failing shop-1a2b3c4d 4f0c2a9e7b1d 3/4 2/4 0", "prod-eu Ready shop-1a2b3c4d 4f0c2a9e7b1d 4/4 4/4 2", "prod-us Unknown shop-1a2b3c4d",
				"dev apps/web.yaml Deployment.apps shop/web spec.replicas: Invalid value", "prod-eu Role shop/pod-reader: Deleted, put back",
				"60s Normal Released Released shop-1a2b3c4d (2 times)",
			},
		},
		{
			reason: "a cluster", args: "describe cluster prod-us",
			want: []string{"Labels: env=prod,region=us", "Connected: Unknown (4m ago)", "Synced Unknown (was True)", "default/shop Unknown"},
		},
		{
			reason: "a placement", args: "describe pl/shops",
			want: []string{"Selects: env in (dev,prod)", "Packages: shop", "prod-eu True True env=prod,region=eu"},
		},
		{
			reason: "a release", args: "describe release shop-1a2b3c4d",
			want: []string{"Current: yes", "prod 4 2Ki sha256:2c26b46b68ff", "dev prod-eu prod-us"},
		},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			got := f.run(t.Context(), strings.Fields(c.args)...)
			if got.Code != 0 || got.Err != "" {
				t.Fatalf("got code %d and %q", got.Code, got.Err)
			}
			text := strings.Join(strings.Fields(got.Out), " ")
			for _, want := range c.want {
				if !strings.Contains(text, want) {
					t.Errorf("got no %q in:\n%s", want, got.Out)
				}
			}
		})
	}
	if got := f.run(t.Context(), "describe", "package", "nope"); got.Code != 1 || !strings.Contains(got.Err, `there is no package "nope" in namespace "default"`) {
		t.Errorf("describing what does not exist: got %+v", got)
	}
	if got := f.run(t.Context(), "describe", "package"); got.Code != 2 {
		t.Errorf("describing nothing: got %+v, want code 2", got)
	}
}

func TestDescribeJSON(t *testing.T) {
	f := newFleet(t)
	var got struct {
		Package  v1alpha1.Package
		Clusters []struct{ Cluster, State string }
		Hub      struct{ Alive bool }
	}
	read(t, f.run(t.Context(), "describe", "package", "shop", "-o", "json"), &got)
	states := map[string]string{}
	for _, c := range got.Clusters {
		states[c.Cluster] = c.State
	}
	if diff := cmp.Diff(map[string]string{"dev": "Failing", "prod-eu": "Ready", "prod-us": "Unknown"}, states); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
	if got.Package.Name != "shop" || got.Package.Kind != "Package" || !got.Hub.Alive {
		t.Errorf("got %+v, want the package and a hub that is alive", got)
	}
}

func TestLabel(t *testing.T) {
	f := newFleet(t)
	steps := []struct {
		reason string
		args   string
		want   said
		labels map[string]string
	}{
		{
			reason: "a label that has another value stays, and so do the others", args: "label cluster dev env=prod region=eu",
			want:   said{Err: "error: cluster \"dev\" has the label env=dev already: add --overwrite to make it prod\n", Code: 1},
			labels: map[string]string{"env": "dev"},
		},
		{
			reason: "with --overwrite it changes", args: "label cluster dev env=prod region=eu --overwrite",
			want: said{Out: "cluster/dev labeled\n"}, labels: map[string]string{"env": "prod", "region": "eu"},
		},
		{
			reason: "the same again changes nothing", args: "label mc dev env=prod",
			want: said{Out: "cluster/dev not labeled\n"}, labels: map[string]string{"env": "prod", "region": "eu"},
		},
		{
			reason: "a label is taken away", args: "label cluster/dev region-",
			want: said{Out: "cluster/dev unlabeled\n"}, labels: map[string]string{"env": "prod"},
		},
		{
			reason: "one of two names does not exist", args: "label clusters dev nope tier=1",
			want:   said{Out: "cluster/dev labeled\n", Err: "error: there is no cluster \"nope\": `umbel get clusters` lists them\n", Code: 1},
			labels: map[string]string{"env": "prod", "tier": "1"},
		},
		{
			reason: "a value that no label can have", args: "label cluster dev tier=a/b",
			want: said{
				Err: "error: label \"tier\": value \"a/b\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', " +
					"and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is " +
					"'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')\n",
				Code: 2,
			},
			labels: map[string]string{"env": "prod", "tier": "1"},
		},
		{
			reason: "no label", args: "label cluster dev",
			want:   said{Err: "error: say which labels: KEY=VALUE sets one, KEY- removes one\n", Code: 2},
			labels: map[string]string{"env": "prod", "tier": "1"},
		},
		{
			reason: "a key twice", args: "label cluster dev tier=2 tier-",
			want:   said{Err: "error: label \"tier\" is given twice\n", Code: 2},
			labels: map[string]string{"env": "prod", "tier": "1"},
		},
	}
	for _, step := range steps {
		t.Run(step.reason, func(t *testing.T) {
			if diff := cmp.Diff(step.want, f.run(t.Context(), strings.Fields(step.args)...)); diff != "" {
				t.Errorf("umbel %s (-want +got):\n%s", step.args, diff)
			}
			var dev v1alpha1.MemberCluster
			if err := f.api.Get(t.Context(), kube.ObjectKey{Name: "dev"}, &dev); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(step.labels, dev.Labels); diff != "" {
				t.Errorf("labels (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRefresh(t *testing.T) {
	f := newFleet(t)
	steps := []struct {
		reason    string
		args      string
		want      said
		refreshed []string
	}{
		{reason: "by name", args: "refresh package shop", want: said{Out: "package/shop refreshed\n"}, refreshed: []string{"shop"}},
		{reason: "all of a namespace", args: "refresh package --all -n team-a", want: said{Out: "package/broken refreshed\n"}, refreshed: []string{"broken"}},
		{
			reason: "a hook names its repository: every namespace, quietly, with or without .git", args: "refresh package --git https://git.example.com/fleet/ -q",
			refreshed: []string{"broken", "shop"},
		},
		{
			reason: "a repository that nobody uses is no error", args: "refresh --git https://git.example.com/other.git",
			want: said{Err: "No package comes from https://git.example.com/other.git: `umbel get packages -A -o yaml` shows their sources.\n"},
		},
		{
			reason: "a name that does not exist", args: "refresh package nope",
			want: said{Err: "error: there is no package \"nope\" in namespace \"default\": `umbel get packages -A` lists all\n", Code: 1},
		},
		{
			reason: "nothing named", args: "refresh package",
			want: said{Err: "error: say which packages: NAME..., --all or --git URL, one of them\n", Code: 2},
		},
		{
			reason: "a kind without a source", args: "refresh cluster dev",
			want: said{Err: "error: a cluster has no source: only packages can be refreshed\n", Code: 2},
		},
	}
	for _, step := range steps {
		t.Run(step.reason, func(t *testing.T) {
			f.now = f.now.Add(time.Millisecond) // any new value is a request
			if diff := cmp.Diff(step.want, f.run(t.Context(), strings.Fields(step.args)...)); diff != "" {
				t.Errorf("umbel %s (-want +got):\n%s", step.args, diff)
			}
			var packages v1alpha1.PackageList
			if err := f.api.List(t.Context(), &packages); err != nil {
				t.Fatal(err)
			}
			var refreshed []string
			for _, pkg := range packages.Items {
				if pkg.Annotations[v1alpha1.RefreshAnnotation] == f.now.UTC().Format(time.RFC3339Nano) {
					refreshed = append(refreshed, pkg.Name)
				}
			}
			slices.Sort(refreshed)
			if diff := cmp.Diff(step.refreshed, refreshed); diff != "" {
				t.Errorf("refreshed packages (-want +got):\n%s", diff)
			}
		})
	}
}

func TestKubectl(t *testing.T) {
	f := newFleet(t)
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	t.Setenv("TMPDIR", t.TempDir())
	expect := func(reason string, want said, args ...string) {
		t.Helper()
		if diff := cmp.Diff(want, f.run(t.Context(), append([]string{"kubectl"}, args...)...)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", reason, diff)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	expect("no kubectl anywhere", said{
		Err:  "error: there is no kubectl: neither " + filepath.Join(filepath.Dir(self), "umbel-kube") + " nor kubectl in PATH; `make build` makes the first\n",
		Code: 1,
	}, "prod-eu", "get", "pods")
	script := "#!/bin/sh\nread -r line\necho \"$@\" / \"$line\"\nwhile read -r l; do case \"$l\" in server:*|namespace:*) echo \"$l\";; esac; done < \"$KUBECONFIG\"\nexit 7\n"
	if err := os.WriteFile(filepath.Join(bin, "kubectl"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	expect("no such cluster", said{Err: "error: there is no cluster \"nope\": `umbel get clusters` lists them\n", Code: 1}, "nope", "get", "pods")
	expect("a cluster that does not answer", said{
		Err: "error: cluster \"prod-us\" is not connected: the agent has not answered a probe since 11:56 (ProbeTimeout); it was last seen 4m ago; " +
			"`umbel describe cluster prod-us` says what to do\n",
		Code: 1,
	}, "prod-us", "--", "get", "pods")
	expect("a hub that has not said where it is", said{
		Err: "error: the hub has not said yet where it is reached (ConfigMap umbel-system/hub-info): it has not finished starting\n", Code: 1,
	}, "prod-eu", "get", "pods")
	f.create(t, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: "hub-info"},
		Data:       map[string]string{"address": "127.0.0.1:7443", "ca": "PEM"},
	})
	ran := said{Out: "delete role pod-reader -n shop / some input\nserver: https://127.0.0.1:7443/clusters/prod-eu\n", Code: 7}
	expect("arguments, input and exit code pass through", ran, "prod-eu", "--", "delete", "role", "pod-reader", "-n", "shop")
	expect("without -- as well", ran, "prod-eu", "delete", "role", "pod-reader", "-n", "shop")
	expect("no cluster", said{
		Err: "error: name the cluster that kubectl is to work on: `umbel kubectl --help` shows examples\n", Code: 2,
	})
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("kubectl left %v behind", left)
	}
}

func TestCompletion(t *testing.T) {
	f := newFleet(t)
	cases := []struct {
		args string
		want []string
	}{
		{args: "get", want: []string{"clusters", "packages", "placements", "releases"}},
		{args: "get clusters dev", want: []string{"edge", "prod-eu", "prod-us"}},
		{args: "describe package -n team-a", want: []string{"broken"}},
		{args: "kubectl", want: []string{"dev", "edge", "prod-eu", "prod-us"}},
		{args: "refresh package", want: []string{"shop"}},
	}
	for _, c := range cases {
		t.Run(c.args, func(t *testing.T) {
			got := f.run(t.Context(), append(append([]string{"__complete"}, strings.Fields(c.args)...), "")...)
			var words []string
			for _, line := range strings.Split(got.Out, "\n") {
				if line != "" && !strings.HasPrefix(line, ":") {
					words = append(words, line)
				}
			}
			if diff := cmp.Diff(c.want, words); diff != "" {
				t.Errorf("completions (-want +got):\n%s\n%s", diff, got.Err)
			}
		})
	}
}
