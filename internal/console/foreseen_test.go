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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

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
