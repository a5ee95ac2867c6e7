package cluster

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	kube "sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/lifecycle/ending"
)

// lose makes a cluster called lost in a namespace, with a machine and what that is of, whose deletion nobody ends.
func (d *desk) lose(namespace string) (cluster, machine, local *unstructured.Unstructured) {
	d.Helper()
	d.namespace(namespace)
	root := object("Cluster", namespace, "lost", map[string]any{"spec": map[string]any{"paused": true, "controlPlaneEndpoint": map[string]any{"host": "192.0.2.1", "port": int64(6443)}}})
	root.SetFinalizers([]string{"cluster.cluster.x-k8s.io"})
	cluster = d.create(&root)
	machine = d.part(object("Machine", namespace, "lost-a", map[string]any{"spec": map[string]any{
		"clusterName": "lost", "bootstrap": map[string]any{"dataSecretName": "x"}, "infrastructureRef": map[string]any{"apiGroup": "infrastructure.umbel.dev", "kind": "LocalMachine", "name": "lost-a"},
	}}), cluster)
	of := d.get("LocalMachine", "lost-a")
	of.SetNamespace(namespace)
	of.Object["spec"] = map[string]any{"providerID": "umbel://lost/lost-a"}
	local = d.part(*of, machine)
	for _, o := range []*unstructured.Unstructured{cluster, machine, local} {
		if err := d.hub.Delete(d.Context(), o); err != nil {
			d.Fatal(err)
		}
	}
	return cluster, machine, local
}

func (d *desk) namespace(name string) {
	d.Helper()
	err := d.hub.Create(d.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		d.Fatal(err)
	}
}

// interrupted detaches a cluster step by step, and ends before it is done.
func (d *desk) interrupted(cluster *unstructured.Unstructured, steps int) {
	d.Helper()
	key := kube.ObjectKeyFromObject(cluster)
	of, err := ending.Of(d.Context(), d.hub, key)
	if err != nil {
		d.Fatal(err)
	}
	first := &ending.Detaching{
		Cluster: of, Hub: d.hub, Now: time.Now, Warn: func(string) {}, Write: func(ending.Report) error { return nil },
		Report: ending.Report{Cluster: key.String(), UID: cluster.GetUID(), Begun: metav1.Now(), Inside: []string{"volume pv-1"}},
	}
	for range steps {
		if _, err := first.Step(d.Context()); err != nil {
			d.Fatal(err)
		}
	}
}

// reported returns what a ConfigMap of the hub has on a cluster.
func (d *desk) reported(at kube.ObjectKey, cluster *unstructured.Unstructured) ending.Report {
	d.Helper()
	kept := &corev1.ConfigMap{}
	if err := d.hub.Get(d.Context(), at, kept); err != nil {
		d.Fatal(err)
	}
	report, err := ending.Decode([]byte(kept.Data[string(cluster.GetUID())+".yaml"]))
	if err != nil {
		d.Fatal(err)
	}
	return report
}

// listed are the names of what a report says may be left.
func listed(report ending.Report) string {
	var kinds []string
	for _, o := range report.Orphans {
		short, _, _ := strings.Cut(o.Kind, ".")
		kinds = append(kinds, short+" "+o.Name)
	}
	return strings.Join(kinds, ", ")
}

const all = "Cluster lost, LocalMachine lost-a, Machine lost-a"

// TestWhatWasListedStaysListed when somebody detaches a second time, or another cluster of the same name.
func TestWhatWasListedStaysListed(t *testing.T) {
	d := newDesk(t)
	report, at := filepath.Join(t.TempDir(), "orphans.yaml"), kube.ObjectKey{Namespace: "again", Name: "lost-orphans"}
	cluster, machine, local := d.lose("again")
	d.interrupted(cluster, 1)
	if d.there(local) || !d.there(machine) {
		t.Fatal("the first run was to let go the lowest alone")
	}
	if _, errs, err := d.umbel("delete", "lost", "-n", "again", "--force-detach", "--yes", "--orphan-report", report); err != nil {
		t.Fatalf("%v\n%s", err, errs)
	}
	kept := d.reported(at, cluster)
	if listed(kept) != all || !strings.Contains(strings.Join(kept.Inside, " "), "volume pv-1") || kept.Ended == nil {
		t.Errorf("after two runs it has %s, and %+v", listed(kept), kept)
	}

	second, machine, _ := d.lose("again")
	_, _, err := d.umbel("delete", "lost", "-n", "again", "--force-detach", "--yes", "--orphan-report", report)
	if err == nil || !strings.Contains(err.Error(), report+" is there, and is no report on this cluster") || !strings.Contains(err.Error(), "nothing was let go") || !d.there(machine) {
		t.Errorf("into the file of another cluster: got %v", err)
	}
	if _, errs, err := d.umbel("delete", "lost", "-n", "again", "--force-detach", "--yes", "--orphan-report", report+"2"); err != nil {
		t.Fatalf("%v\n%s", err, errs)
	}
	if first, last := d.reported(at, cluster), d.reported(at, second); listed(first) != all || listed(last) != all {
		t.Errorf("the hub has %s of the first and %s of the second", listed(first), listed(last))
	}
}

