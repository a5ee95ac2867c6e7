package console

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
)

// TestForesee: what is typed is decided as the hub would, of the clusters that somebody may list, and says what cannot be read of it.
func TestForesee(t *testing.T) {
	h := newHub(t, nil)
	for name, env := range map[string]string{"dev": "dev", "eu": "prod", "us": "prod"} {
		member := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"env": env}}}
		if name == "us" {
			member.Spec.Taints = []v1alpha1.Taint{{Key: "repair", Effect: v1alpha1.TaintNoSelect}}
		}
		if err := h.client.Create(t.Context(), member); err != nil {
			t.Fatal(err)
		}
	}
	placement := &v1alpha1.Placement{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "all"}}
	if err := h.client.Create(t.Context(), placement); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.client.Delete(context.WithoutCancel(t.Context()), placement); err != nil {
			t.Error(err)
		}
	})
	placement.Status.Clusters, placement.Status.ObservedGeneration, placement.Status.Selected = []v1alpha1.ClusterName{"dev", "us"}, placement.Generation, 2
	if err := h.client.Status().Update(t.Context(), placement); err != nil {
		t.Fatal(err)
	}
	ada, bob := h.browser(), h.browser()
	ada.signIn(h.token("ada", "cluster-admin"))
	bob.signIn(h.token("bob", ""))
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		return strings.Contains(ada.ask(http.MethodGet, "/console/api/clusters", "").body, `"total":3`) && strings.Contains(ada.ask(http.MethodGet, "/console/api/placements", "").body, `"selected":2`), nil
	})
	if err != nil {
		t.Fatal("what was made is not in the lists")
	}
	for _, c := range []struct {
		reason string
		query  url.Values
		counts [5]int // selected, undecided, not, comes, leaves
		rows   []string
	}{
		{"labels, for a new one", url.Values{"labels": {"env=prod"}}, [5]int{1, 0, 2, 0, 0}, []string{
			"eu Selected  ", "dev NotSelected spec.clusterSelector: env=prod: the cluster has env=dev ", "us NotSelected taint repair:NoSelect: is not tolerated (spec.tolerations), so the cluster is not selected anew ",
		}},
		{"another selector of one that is there, which keeps who has a taint since", url.Values{"labels": {"env=prod"}, "of": {"default/all"}}, [5]int{2, 0, 1, 1, 1}, []string{
			"eu Selected  Comes", "us Selected  ", "dev NotSelected spec.clusterSelector: env=prod: the cluster has env=dev Leaves",
		}},
		{"an expression that cannot be told", url.Values{"expression": {"cluster.labels.size == 'l'"}, "state": {"Undecided"}, "limit": {"1"}, "from": {"1"}}, [5]int{0, 3, 0, 0, 0}, []string{
			"eu Undecided spec.expressions[0]: cluster.labels.size == 'l': line 1, column 15: no such key: size; so nothing is decided by it ",
		}},
	} {
		got := ada.ask(http.MethodGet, "/console/api/foresee?"+c.query.Encode(), "")
		var page ForeseenPage
		if err := json.Unmarshal([]byte(got.body), &page); err != nil || page.Problem != "" {
			t.Fatalf("%s: %s (%v)", c.reason, got.body, err)
		}
		var rows []string
		for _, row := range page.Rows {
			rows = append(rows, strings.Join([]string{string(row.Cluster), string(row.State), row.Because, row.Change}, " "))
		}
		if diff := cmp.Diff(c.rows, rows); diff != "" || c.counts != [5]int{page.Selected, page.Undecided, page.Not, page.Comes, page.Leaves} {
			t.Errorf("%s: %d selected, %d undecided, %d not, %d come, %d leave (-want +got):\n%s", c.reason, page.Selected, page.Undecided, page.Not, page.Comes, page.Leaves, diff)
		}
	}
	for query, says := range map[string]string{
		"labels=env+in+(prod": "unable to parse requirement", "expression=cluster.nome": "spec.expressions[0]", "labels=" + strings.Repeat("x", 5000): "longer than the page tries",
	} {
		ada.want("what cannot be read", ada.ask(http.MethodGet, "/console/api/foresee?"+query, ""), http.StatusOK, says)
	}
	ada.want("of one that is not there", ada.ask(http.MethodGet, "/console/api/foresee?of=default/none", ""), http.StatusNotFound, "there is no placement")
	bob.want("who may not list clusters", bob.ask(http.MethodGet, "/console/api/foresee?labels=a", ""), http.StatusForbidden, "that takes the verb")
}

