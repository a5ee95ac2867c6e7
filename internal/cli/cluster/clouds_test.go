package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/lifecycle/capi"
	"umbel.dev/umbel/internal/programtest"
)

// exemplar is the class of a cloud's runbook, what its Secret holds, and where the pool is that the test asks for.
type exemplar struct {
	dir, secret, zone string
	data              map[string]string
	// kinds are those of its provider that `umbel cluster` has to do with, by whether they are in namespaces.
	kinds map[string]bool
}

var exemplars = map[string]exemplar{
	"AzureCluster": {"azure", "azure", "", map[string]string{"clientSecret": "swordfish"}, map[string]bool{"AzureClusterIdentity": true, "AzureClusterTemplate": true, "AzureMachineTemplate": true}},
	"AWSCluster":   {"aws", "aws", "us-east-1c", map[string]string{"AccessKeyID": "AKIA0", "SecretAccessKey": "swordfish\n"}, map[string]bool{"AWSClusterStaticIdentity": false, "AWSClusterTemplate": true, "AWSMachineTemplate": true}},
	"VSphereCluster": {"vsphere", "vcenter", "west", map[string]string{"username": "somebody", "password": "swordfish"}, map[string]bool{
		"VSphereClusterIdentity": false, "VSphereClusterTemplate": true, "VSphereMachineTemplate": true, "VSphereFailureDomain": false, "VSphereDeploymentZone": false,
	}},
}

// newCloudDesk is a hub with the classes of examples/, the kinds that these are of, and no Secret yet.
func newCloudDesk(t *testing.T) *desk {
	t.Helper()
	d := newDesk(t)
	root, err := programtest.Root()
	if err != nil {
		t.Fatal(err)
	}
	d.namespace(v1alpha1.SystemNamespace)
	for _, e := range exemplars {
		for kind, namespaced := range e.kinds {
			d.kindOfProvider(kind, namespaced)
		}
	}
	for _, e := range exemplars {
		raw, err := os.ReadFile(filepath.Join(root, "examples", e.dir, "class.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		objects, err := capi.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range objects {
			d.eventually(o.GetKind()+" is there", func(ctx context.Context) error { return d.hub.Create(ctx, o) })
		}
	}
	return d
}

// kindOfProvider has the API take objects of a kind of Cluster API's providers, whatever they say.
func (d *desk) kindOfProvider(kind string, namespaced bool) {
	d.Helper()
	scope, plural := "Cluster", strings.ToLower(kind)+"s"
	if namespaced {
		scope = "Namespaced"
	}
	if stem, is := strings.CutSuffix(plural, "ys"); is {
		plural = stem + "ies"
	}
	version := func(name string, storage bool) any {
		return map[string]any{"name": name, "served": true, "storage": storage, "schema": map[string]any{
			"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true},
		}}
	}
	const group = "infrastructure.cluster.x-k8s.io"
	crd := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": plural + "." + group},
		"spec": map[string]any{
			"group": group, "scope": scope, "names": map[string]any{"kind": kind, "listKind": kind + "List", "plural": plural, "singular": strings.ToLower(kind)},
			"versions": []any{version("v1beta1", false), version("v1beta2", true)},
		},
	}}
	if err := d.hub.Create(d.Context(), crd); err != nil && !apierrors.IsAlreadyExists(err) {
		d.Fatal(err)
	}
}

// secrets brings the credentials of all clouds.
func (d *desk) secrets() {
	d.Helper()
	for _, e := range exemplars {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: e.secret}, StringData: e.data}
		if err := d.hub.Create(d.Context(), secret); err != nil {
			d.Fatal(err)
		}
	}
}

// standIn has a program stand in for that of a cloud, beside umbel, which is this test: it keeps what it is asked, and answers. Its own tests have
// what comes as near to the cloud as can be had.
func (d *desk) standIn(c cloud, answer string) (heard func() question) {
	d.Helper()
	programs, err := client.Programs()
	if err != nil {
		d.Fatal(err)
	}
	path, kept := filepath.Join(programs, c.program), filepath.Join(d.TempDir(), "heard")
	if err := os.WriteFile(path, []byte("#!/bin/sh\ncat > "+kept+"\n"+answer+"\n"), 0o700); err != nil {
		d.Fatal(err)
	}
	d.Cleanup(func() { _ = os.Remove(path) }) // the next one may be in its place
	return func() question {
		raw, err := os.ReadFile(kept)
		if err != nil {
			return nil
		}
		_ = os.Remove(kept)
		var q question
		if err := json.Unmarshal(raw, &q); err != nil {
			d.Fatal(err)
		}
		return q
	}
}

