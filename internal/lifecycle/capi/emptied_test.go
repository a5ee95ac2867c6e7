package capi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/deploy"
	"umbel.dev/umbel/internal/kube/kubetest"
)

// hook is what has Cluster API wait until the hub's program has emptied the node of a Machine.
const hook = "pre-drain.delete.hook.machine.cluster.x-k8s.io/umbel"

// TestANodeIsEmptied has Machines be deleted whose nodes hold a pod, by Cluster API as a hub runs it, with another real API as their cluster's.
// What is not here is played: the provider, whose machines are there at once, the kubelet, which ends pods, and who counts what a
// PodDisruptionBudget allows.
func TestANodeIsEmptied(t *testing.T) {
	w := newWorld(t)
	shop := w.shop(w.hub())
	shop.allows(0)
	for _, machine := range []string{"away", "ready", "late", "whole"} {
		shop.machine(machine)
	}
	heard := shop.hears()
	for _, machine := range []string{"away", "ready", "late", "whole"} {
		w.eventually(machine+" has a hook", busy, func(ctx context.Context) error {
			m := object("Machine", machine)
			if err := w.Get(ctx, client.ObjectKeyFromObject(m), m); err != nil {
				return err
			}
			if m.GetAnnotations()[hook] == "" {
				return fmt.Errorf("it has the annotations %v: %v", m.GetAnnotations(), m.Object["status"])
			}
			return nil
		})
	}

	// The kubelet of one does not answer: Cluster API is to judge, and looks again after twenty seconds, for which nobody waits here.
	shop.node("away", corev1.ConditionUnknown)
	shop.delete("away")
	w.eventually("one that is away is left to Cluster API", busy, func(context.Context) error {
		return heard.has("away", "Drain not completed yet")
	})

	// A budget keeps the pod of another: its node takes no more, and it waits, also while this process is killed.
	shop.delete("ready")
	w.eventually("its node takes no more pods", busy, func(ctx context.Context) error { return shop.cordoned(ctx, "ready") })
	shop.killCore()
	if pod := shop.pod("ready"); pod.DeletionTimestamp != nil {
		t.Errorf("the pod was ended against its budget, at %s", pod.DeletionTimestamp)
	}
	shop.allows(2) // one of them for the first
	w.eventually("the pod is evicted, as its budget allows by now", busy, func(context.Context) error {
		if shop.pod("ready").DeletionTimestamp == nil {
			return errors.New("it is not")
		}
		return nil
	})
	shop.killCore()
	if _, err := shop.there(t.Context(), "ready"); err != nil {
		t.Errorf("the Machine, while its pod ends: %v", err)
	}
	shop.endPod("ready")
	w.eventually("the Machine is gone", busy, w.gone(object("Machine", "ready")))
	w.eventually("Cluster API was heard to wait for its hook", busy, func(context.Context) error {
		return heard.has("ready", "Waiting for pre-drain hooks")
	})
	if err := heard.has("ready", "Drain not completed yet"); err == nil {
		t.Errorf("Cluster API waited for a drain of its own: %q", heard.messages("ready"))
	}

	// A third one is not to be waited for long, whatever its budget says: Cluster API's timeout counts from when this began.
	shop.allows(0)
	patch := []byte(`{"spec":{"deletion":{"nodeDrainTimeoutSeconds":2}}}`)
	if err := w.Patch(t.Context(), object("Machine", "late"), client.RawPatch("application/merge-patch+json", patch)); err != nil {
		t.Fatal(err)
	}
	shop.delete("late")
	w.eventually("it is gone after its own time", busy, w.gone(object("Machine", "late")))
	if err := heard.has("late", "Drain not completed yet"); err == nil {
		t.Errorf("its time began anew: %q", heard.messages("late"))
	}
	if pod := shop.pod("late"); pod.DeletionTimestamp != nil {
		t.Errorf("its pod was ended against its budget, at %s", pod.DeletionTimestamp)
	}

	// With their cluster goes all that is left, and nothing is drained.
	shop.endPod("away")
	if err := w.Delete(t.Context(), object("Cluster", "shop")); err != nil {
		t.Fatal(err)
	}
	w.eventually("the cluster is gone", busy, w.gone(object("Cluster", "shop")))
	w.eventually("with its machines", busy, w.gone(object("Machine", "whole")))
	if pod := shop.pod("whole"); pod.DeletionTimestamp != nil || shop.cordoned(t.Context(), "whole") == nil {
		t.Errorf("a node was drained that ends with its cluster: its pod ends at %v", pod.DeletionTimestamp)
	}
}

// shop is a cluster that Cluster API runs.
type shop struct {
	*world
	hub *replica
	api client.WithWatch // the cluster's own
}