// TestPlacing: what was tried becomes a placement once it has a name, by whoever may create one there; one that is there stays as it is.
func TestPlacing(t *testing.T) {
	h := newHub(t, nil)
	tried := &v1alpha1.Placement{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "three"}}
	tried.Spec.ClusterSelector.MatchLabels, tried.Spec.NumberOfClusters = map[string]string{"env": "dev"}, ptr.To[int32](3)
	if err := h.client.Create(t.Context(), tried); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.client.DeleteAllOf(context.WithoutCancel(t.Context()), tried, client.InNamespace("default")); err != nil {
			t.Error(err)
		}
	})
	looks := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "console-looks"},
		Rules:      []rbacv1.PolicyRule{{Verbs: []string{"list"}, APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"memberclusters"}}},
	}
	if err := h.client.Create(t.Context(), looks); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.client.Delete(context.WithoutCancel(t.Context()), looks); err != nil {
			t.Error(err)
		}
	})
	ada, bob := h.browser(), h.browser()
	ada.signIn(h.token("ada", "cluster-admin"))
	bob.signIn(h.token("bob", looks.Name))
	placing := func(b *browser, of string) Deed {
		query := url.Values{"labels": {"env in (prod, eu)"}, "expression": {"cluster.name != 'old'"}, "as": {"prod"}, "of": {of}}
		got := b.ask(http.MethodGet, "/console/api/foresee?"+query.Encode(), "")
		var page ForeseenPage
		if err := json.Unmarshal([]byte(got.body), &page); err != nil || len(page.Deeds) != 1 {
			t.Fatalf("of %q is said %s (%v)", of, got.body, err)
		}
		return page.Deeds[0]
	}
	ada.want("without a name", ada.ask(http.MethodGet, "/console/api/foresee?labels=env=prod", ""), http.StatusOK, `"deeds":[]`)
	refused := placing(bob, "")
	if !strings.Contains(refused.Not, `"create" on placements.umbel.dev in namespace "default"`) {
		t.Errorf("who may look alone is told %q", refused.Not)
	}
	send := func(b *browser, deed Deed) answered {
		body, err := json.Marshal(deed.Creates)
		if err != nil {
			t.Fatal(err)
		}
		return b.ask(http.MethodPost, "/console/k8s"+deed.Path, string(body), "Content-Type", "application/json", ownHeader, "1")
	}
	bob.want("who may look alone, and tries", send(bob, refused), http.StatusForbidden, "cannot create resource")
	deed := placing(ada, "default/three")
	want := `kubectl create -f - <<'EOF'
apiVersion: umbel.dev/v1alpha1
kind: Placement
metadata:
  name: prod
  namespace: default
spec:
  clusterSelector:
    matchExpressions:
    - key: env
      operator: In
      values:
      - eu
      - prod
  expressions:
  - cluster.name != 'old'
  numberOfClusters: 3
EOF`
	if diff := cmp.Diff(want, deed.Kubectl); diff != "" || deed.Not != "" {
		t.Errorf("who may all is told %q (-want +got):\n%s", deed.Not, diff)
	}
	ada.want("as the page does", send(ada, deed), http.StatusCreated, `"name":"prod"`)
	ada.want("once more", send(ada, deed), http.StatusConflict, "already exists")
	var made v1alpha1.Placement
	if err := h.client.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "prod"}, &made); err != nil {
		t.Fatal(err)
	}
	tried.Spec.ClusterSelector = metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "env", Operator: metav1.LabelSelectorOpIn, Values: []string{"eu", "prod"}}}}
	tried.Spec.Expressions = []string{"cluster.name != 'old'"}
	if diff := cmp.Diff(tried.Spec, made.Spec); diff != "" {
		t.Errorf("what was made is not what was tried (-want +got):\n%s", diff)
	}
}
