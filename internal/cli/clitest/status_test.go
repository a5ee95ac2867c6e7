package clitest_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/clitest"
	"umbel.dev/umbel/internal/health"
)

// TestStatus is what is wrong with the fleet of these tests, in every form, and with a hub that falls silent.
func TestStatus(t *testing.T) {
	f := newFleet(t)
	f.now = clitest.Now // conditions have been so since an hour before
	f.heard(t, 2*time.Second)
	var silent v1alpha1.MemberCluster
	if err := f.api.Get(t.Context(), kube.ObjectKey{Name: "prod-us"}, &silent); err != nil {
		t.Fatal(err)
	}
	silent.Status.LastSeen = &metav1.Time{Time: f.now.Add(-4 * time.Minute)}
	if err := f.api.Status().Update(t.Context(), &silent); err != nil {
		t.Fatal(err)
	}
	f.rolls(t)
	f.golden(t, "status.txt", "status")
	f.golden(t, "status-wide.txt", "status -o wide")
	f.golden(t, "status-name.txt", "status -o name")
	f.golden(t, "status-waiting.txt", "status --level Waiting,Warning --no-headers")
	f.says(t, "status --level Bad", said{Code: 2, Err: "error: --level \"Bad\": it is one of Critical, Failing, Waiting, Warning\n"})
	if got := f.run(t.Context(), "status", "-o", "name", "--exit-code"); got.Code != 3 || got.Err != "" {
		t.Errorf("something is wrong: got %+v, want code 3", got)
	}
	var program struct {
		Hub      struct{ Alive bool }
		Counts   health.Counts
		Findings []health.Finding
	}
	read(t, f.run(t.Context(), "status", "-o", "json"), &program)
	if !program.Hub.Alive || program.Counts.Clusters != 4 || program.Counts.ClustersReady != 1 || len(program.Findings) == 0 || program.Findings[0].Name != "prod-us" {
		t.Errorf("got %+v", program)
	}
	// More of the same reason than have a line each.
	for _, name := range []string{"edge-1", "edge-2", "edge-3"} {
		f.create(t, &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: v1alpha1.MemberClusterStatus{Conditions: []metav1.Condition{{
			Type: v1alpha1.ConditionConnected, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonAwaitingAgent, Message: "no agent has come yet", LastTransitionTime: metav1.NewTime(f.now.Add(-time.Hour)),
		}}}})
	}
	if got := f.run(t.Context(), "status"); !strings.Contains(got.Out, "4 clusters") || strings.Contains(got.Out, "cluster/edge") || !strings.Contains(got.Out, "AwaitingAgent: edge, edge-1, edge-2 and 1 more; the first: ") {
		t.Errorf("four clusters for one reason are not one line: %+v", got)
	}
	f.heard(t, 3*time.Minute)
	if got := f.run(t.Context(), "status"); !strings.Contains(got.Out, "0 of 7 clusters ready") || !strings.Contains(got.Out, "Critical   hub") || strings.Contains(got.Out, "prod-us") {
		t.Errorf("with a silent hub nothing else is news: %+v", got)
	}
}