// shop has Cluster API serve on a hub, and gives it a cluster.
func (w *world) shop(hub *replica) *shop {
	w.Helper()
	w.infrastructure()
	if err := w.Create(w.Context(), &v1alpha1.Provider{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.CoreProvider}}); err != nil {
		w.Fatal(err)
	}
	w.eventually("Cluster API serves", busy, w.reason(v1alpha1.CoreProvider, v1alpha1.ReasonServing))
	api, err := kubetest.Run(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(api.Stop)
	remote, err := client.NewWithWatch(api.Config, client.Options{})
	if err != nil {
		w.Fatal(err)
	}
	kubeconfig, err := os.ReadFile(kubetest.Kubeconfig(w.T, api.Config))
	if err != nil {
		w.Fatal(err)
	}
	s := &shop{w, hub, remote}
	for name, value := range map[string][]byte{"shop-kubeconfig": kubeconfig, "bootstrap": []byte("how it joins")} {
		labels := map[string]string{"cluster.x-k8s.io/cluster-name": "shop"}
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: name, Labels: labels}, Type: "cluster.x-k8s.io/secret", Data: map[string][]byte{"value": value}}
		if err := w.Create(w.Context(), secret); err != nil {
			w.Fatal(err)
		}
	}
	s.played("", "HostedCluster", "HostedControlPlane", "Cluster")
	budget := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "web"}, Spec: policyv1.PodDisruptionBudgetSpec{
		MinAvailable: new(intstr.FromInt32(1)), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
	}}
	if err := s.api.Create(w.Context(), budget); err != nil {
		w.Fatal(err)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "default"}}
	if err := s.api.Create(w.Context(), account); err != nil && !apierrors.IsAlreadyExists(err) {
		w.Fatal(err)
	}
	return s
}

// infrastructure brings the kinds of our own provider, which nobody runs here.
func (w *world) infrastructure() {
	w.Helper()
	files, err := fs.Glob(deploy.Infrastructure, "infrastructure/*.yaml")
	if err != nil || len(files) == 0 {
		w.Fatalf("found the kinds %v (%v)", files, err)
	}
	for _, file := range files {
		raw, err := fs.ReadFile(deploy.Infrastructure, file)
		if err != nil {
			w.Fatal(err)
		}
		kinds, err := Parse(raw)
		if err != nil {
			w.Fatal(err)
		}
		for _, kind := range kinds {
			if err := w.Create(w.Context(), kind); err != nil {
				w.Fatal(err)
			}
		}
	}
}

// played makes the objects of these kinds, with the status that their provider would write.
func (s *shop) played(machine string, kinds ...string) {
	s.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "emptied.yaml"))
	if err != nil {
		s.Fatal(err)
	}
	objects, err := Parse(bytes.ReplaceAll(raw, []byte("MACHINE"), []byte(machine)))
	if err != nil {
		s.Fatal(err)
	}
	for _, o := range objects {
		if !slices.Contains(kinds, o.GetKind()) {
			continue
		}
		status, says := o.Object["status"]
		o.SetNamespace(metav1.NamespaceDefault)
		s.eventually(o.GetKind()+" "+o.GetName()+" is made", busy, func(ctx context.Context) error { return s.Create(ctx, o) })
		if !says {
			continue
		}
		o.Object["status"] = status
		if err := s.Status().Patch(s.Context(), o, client.Merge); err != nil {
			s.Fatalf("the status of %s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
}

// machine gives the cluster a machine, whose node has a pod.
func (s *shop) machine(name string) {
	s.Helper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{ProviderID: "umbel://shop/" + name}}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: name, Labels: map[string]string{"app": "web"}}, Spec: corev1.PodSpec{
		NodeName: name, Containers: []corev1.Container{{Name: "web", Image: "web"}},
	}}
	if err := errors.Join(s.api.Create(s.Context(), node), s.api.Create(s.Context(), pod)); err != nil {
		s.Fatal(err)
	}
	pod.Status.Phase, pod.Status.Conditions = corev1.PodRunning, []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	if err := s.api.Status().Update(s.Context(), pod); err != nil {
		s.Fatal(err)
	}
	s.node(name, corev1.ConditionTrue)
	s.played(name, "LocalMachine", "Machine")
}

// node says whether a node is ready.
func (s *shop) node(name string, ready corev1.ConditionStatus) {
	s.Helper()
	node := &corev1.Node{}
	if err := s.api.Get(s.Context(), client.ObjectKey{Name: name}, node); err != nil {
		s.Fatal(err)
	}
	before := node.DeepCopy()
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}
	if err := s.api.Status().Patch(s.Context(), node, client.MergeFrom(before)); err != nil {
		s.Fatal(err)
	}
}

