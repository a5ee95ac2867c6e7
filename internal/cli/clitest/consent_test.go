package clitest_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity"
)

func TestConsent(t *testing.T) {
	f := newFleet(t)
	f.create(t, &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "new"}, Spec: v1alpha1.MemberClusterSpec{Admission: v1alpha1.AdmissionPending}})
	const key, revoked = "9f86d081884c", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	steps := []struct {
		args      string
		want      said
		admission v1alpha1.Admission
	}{
		{"deny prod-eu", said{Err: "error: cluster \"prod-eu\" was let in already: `umbel suspend prod-eu` keeps it out for a while, `umbel leave prod-eu` ends its membership\n", Code: 1}, "Admitted"},
		{"resume prod-eu", said{Out: "cluster/prod-eu is admitted already\n"}, "Admitted"},
		{"suspend prod-eu", said{Out: "cluster/prod-eu suspended (key sha256:" + key + "…)\n"}, "Suspended"},
		{"suspend prod-eu", said{Out: "cluster/prod-eu is suspended already\n"}, "Suspended"},
		{"approve prod-eu", said{Err: "error: cluster \"prod-eu\" is suspended: `umbel resume prod-eu` lets it in again\n", Code: 1}, "Suspended"},
		{"leave prod-eu", said{Err: "error: cluster \"prod-eu\" is suspended, so its agent cannot be told to go: `umbel resume prod-eu` lets it in, or forget it with --force (its agent then stays until somebody removes it)\n", Code: 1}, "Suspended"},
		{"resume prod-eu", said{Out: "cluster/prod-eu resumed (key sha256:" + key + "…)\n"}, "Admitted"},
		{"revoke prod-eu", said{Out: "cluster/prod-eu key revoked (key sha256:" + key + "…)\n"}, "Admitted"},
		{"revoke prod-eu", said{Out: "cluster/prod-eu is without its key already\n"}, "Admitted"},
		{"revoke edge", said{Err: "error: cluster \"edge\" has no key yet: `umbel leave edge` forgets it\n", Code: 1}, "Admitted"},
		{"suspend new", said{Err: "error: cluster \"new\" has not been let in: `umbel deny new` refuses it\n", Code: 1}, "Pending"},
		{"deny new", said{Out: "cluster/new denied\n"}, "Denied"},
		{"resume new", said{Err: "error: cluster \"new\" has not been let in: `umbel approve new` does\n", Code: 1}, "Denied"},
		{"approve new", said{Out: "cluster/new approved\n"}, "Admitted"},
		{"suspend membercluster.umbel.dev/new", said{Out: "cluster/new suspended\n"}, "Suspended"},
		{"resume cluster/new", said{Out: "cluster/new resumed\n"}, "Admitted"},
		{"deny scope.umbel.dev/new", said{Err: "error: scope.umbel.dev/new is a scope: name a cluster\n", Code: 2}, ""},
		{"leave pod/new", said{Err: "error: there is no kind \"pod\": the kinds are clusters (mc), packages (pkg), placements (pl), releases (rel), rollouts (ro), plans, scopes (scp)\n", Code: 2}, ""},
		{"kubectl membercluster.umbel.dev/nope get pods", said{Err: "error: there is no cluster \"nope\": `umbel get clusters` lists them\n", Code: 1}, ""},
		{"leave membercluster.umbel.dev/nope", said{Err: "error: there is no cluster \"nope\": `umbel get clusters` lists them\n", Code: 1}, ""},
		{"approve nope", said{Err: "error: there is no cluster \"nope\": `umbel get clusters` lists them\n", Code: 1}, ""},
	}
	for _, step := range steps {
		t.Run(step.args, func(t *testing.T) {
			args := strings.Fields(step.args)
			if diff := cmp.Diff(step.want, f.run(t.Context(), args...)); diff != "" {
				t.Errorf("umbel %s (-want +got):\n%s", step.args, diff)
			}
			if step.admission == "" {
				return
			}
			var member v1alpha1.MemberCluster
			if err := f.api.Get(t.Context(), kube.ObjectKey{Name: args[1][strings.LastIndex(args[1], "/")+1:]}, &member); err != nil {
				t.Fatal(err)
			}
			if member.Spec.Admission != step.admission {
				t.Errorf("admission is %s, want %s", member.Spec.Admission, step.admission)
			}
		})
	}
	var member v1alpha1.MemberCluster
	if err := f.api.Get(t.Context(), kube.ObjectKey{Name: "prod-eu"}, &member); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{revoked}, member.Spec.RevokedKeys); diff != "" {
		t.Errorf("revoked keys (-want +got):\n%s", diff)
	}
}