// TestClouds has stand-ins for the programs that ask them.
func TestClouds(t *testing.T) {
	d := newCloudDesk(t)
	d.asksWhatItsClassSays()
	d.knowsBefore()
	d.findsWhatIsLeft()
}

// asksWhatItsClassSays takes the classes of the runbooks, examples/: what is asked is what those say, with the secret that they name. The programs
// read the same files of testdata in their own tests. Afterwards the secrets are there.
func (d *desk) asksWhatItsClassSays() {
	t := d.T
	t.Helper()
	provider := &v1alpha1.Provider{ObjectMeta: metav1.ObjectMeta{Name: "aws"}, Spec: v1alpha1.ProviderSpec{
		Args: []string{"--service-endpoints=eu-west-1:ec2=http://127.0.0.1:1;us-east-1:ec2=http://127.0.0.1:5000,sts=http://127.0.0.1:5001"},
	}}
	if err := d.hub.Create(t.Context(), provider); err != nil {
		t.Fatal(err)
	}
	ask := func(kind string) (question, []int64, error) {
		e := exemplars[kind]
		w := wish{name: "far", namespace: "default", class: e.dir, workers: 1, planes: 1, pools: []machinePool{{Name: "more", Replicas: 2, Zone: e.zone}, {Name: "none"}}}
		s, err := survey(t.Context(), d.hub, w)
		if err != nil {
			t.Fatal(err)
		}
		o, err := preflight(w, s)
		if err != nil {
			t.Fatal(err)
		}
		return o.growth(s.classes).question(t.Context(), d.hub, clouds[kind])
	}
	for kind := range clouds {
		if _, _, err := ask(kind); err == nil || !strings.Contains(err.Error(), "reading Secret umbel-system/") {
			t.Errorf("%s without the Secret: %v", kind, err)
		}
	}
	_, said, err := d.umbel("create", "far", "--class", "azure", "--workers", "2", "--dry-run")
	if err != nil || !strings.Contains(said, "Azure was not asked whether it would take the machines: reading Secret umbel-system/azure") {
		t.Errorf("what cannot be found out keeps somebody from going on, or is not said: %v\n%s", err, said)
	}
	d.secrets()
	for kind, c := range clouds {
		q, numbers, err := ask(kind)
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		if diff := cmp.Diff([]int64{1, 2}, numbers); diff != "" {
			t.Errorf("%s: of machines (-want +got):\n%s", kind, diff)
		}
		raw, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join("testdata", "asked-"+kind+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var got, wanted any
		if err := json.Unmarshal(raw, &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(want, &wanted); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(wanted, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", kind, diff)
		}
		_, said, err := d.umbel("create", "far", "--class", exemplars[kind].dir, "--workers", "2", "--dry-run")
		if err != nil || !strings.Contains(said, "there is no "+c.program+" beside umbel: `make "+c.target+"` builds it") {
			t.Errorf("%s without the program: %v\n%s", kind, err, said)
		}
		if strings.Contains(said, "swordfish") {
			t.Errorf("%s: it says the secret: %s", kind, said)
		}
	}
}

// knowsBefore a cluster is made, or grows: what the cloud would refuse, and about what its machines cost.
func (d *desk) knowsBefore() {
	t := d.T
	t.Helper()
	c := clouds["VSphereCluster"]
	create := []string{"create", "far", "--class", "vsphere", "--workers", "1", "--pool", "more=2,zone=west", "--labels", "env=far", "--dry-run"}
	sized := `echo '{"sizes":[{"cores":2,"memoryMiB":4096},{"cores":2,"memoryMiB":4096}],"unknown":["how warm it is"]}'`
	d.standIn(c, sized)
	_, said, err := d.umbel(create...)
	if err != nil || !strings.Contains(said, "the hub has no price for such a cluster") || !strings.Contains(said, "vSphere did not say all: how warm it is") {
		t.Errorf("without prices: %v\n%s", err, said)
	}
	table := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: "umbel-prices"}, Data: map[string]string{
		"prices.yaml": "currency: EUR\nprices: [{clusterSelector: {matchLabels: {env: far}}, cpuHour: 0.01, memoryGiBHour: 0.001}]\n",
	}}
	if err := d.hub.Create(t.Context(), table); err != nil {
		t.Fatal(err)
	}
	const cost = "3 machines with 6 cores and 12.0 GiB of memory in all cost about 52.56 EUR a month, 0.0720 an hour: an estimate by the hub's prices, without disks" // 6 x 0.01 + 12 x 0.001
	if out, said, err := d.umbel(create...); err != nil || !strings.Contains(said, cost) || !strings.Contains(out, "kind: Cluster") || strings.Contains(out, "EUR") {
		t.Errorf("with prices: %v\n%s%s", err, out, said)
	}
	if _, said, err := d.umbel("create", "near", "--class", "vsphere", "--dry-run"); err != nil || !strings.Contains(said, "no price for such a cluster") {
		t.Errorf("a cluster that no price is for: %v\n%s", err, said)
	}
	d.standIn(c, `echo '{"sizes":[{"cores":2},{"cores":2}]}'`)
	if _, said, err := d.umbel(create...); err != nil || !strings.Contains(said, "it is not known how large they are") || strings.Contains(said, "EUR") {
		t.Errorf("machines of unknown size: %v\n%s", err, said)
	}

	heard := d.standIn(c, `echo '{"problems":["no room","no rights"]}'`)
	if _, _, err := d.umbel(create...); err == nil || !strings.Contains(err.Error(), `cluster "far" cannot be made: no room; and no rights`) {
		t.Errorf("what is refused: %v", err)
	}
	o := object("Cluster", "default", "there", map[string]any{"spec": map[string]any{"topology": map[string]any{
		"classRef": map[string]any{"name": "vsphere"}, "version": "v1.36.4",
		"workers": map[string]any{"machineDeployments": []any{map[string]any{"class": "worker", "name": "workers", "replicas": int64(1), "failureDomain": "east"}}},
	}}})
	there := d.create(&o)
	for _, args := range [][]string{{"scale", "there", "--workers", "3"}, {"pool", "add", "there", "big", "--workers", "2"}} {
		heard()
		if _, _, err := d.umbel(args...); err == nil || !strings.Contains(err.Error(), `cluster "there" gets no more machines: no room; and no rights`) {
			t.Errorf("%v: what is refused: %v", args, err)
		}
		machines, _ := heard()["machines"].([]any)
		if len(machines) != 1 || machines[0].(map[string]any)["number"] != 2.0 {
			t.Errorf("%v: it was asked for %v", args, machines)
		}
	}
	if err := d.hub.Get(t.Context(), kube.ObjectKeyFromObject(there), there); err != nil || len(poolsOf(there)) != 1 || poolsOf(there)[0].Replicas != 1 {
		t.Errorf("what was refused was done: %v (%v)", poolsOf(there), err)
	}
	var errs bytes.Buffer
	f := d.factory(output.Streams{Err: &errs})
	if err := askForMore(t.Context(), f, d.hub, there, machinePool{Class: "worker", Replicas: -1}); err != nil || heard() != nil || errs.Len() > 0 {
		t.Errorf("fewer machines were asked about: %v %s", err, &errs)
	}
}