// TestDetachingGoesOnAfterTheClusterIsGone, and takes nothing of another cluster of its name.
func TestDetachingGoesOnAfterTheClusterIsGone(t *testing.T) {
	d := newDesk(t)
	cluster, _, _ := d.lose("goes-on")
	loose := func(name string) *unstructured.Unstructured {
		o := d.get("LocalMachine", name)
		o.SetNamespace("goes-on")
		o.SetLabels(map[string]string{"cluster.x-k8s.io/cluster-name": "lost"})
		o.Object["spec"] = map[string]any{}
		return d.create(o)
	}
	member := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "lost", Annotations: map[string]string{v1alpha1.ManagedAnnotation: "goes-on/lost"}}}
	if err := d.hub.Create(t.Context(), member); err != nil {
		t.Fatal(err)
	}
	own := loose("lost-own")
	d.interrupted(cluster, 3)
	heir := loose("lost-heir")
	if d.there(cluster) || !d.there(own) {
		t.Fatal("the Cluster was to go, and no more")
	}
	if _, _, err := d.umbel("delete", "lost", "-n", "goes-on", "--yes"); err == nil || !strings.Contains(err.Error(), "umbel leave lost --force") {
		t.Errorf("without force: got %v", err)
	}
	report := filepath.Join(t.TempDir(), "orphans.yaml")
	force := []string{"delete", "lost", "-n", "goes-on", "--force-detach", "--yes", "--orphan-report", report}
	out, errs, err := d.umbel(force...)
	if err != nil || !strings.Contains(out, "is forgotten") || !strings.Contains(errs, "goes on") {
		t.Fatalf("going on: %q, %v\n%s", out, err, errs)
	}
	if d.there(own) || !d.there(heir) {
		t.Errorf("what was its own is there: %t; what is another's is there: %t", d.there(own), d.there(heir))
	}
	if err := d.hub.Get(t.Context(), kube.ObjectKeyFromObject(member), member); !apierrors.IsNotFound(err) && member.DeletionTimestamp == nil {
		t.Errorf("the fleet has it still (%v)", err)
	}
	if kept := d.reported(kube.ObjectKey{Namespace: "goes-on", Name: "lost-orphans"}, cluster); listed(kept) != all || kept.Ended == nil {
		t.Errorf("the last report has %s, and %+v", listed(kept), kept)
	}
	if out, _, err := d.umbel(force...); err == nil {
		t.Errorf("what has ended is begun again: %q", out)
	}
}

// TestDetachingGoesOnBesideAnHeir: whoever makes Clusters from Git has made it anew by then.
func TestDetachingGoesOnBesideAnHeir(t *testing.T) {
	d := newDesk(t)
	cluster, machine, local := d.lose("heir")
	d.interrupted(cluster, 1)
	if err := d.hub.Patch(t.Context(), cluster, kube.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))); err != nil {
		t.Fatal(err) // the Cluster goes, and its machine stays
	}
	anew := object("Cluster", "heir", "lost", map[string]any{"spec": map[string]any{"paused": true}})
	d.create(&anew)
	member := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "lost", Annotations: map[string]string{v1alpha1.ManagedAnnotation: "heir/lost"}}}
	if err := d.hub.Create(t.Context(), member); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.hub.Delete(context.WithoutCancel(t.Context()), member) })
	_, errs, err := d.umbel("delete", "lost", "-n", "heir", "--force-detach", "--yes", "--orphan-report", filepath.Join(t.TempDir(), "orphans.yaml"))
	if err != nil || d.there(machine) || d.there(local) {
		t.Fatalf("what was begun: got %v\n%s", err, errs)
	}
	if err := d.hub.Get(t.Context(), kube.ObjectKeyFromObject(member), member); err != nil || member.DeletionTimestamp != nil || !d.there(&anew) {
		t.Errorf("the heir, or its place in the fleet, went too: %v", err)
	}
}

