package placement_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/kubetest"
	"umbel.dev/umbel/internal/placement"
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(kubetest.Main(m))
}

// start runs the controller against a real API and returns a client of it and a namespace.
func start(t *testing.T) (client.Client, string) {
	t.Helper()
	config := kubetest.Start(t)
	kubetest.InstallCRDs(t, config)
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, eventsv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	api, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"},
		Controller: ctrlconfig.Controller{UsePriorityQueue: new(false), SkipNameValidation: new(true)}, // as in hub
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := placement.Setup(mgr, time.Now); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := mgr.Start(ctx); err != nil {
			t.Errorf("the manager ended: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	return api, kubetest.Namespace(t, config)
}

// TestPlacementFollowsTheFleet is the life of a Placement: clusters come, are relabelled, leave; the selector breaks.
func TestPlacementFollowsTheFleet(t *testing.T) {
	api, namespace := start(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	p := &v1alpha1.Placement{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "prod"}}
	p.Spec.ClusterSelector.MatchLabels = map[string]string{"env": "prod"}
	must(api.Create(t.Context(), p))
	// becomes waits for the Placement to be as described.
	becomes := func(reason, want string) {
		t.Helper()
		deadline, tick := time.After(2*time.Minute), time.NewTicker(20*time.Millisecond)
		defer tick.Stop()
		for {
			must(api.Get(t.Context(), client.ObjectKeyFromObject(p), p))
			var got string
			if c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionReady); c != nil {
				got = fmt.Sprintf("%s %s %d %v %s", c.Status, c.Reason, p.Status.Selected, p.Status.Clusters, c.Message)
			}
			if strings.HasPrefix(got, want) {
				return
			}
			select {
			case <-tick.C:
			case <-deadline:
				t.Fatalf("%s: got %q, want %q", reason, got, want)
			}
		}
	}
	cluster := func(name, env string) *v1alpha1.MemberCluster {
		m := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"env": env}}}
		must(api.Create(t.Context(), m))
		return m
	}
	relabel := func(m *v1alpha1.MemberCluster, env string) {
		m.Labels = map[string]string{"env": env}
		must(api.Update(t.Context(), m))
	}

	becomes("an empty fleet", "True Decided 0 []")
	dev := cluster("dev", "dev")
	eu := cluster("prod-eu", "prod")
	becomes("one joins", "True Decided 1 [prod-eu]")
	relabel(dev, "prod")
	becomes("one is relabelled", "True Decided 2 [dev prod-eu]")

	p.Spec.ClusterSelector = metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "env", Operator: "Like", Values: []string{"prod"}}}}
	must(api.Update(t.Context(), p))
	becomes("the selector breaks", `False InvalidSelector 2 [dev prod-eu] spec.clusterSelector.matchExpressions[0].operator: Invalid value: "Like"`)
	relabel(dev, "dev")
	becomes("what cannot be decided stays", "False InvalidSelector 2 [dev prod-eu]")
	p.Spec.ClusterSelector = metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}}
	must(api.Update(t.Context(), p))
	becomes("it is mended", "True Decided 1 [prod-eu] selects 1 cluster")

	eu.Finalizers = []string{v1alpha1.Finalizer}
	must(api.Update(t.Context(), eu))
	must(api.Delete(t.Context(), eu))
	becomes("one is leaving", "True Decided 0 []")
	must(api.Get(t.Context(), client.ObjectKeyFromObject(eu), eu))
	eu.Finalizers = nil
	must(api.Update(t.Context(), eu))
	p.Spec.ClusterSelector = metav1.LabelSelector{}
	must(api.Update(t.Context(), p))
	becomes("an empty selector", "True Decided 1 [dev]")
	must(api.Delete(t.Context(), dev))
	becomes("the last one is gone", "True Decided 0 []")
	other := cluster("other", "other")
	t.Cleanup(func() { must(api.Delete(context.WithoutCancel(t.Context()), other)) })
	becomes("another comes", "True Decided 1 [other]")

	// Events are written in the background.
	deadline, tick := time.After(2*time.Minute), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for {
		notes := events(t, api, namespace)
		if strings.Contains(notes, "Selected 2 clusters; came: dev\n") && strings.Contains(notes, "the last decision stands (2 clusters)") {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("events:\n%s", notes)
		}
	}
}

// events returns the notes of the events of a namespace, one a line.
func events(t *testing.T, api client.Client, namespace string) string {
	t.Helper()
	var list eventsv1.EventList
	if err := api.List(t.Context(), &list, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	var notes []string
	for _, e := range list.Items {
		notes = append(notes, e.Note)
	}
	return strings.Join(notes, "\n")
}