func TestToken(t *testing.T) {
	f := newFleet(t)
	expect := func(args string, want said) {
		t.Helper()
		if diff := cmp.Diff(want, f.run(t.Context(), strings.Fields(args)...)); diff != "" {
			t.Errorf("umbel %s (-want +got):\n%s", args, diff)
		}
	}
	expect("token list", said{Err: "No tokens: `umbel token create NAME` makes one\n"})
	expect("token list -o json", said{Out: "[]\n"})
	expect("token list -o name", said{})
	made := f.run(t.Context(), strings.Fields("token create edge --uses 500 --expires 7d --policy Automatic --label env=edge")...)
	presented := strings.TrimSpace(made.Out)
	if name, many := identity.FleetTokenName(presented); !many || name != "edge" || made.Code != 0 {
		t.Fatalf("got %+v, want a token of that name", made)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: "token-edge"}}
	if err := f.api.Get(t.Context(), kube.ObjectKeyFromObject(secret), secret); err != nil {
		t.Fatal(err)
	}
	raw := secret.Data[v1alpha1.JoinTokenData]
	token, err := v1alpha1.ParseJoinToken(raw)
	if err != nil {
		t.Fatal(err)
	}
	if _, random, _ := strings.Cut(presented, "."); strings.Contains(string(raw), random) {
		t.Error("the hub keeps the token itself")
	}
	want := v1alpha1.JoinToken{
		Hash: identity.HashToken(presented), Expires: metav1.NewTime(f.now.Add(168 * time.Hour)), MaxUses: 500,
		Policy: v1alpha1.JoinAutomatic, Labels: map[string]string{"env": "edge"},
	}
	if diff := cmp.Diff(want, token, cmp.Comparer(func(a, b metav1.Time) bool { return a.Equal(&b) })); diff != "" {
		t.Errorf("the token (-want +got):\n%s", diff)
	}
	expect("token create edge", said{Err: "error: there is a token \"edge\" already: take another name, or `umbel token revoke edge` first\n", Code: 1})
	expect("token create Edge --uses 0 --policy Maybe --expires -1h", said{Err: "error: \"Edge\" is no name of a token: lower case letters, digits and '-', at most 40 characters\n" +
		"--uses is 1 to 1000, not 0\n--expires is a time from now, such as 24h or 7d, not -1h\n--policy is Approval or Automatic, not \"Maybe\"\n", Code: 2})
	expect("token list", said{Out: "NAME   POLICY      USES    EXPIRES   LABELS\nedge   Automatic   0/500   in 7d     env=edge\n"})
	token.Uses = map[string]v1alpha1.TokenUse{"b": {Cluster: "edge-2"}, "c": {Cluster: "edge-1"}}
	if secret.Data[v1alpha1.JoinTokenData], err = json.Marshal(token); err != nil {
		t.Fatal(err)
	}
	if err := f.api.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	expect("token list -o wide", said{Out: "NAME   POLICY      USES    EXPIRES   LABELS     CLUSTERS\nedge   Automatic   2/500   in 7d     env=edge   edge-1,edge-2\n"})
	expect("token list -o name", said{Out: "edge\n"})
	expect("token list -o yaml", said{Out: "- clusters:\n  - edge-1\n  - edge-2\n  expires: \"" + token.Expires.UTC().Format(time.RFC3339) +
		"\"\n  labels:\n    env: edge\n  maxUses: 500\n  name: edge\n  policy: Automatic\n  uses: 2\n"})
	if got := f.run(t.Context(), "token", "list", "-o", "json"); !strings.Contains(got.Out, `"maxUses": 500`) || strings.Contains(got.Out, token.Hash) {
		t.Errorf("for a program: %+v", got)
	}
	offered := func(got said) bool { return strings.HasPrefix(got.Out, "edge\n") }
	if got := f.completes(t, "token revoke", offered); !offered(got) {
		t.Errorf("completing a token gives %q", got.Out)
	}
	expect("token revoke edge", said{Out: "token/edge revoked\n"})
	expect("token revoke edge", said{Err: "error: there is no token \"edge\": `umbel token list` lists them\n", Code: 1})
}

// The manifest for many clusters names none, and holds the token.
func TestTokenManifest(t *testing.T) {
	f := newFleet(t)
	file := filepath.Join(t.TempDir(), "edge.yaml")
	args := []string{"token", "create", "many", "--manifest", file}
	if got := f.run(t.Context(), args...); got.Code != 1 || !strings.Contains(got.Err, "is `umbel hub` running?") {
		t.Errorf("without a hub: %+v", got)
	}
	f.create(t, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.HubInfoConfigMap},
		Data:       map[string]string{v1alpha1.HubInfoAddress: "hub.example.com:6443", v1alpha1.HubInfoCA: "CA", v1alpha1.HubInfoAgentImage: "hub.example.com/umbel/agent:v1"},
	})
	got := f.run(t.Context(), args...)
	t.Cleanup(func() { f.run(context.WithoutCancel(t.Context()), "token", "revoke", "many") })
	want := said{Out: "token/many created; `kubectl apply -f " + file + "` on a cluster lets it come\n"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("creating it (-want +got):\n%s", diff)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"kind: Namespace", "kind: Deployment", `"cluster":""`, `"token":"many.`, "hub.example.com/umbel/agent:v1"} {
		if !strings.Contains(string(raw), part) {
			t.Errorf("the manifest lacks %q:\n%s", part, raw)
		}
	}
	if strings.Contains(got.Out, "many.") {
		t.Error("the token is shown beside the file that it is in")
	}
}