// TestWhatCannotBeReadIsNotDone: a kind that cannot be read once is read again, and one that never can is said.
func TestWhatCannotBeReadIsNotDone(t *testing.T) {
	d := newDesk(t)
	cluster, machine, local := d.lose("unread")
	report, at := filepath.Join(t.TempDir(), "orphans.yaml"), kube.ObjectKey{Namespace: "unread", Name: "lost-orphans"}
	run := func(failing int) error { // the kind of local fails to list so many times
		t.Helper()
		var errs bytes.Buffer
		o := &deleteOptions{Factory: d.factory(output.Streams{Out: &errs, Err: &errs}), name: "lost", yes: true, detach: true, report: report, timeout: time.Minute}
		o.Namespace = "unread"
		hub, err := o.Connect()
		if err != nil {
			t.Fatal(err)
		}
		hub.WithWatch = interceptor.NewClient(hub.WithWatch, interceptor.Funcs{List: func(ctx context.Context, inner kube.WithWatch, list kube.ObjectList, opts ...kube.ListOption) error {
			if list.GetObjectKind().GroupVersionKind().Kind == "LocalMachineList" && failing > 0 {
				failing--
				return apierrors.NewTooManyRequests("not now", 1)
			}
			return inner.List(ctx, list, opts...)
		}})
		return o.run(t.Context(), hub)
	}
	if err := run(1000); err == nil || !strings.Contains(err.Error(), "LocalMachine.infrastructure.umbel.dev: not now") {
		t.Errorf("a kind that cannot be read: got %v", err)
	}
	if d.there(cluster) || d.there(machine) || !d.there(local) {
		t.Fatal("all was to go but what cannot be read")
	}
	if kept := d.reported(at, cluster); kept.Ended != nil || len(kept.Unread) != 1 {
		t.Errorf("the report says it is done, or does not say what is unread: %+v", kept)
	}
	if err := run(4); err != nil {
		t.Errorf("a kind that cannot be read for a while: got %v", err)
	}
	if kept := d.reported(at, cluster); d.there(local) || kept.Ended == nil || len(kept.Unread) != 0 || listed(kept) != all {
		t.Errorf("something is left, or is not on the list: %+v", kept)
	}
}

// TestForceInANamespaceThatEnds: what is listed there would go with it, and nothing can be made there.
func TestForceInANamespaceThatEnds(t *testing.T) {
	d := newDesk(t)
	d.namespace(v1alpha1.SystemNamespace)
	cluster, _, _ := d.lose("closing")
	d.interrupted(cluster, 1)
	if err := d.hub.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "closing"}}); err != nil {
		t.Fatal(err)
	}
	report := filepath.Join(t.TempDir(), "orphans.yaml")
	out, errs, err := d.umbel("delete", "lost", "-n", "closing", "--force-detach", "--yes", "--orphan-report", report)
	if err != nil || !strings.Contains(out, "umbel-system/closing-lost-orphans") || !strings.Contains(errs, "no Event tells of Machine lost-a") {
		t.Fatalf("%q, %v\n%s", out, err, errs)
	}
	if kept := d.reported(kube.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: "closing-lost-orphans"}, cluster); listed(kept) != all {
		t.Errorf("it has %s", listed(kept))
	}

	// Who may not read namespaces learns it when nothing can be made there.
	unseen, _, _ := d.lose("closing-unseen")
	if err := d.hub.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "closing-unseen"}}); err != nil {
		t.Fatal(err)
	}
	blind := *d
	blind.hub = interceptor.NewClient(d.hub, interceptor.Funcs{Get: func(ctx context.Context, inner kube.WithWatch, key kube.ObjectKey, o kube.Object, opts ...kube.GetOption) error {
		if _, is := o.(*corev1.Namespace); is {
			return apierrors.NewForbidden(corev1.Resource("namespaces"), key.Name, nil)
		}
		return inner.Get(ctx, key, o, opts...)
	}})
	blind.interrupted(unseen, 1)
	if kept := d.reported(kube.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: "closing-unseen-lost-orphans"}, unseen); listed(kept) != "LocalMachine lost-a" {
		t.Errorf("it has %s", listed(kept))
	}
}