// findsWhatIsLeft by what the cluster itself says, when its class may be gone.
func (d *desk) findsWhatIsLeft() {
	t := d.T
	t.Helper()
	heard := d.standIn(clouds["AWSCluster"], `test "$1" = left && echo '{"left":["arn:aws:ec2:us-east-1:1:vpc/vpc-1"]}'`)
	aws := unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"region": "us-east-1", "identityRef": map[string]any{"kind": "AWSClusterStaticIdentity", "name": "aws"}}}}
	aws.SetAPIVersion("infrastructure.cluster.x-k8s.io/v1beta2")
	aws.SetKind("AWSCluster")
	vsphere := unstructured.Unstructured{Object: map[string]any{"kind": "VSphereCluster"}}
	cloud, left, err := leftInClouds(t.Context(), d.hub, "far", []unstructured.Unstructured{vsphere, aws})
	if err != nil || cloud != "AWS" || cmp.Diff([]string{"arn:aws:ec2:us-east-1:1:vpc/vpc-1"}, left) != "" {
		t.Errorf("it has %v of %s left (%v)", left, cloud, err)
	}
	if q := heard(); q["cluster"] != "far" || q["secret"] != "swordfish" || q["region"] != "us-east-1" {
		t.Errorf("it was asked %v", q)
	}
	if cloud, left, err := leftInClouds(t.Context(), d.hub, "far", []unstructured.Unstructured{vsphere}); err != nil || cloud != "" || left != nil {
		t.Errorf("where nothing is marked: %v of %q (%v)", left, cloud, err)
	}
	unstructured.RemoveNestedField(aws.Object, "spec", "identityRef")
	if _, _, err := leftInClouds(t.Context(), d.hub, "far", []unstructured.Unstructured{aws}); err == nil || !strings.Contains(err.Error(), "that of its provider, whose credentials are not on the hub") {
		t.Errorf("with the credentials of its provider: %v", err)
	}
}