// allows has so many pods be evicted.
func (s *shop) allows(pods int32) {
	s.Helper()
	budget := &policyv1.PodDisruptionBudget{}
	if err := s.api.Get(s.Context(), client.ObjectKey{Namespace: metav1.NamespaceDefault, Name: "web"}, budget); err != nil {
		s.Fatal(err)
	}
	before := budget.DeepCopy()
	budget.Status = policyv1.PodDisruptionBudgetStatus{ObservedGeneration: budget.Generation, DisruptionsAllowed: pods, CurrentHealthy: 1 + pods, DesiredHealthy: 1, ExpectedPods: 1 + pods}
	if err := s.api.Status().Patch(s.Context(), budget, client.MergeFrom(before)); err != nil { // the API server writes it as well, with each eviction
		s.Fatal(err)
	}
}

func (s *shop) delete(machine string) {
	s.Helper()
	if err := s.Delete(s.Context(), object("Machine", machine)); err != nil {
		s.Fatal(err)
	}
}

func (s *shop) there(ctx context.Context, machine string) (*unstructured.Unstructured, error) {
	m := object("Machine", machine)
	return m, s.Get(ctx, client.ObjectKeyFromObject(m), m)
}

// cordoned says why a node takes pods still.
func (s *shop) cordoned(ctx context.Context, name string) error {
	node := &corev1.Node{}
	if err := s.api.Get(ctx, client.ObjectKey{Name: name}, node); err != nil {
		return err
	}
	if !node.Spec.Unschedulable {
		return errors.New("it takes pods")
	}
	return nil
}

// pod is the one of a node.
func (s *shop) pod(name string) *corev1.Pod {
	s.Helper()
	pod := &corev1.Pod{}
	if err := s.api.Get(s.Context(), client.ObjectKey{Namespace: metav1.NamespaceDefault, Name: name}, pod); err != nil {
		s.Fatal(err)
	}
	return pod
}

// endPod is what a kubelet does in the end.
func (s *shop) endPod(name string) {
	s.Helper()
	if err := s.api.Delete(s.Context(), s.pod(name), client.GracePeriodSeconds(0)); err != nil {
		s.Fatal(err)
	}
}

// killCore kills the process of Cluster API, and returns when another one runs.
func (s *shop) killCore() {
	s.Helper()
	var killed int
	s.eventually("a process of Cluster API runs", busy, func(context.Context) error {
		if killed = s.hub.runs(s.world, v1alpha1.CoreProvider); killed == 0 { // as a process to kill it would be this one
			return errors.New("none does")
		}
		return nil
	})
	if err := syscall.Kill(killed, syscall.SIGKILL); err != nil {
		s.Fatalf("killing process %d: %v", killed, err)
	}
	s.eventually("another process runs", busy, func(context.Context) error {
		if pid := s.hub.runs(s.world, v1alpha1.CoreProvider); pid == 0 || pid == killed {
			return fmt.Errorf("it is process %d", pid)
		}
		return nil
	})
}

// heard is what Machines have said of their end.
type heard struct {
	all chan [2]string
	so  map[string][]string
}

// hears listens to what Machines say of their end, from now on.
func (s *shop) hears() *heard {
	s.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", s.kubeconfig)
	if err != nil {
		s.Fatal(err)
	}
	c, err := client.NewWithWatch(config, client.Options{})
	if err != nil {
		s.Fatal(err)
	}
	machines := &unstructured.UnstructuredList{Object: object("MachineList", "").Object}
	events, err := c.Watch(s.Context(), machines, client.InNamespace(metav1.NamespaceDefault))
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(events.Stop)
	h := &heard{all: make(chan [2]string, 1000), so: map[string][]string{}}
	go func() {
		defer close(h.all)
		for event := range events.ResultChan() {
			m, ok := event.Object.(*unstructured.Unstructured)
			if !ok {
				return
			}
			list, _, _ := unstructured.NestedSlice(m.Object, "status", "conditions")
			for _, item := range list {
				if c, ok := item.(map[string]any); ok && c["type"] == "Deleting" {
					h.all <- [2]string{m.GetName(), fmt.Sprint(c["message"])}
				}
			}
		}
	}()
	return h
}

// messages are those of a Machine until now.
func (h *heard) messages(machine string) []string {
	for {
		select {
		case one, more := <-h.all:
			if more {
				h.so[one[0]] = append(h.so[one[0]], one[1])
				continue
			}
		default:
		}
		return slices.Compact(h.so[machine])
	}
}

// has says that a Machine has not said these words.
func (h *heard) has(machine, words string) error {
	for _, message := range h.messages(machine) {
		if strings.Contains(message, words) {
			return nil
		}
	}
	return fmt.Errorf("of its end %s has said %q, and nothing of %q", machine, h.messages(machine), words)
}
