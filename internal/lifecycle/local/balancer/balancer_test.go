package balancer

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestPoolsThatAreAskedFor(t *testing.T) {
	for _, c := range []struct {
		reason, asked, want string
	}{
		{"sixteen addresses", "10.203.129.16/28", ""},
		{"one address", "10.203.129.7/32", ""},
		{"any sixteen", "0.0.0.0/28", ""},
		{"an address in the middle", "10.203.129.3/28", "no IPv4 network"},
		{"IPv6, which the bridge has not", "fd00::/124", "no IPv4 network"},
		{"more than a cluster has to itself", "10.203.128.0/20", "too many"},
		{"any of everything", "0.0.0.0/0", "too many"},
	} {
		err := Validate(netip.MustParsePrefix(c.asked))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.reason, err, c.want)
		}
	}
}

func TestPoolsAreWhereNoMachineIs(t *testing.T) {
	network := netip.MustParsePrefix("10.203.0.0/16")
	for _, c := range []struct {
		reason, asked string
		index         int
		want, problem string
	}{
		{"none", "", 3, "invalid Prefix", ""},
		{"what is asked for", "10.203.200.16/28", 3, "10.203.200.16/28", ""},
		{"any, of the first cluster", "0.0.0.0/28", 1, "10.203.129.0/28", ""},
		{"any, of the last cluster", "0.0.0.0/24", 60, "10.203.188.0/24", ""},
		{"among the machines", "10.203.3.0/28", 3, "10.203.3.0/28", "not in 10.203.128.0/17"},
		{"on the bridge of another data folder", "10.204.200.0/28", 3, "10.204.200.0/28", "not in 10.203.128.0/17"},
	} {
		var asked netip.Prefix
		if c.asked != "" {
			asked = netip.MustParsePrefix(c.asked)
		}
		got := Choose(asked, network, c.index)
		if got.String() != c.want {
			t.Errorf("%s: got %s, want %s", c.reason, got, c.want)
		}
		if !got.IsValid() {
			continue
		}
		err := Place(got, network)
		if c.problem == "" && err != nil || c.problem != "" && (err == nil || !strings.Contains(err.Error(), c.problem)) {
			t.Errorf("%s: got %v, want %q", c.reason, err, c.problem)
		}
	}
}

func TestMetalLBsManifestIsAdapted(t *testing.T) {
	pods := func(kind, container string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"kind": kind, "metadata": map[string]any{"name": container}, "spec": map[string]any{"template": map[string]any{"spec": map[string]any{
			"containers": []any{map[string]any{"name": container, "image": "quay.io/metallb/" + container, "args": []any{"--log-level=info"}, "readinessProbe": map[string]any{"initialDelaySeconds": int64(10)}}},
		}}}}}
	}
	crd := &unstructured.Unstructured{Object: map[string]any{"kind": "CustomResourceDefinition"}}
	webhook := &unstructured.Unstructured{Object: map[string]any{"kind": "ValidatingWebhookConfiguration"}}
	whole := []*unstructured.Unstructured{crd, pods("Deployment", "controller"), pods("DaemonSet", "speaker"), webhook}

	got, err := Adapt(whole, "here/metallb:v1")
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got[0] != crd {
		t.Fatalf("of CRD, Deployment, DaemonSet and webhooks are left %d objects", len(got))
	}
	probe := map[string]any{"initialDelaySeconds": int64(1), "periodSeconds": int64(1)}
	for i, want := range []map[string]any{
		{"name": "controller", "image": "here/metallb:v1", "imagePullPolicy": "Never", "command": []any{"/umbel-metallb-controller"}, "args": []any{"--log-level=info", "--webhook-mode=disabled"}, "readinessProbe": probe},
		{"name": "speaker", "image": "here/metallb:v1", "imagePullPolicy": "Never", "command": []any{"/umbel-metallb-speaker"}, "args": []any{"--log-level=info"}, "readinessProbe": probe, "securityContext": map[string]any{"runAsUser": int64(0)}},
	} {
		containers, _, _ := unstructured.NestedSlice(got[i+1].Object, "spec", "template", "spec", "containers")
		if diff := cmp.Diff([]any{want}, containers); diff != "" {
			t.Error(diff)
		}
	}
	if before, _, _ := unstructured.NestedSlice(whole[1].Object, "spec", "template", "spec", "containers"); before[0].(map[string]any)["image"] != "quay.io/metallb/controller" {
		t.Error("the manifest itself was changed")
	}
	for reason, objects := range map[string][]*unstructured.Unstructured{
		"no speaker": {pods("Deployment", "controller")}, "a program that is not known": append(whole[:3:3], pods("DaemonSet", "frr")),
	} {
		if _, err := Adapt(objects, "i"); err == nil || !strings.Contains(err.Error(), "MetalLB") {
			t.Errorf("%s: got %v", reason, err)
		}
	}
}

func TestThePoolIsGivenOutAndAnnounced(t *testing.T) {
	got := Pool(netip.MustParsePrefix("10.203.129.0/28"))
	if diff := cmp.Diff(map[string]any{"addresses": []any{"10.203.129.0/28"}}, got[0].Object["spec"]); got[0].GetKind() != "IPAddressPool" || diff != "" {
		t.Errorf("%s: %s", got[0].GetKind(), diff)
	}
	if diff := cmp.Diff(map[string]any{"ipAddressPools": []any{PoolName}, "interfaces": []any{"eth0"}}, got[1].Object["spec"]); got[1].GetKind() != "L2Advertisement" || diff != "" {
		t.Errorf("%s: %s", got[1].GetKind(), diff)
	}
}