func TestTheAnswerOfACloud(t *testing.T) {
	c := clouds["AWSCluster"]
	for _, one := range []struct {
		reason, program string
		want            []string
		err             string
	}{
		{"nothing is in the way", `cat > "$0.heard"; echo {}`, nil, ""},
		{"problems", `cat > /dev/null; echo '{"problems":["no room","no rights"]}'`, []string{"no room", "no rights"}, ""},
		{"what it could not find out is no answer", `echo "AWS is away" >&2; exit 1`, nil, "umbel-aws: AWS is away"},
		{"neither is what is no JSON", `echo hello`, nil, "reading the answer of umbel-aws"},
	} {
		t.Run(one.reason, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), c.program)
			if err := os.WriteFile(path, []byte("#!/bin/sh\n"+one.program+"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			got, err := c.askOf(t.Context(), path, "check", question{"secret": "swordfish"})
			if one.err == "" && err != nil || one.err != "" && (err == nil || !strings.Contains(err.Error(), one.err)) {
				t.Fatalf("got error %v, want one that says %q", err, one.err)
			}
			if diff := cmp.Diff(one.want, got.Problems); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if heard, err := os.ReadFile(path + ".heard"); err == nil && string(heard) != `{"secret":"swordfish"}` {
				t.Errorf("it was asked %s", heard)
			}
		})
	}
}

func TestEndpointsIn(t *testing.T) {
	for reason, c := range map[string]struct {
		args []string
		want map[string]string
	}{
		"none":                {[]string{"--v=2"}, map[string]string{}},
		"as one argument":     {[]string{"--service-endpoints=here:ec2=http://a:1,sts=http://b"}, map[string]string{"ec2": "http://a:1", "sts": "http://b"}},
		"as two":              {[]string{"--service-endpoints", "here:ec2=http://a:1"}, map[string]string{"ec2": "http://a:1"}},
		"of another region":   {[]string{"--service-endpoints=there:ec2=http://a:1"}, map[string]string{}},
		"of several":          {[]string{"--service-endpoints=there:ec2=http://a:1;here:ec2=http://c"}, map[string]string{"ec2": "http://c"}},
		"a flag without more": {[]string{"--service-endpoints"}, map[string]string{}},
	} {
		if diff := cmp.Diff(c.want, endpointsIn(c.args, "here")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", reason, diff)
		}
	}
}

func TestNetworksOfAZone(t *testing.T) {
	for _, c := range []struct{ first, second, want []string }{
		{[]string{"a", "b"}, nil, []string{"a", "b"}}, {[]string{"a", "b"}, []string{"x"}, []string{"x", "b"}}, {[]string{"a"}, []string{"x", "y"}, []string{"x", "y"}}, {nil, []string{"x"}, []string{"x"}},
	} {
		if diff := cmp.Diff(c.want, instead(c.first, c.second)); diff != "" {
			t.Errorf("%v, and %v of the zone (-want +got):\n%s", c.first, c.second, diff)
		}
	}
}
