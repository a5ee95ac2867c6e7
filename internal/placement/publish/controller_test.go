package publish_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	inventory "sigs.k8s.io/cluster-inventory-api/apis/v1alpha1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/kubetest"
	"umbel.dev/umbel/internal/placement/publish"
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(kubetest.Main(m))
}

// TestDecisionsFollow the status of a Placement, in an API of SIG-Multicluster's kind.
func TestDecisionsFollow(t *testing.T) {
	config := kubetest.Start(t)
	kubetest.InstallCRDs(t, config)
	kubetest.InstallDecisions(t, config)
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, inventory.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	api, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"},
		Controller: ctrlconfig.Controller{UsePriorityQueue: new(false)}, // as in hub
	})
	must(err)
	must(publish.Setup(mgr))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := mgr.Start(ctx); err != nil {
			t.Errorf("the manager ended: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })

	namespace := kubetest.Namespace(t, config)
	foreign := &inventory.PlacementDecision{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "theirs"}, SchedulerName: "theirs", Decisions: []inventory.ClusterDecision{}}
	foreign.Labels = map[string]string{inventory.DecisionKeyLabel: "shops"}
	must(api.Create(t.Context(), foreign))
	read := func() string {
		var list inventory.PlacementDecisionList
		must(api.List(t.Context(), &list, client.InNamespace(namespace)))
		var lines []string
		for _, d := range list.Items {
			var clusters []string
			for _, one := range d.Decisions {
				clusters = append(clusters, one.ClusterProfileRef.Namespace+"/"+one.ClusterProfileRef.Name)
			}
			if len(clusters) > 3 {
				clusters = []string{fmt.Sprint(len(clusters))}
			}
			owner := "nobody"
			if of := metav1.GetControllerOf(&d); of != nil {
				owner = of.Name
			}
			lines = append(lines, fmt.Sprintf("%s %s %s %s %v", d.Name, d.SchedulerName, d.Labels[inventory.DecisionKeyLabel], owner, clusters))
		}
		slices.Sort(lines)
		return strings.Join(lines, "; ")
	}
	becomes := func(reason, want string) {
		t.Helper()
		deadline, tick := time.After(2*time.Minute), time.NewTicker(20*time.Millisecond)
		defer tick.Stop()
		for got := read(); got != want; got = read() {
			select {
			case <-tick.C:
			case <-deadline:
				t.Fatalf("%s: got %q, want %q", reason, got, want)
			}
		}
	}
	const theirs = "theirs theirs shops nobody []"
	placement := &v1alpha1.Placement{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "shops"}}
	must(api.Create(t.Context(), placement))
	decided := func(names ...v1alpha1.ClusterName) {
		t.Helper()
		must(api.Get(t.Context(), client.ObjectKeyFromObject(placement), placement))
		placement.Status.ObservedGeneration, placement.Status.Clusters, placement.Status.Selected = placement.Generation, names, int32(len(names))
		must(api.Status().Update(t.Context(), placement))
	}
	becomes("not decided yet", theirs)
	decided()
	becomes("a decision for no cluster", "shops-0 umbel shops shops []; "+theirs)
	decided("dev", "prod-eu")
	becomes("two clusters", "shops-0 umbel shops shops [umbel-system/dev umbel-system/prod-eu]; "+theirs)
	var many []v1alpha1.ClusterName
	for i := range 150 {
		many = append(many, v1alpha1.ClusterName(fmt.Sprintf("c%03d", i)))
	}
	decided(many...)
	becomes("more than one object takes", "shops-0 umbel shops shops [100]; shops-1 umbel shops shops [50]; "+theirs)
	must(api.DeleteAllOf(t.Context(), &inventory.PlacementDecision{}, client.InNamespace(namespace), client.MatchingLabels{publish.ManagedByLabel: publish.Scheduler}))
	becomes("somebody deletes them", "shops-0 umbel shops shops [100]; shops-1 umbel shops shops [50]; "+theirs)
	decided("dev")
	becomes("one cluster", "shops-0 umbel shops shops [umbel-system/dev]; "+theirs)
	placement.Spec.Decisions = v1alpha1.DecisionsWithheld
	must(api.Update(t.Context(), placement))
	becomes("withheld", theirs)
	placement.Spec.Decisions = v1alpha1.DecisionsPublished
	must(api.Update(t.Context(), placement))
	becomes("published again", "shops-0 umbel shops shops [umbel-system/dev]; "+theirs)
	must(api.Delete(t.Context(), placement))
	becomes("the placement is gone, and nobody collects garbage here", theirs)
}
