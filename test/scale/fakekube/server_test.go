package fakekube

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/metadata"

	"umbel.dev/umbel/api/v1alpha1"
)

var configMapsResource = corev1.SchemeGroupVersion.WithResource("configmaps")

func clients(t *testing.T, s *Server) *kubernetes.Clientset {
	t.Helper()
	c, err := kubernetes.NewForConfig(s.Config())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func configMaps(t *testing.T, s *Server) corev1client.ConfigMapInterface {
	t.Helper()
	return clients(t, s).CoreV1().ConfigMaps("default")
}

// applyAs applies a ConfigMap with these labels and data as a manager.
func applyAs(t *testing.T, s *Server, manager string, force Force, labels, data map[string]string) (*corev1.ConfigMap, error) {
	t.Helper()
	body, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "web", "namespace": "default", "labels": labels}, "data": data,
	})
	if err != nil {
		t.Fatal(err)
	}
	forced := bool(force)
	return configMaps(t, s).Patch(t.Context(), "web", types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: manager, Force: &forced})
}

type Force bool

func TestApply(t *testing.T) {
	s := New(nil)
	first := hold(t, s, "umbel", false, map[string]string{"a": "1", "b": "2"})
	t.Run("what is the same is not written", func(t *testing.T) {
		again := hold(t, s, "umbel", false, map[string]string{"a": "1", "b": "2"})
		if first.ResourceVersion == "" || again.ResourceVersion != first.ResourceVersion {
			t.Errorf("version %q, then %q", first.ResourceVersion, again.ResourceVersion)
		}
	})
	t.Run("a field of another manager is a conflict that names it", func(t *testing.T) {
		_, err := applyAs(t, s, "kubectl", false, nil, map[string]string{"a": "other"})
		var causes []metav1.StatusCause
		if status, ok := err.(apierrors.APIStatus); ok && apierrors.IsConflict(err) {
			causes = status.Status().Details.Causes
		}
		if len(causes) != 1 || causes[0].Field != ".data.a" || causes[0].Type != metav1.CauseTypeFieldManagerConflict {
			t.Errorf("got %v", err)
		}
	})
	t.Run("it is taken over by force, and what one leaves out is not removed while another has it", func(t *testing.T) {
		hold(t, s, "kubectl", true, map[string]string{"a": "other"})
		now := hold(t, s, "umbel", false, map[string]string{"b": "2"})
		if diff := cmp.Diff(map[string]string{"a": "other", "b": "2"}, now.Data); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("what nobody has any more is removed", func(t *testing.T) {
		now := hold(t, s, "kubectl", false, nil)
		if diff := cmp.Diff(map[string]string{"b": "2"}, now.Data); diff != "" {
			t.Error(diff)
		}
		if now.UID != first.UID {
			t.Errorf("the uid became %s", now.UID)
		}
	})
	t.Run("a merge patch belongs to who sent it", func(t *testing.T) {
		_, err := configMaps(t, s).Patch(t.Context(), "web", types.MergePatchType, []byte(`{"data":{"b":"drift"}}`), metav1.PatchOptions{FieldManager: "kubectl-edit"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := applyAs(t, s, "umbel", false, nil, map[string]string{"b": "2"}); !apierrors.IsConflict(err) {
			t.Errorf("an apply over it: %v", err)
		}
	})
}

// hold applies data without labels, and fails where that does.
func hold(t *testing.T, s *Server, manager string, force Force, data map[string]string) *corev1.ConfigMap {
	t.Helper()
	o, err := applyAs(t, s, manager, force, nil, data)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestDelete(t *testing.T) {
	s := New(nil)
	o := hold(t, s, "umbel", false, nil)
	other := types.UID("another")
	client := configMaps(t, s)
	if err := client.Delete(t.Context(), "web", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &other}}); !apierrors.IsConflict(err) {
		t.Errorf("with another uid: %v", err)
	}
	if err := client.Delete(t.Context(), "web", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &o.UID}}); err != nil {
		t.Error(err)
	}
	if err := client.Delete(t.Context(), "web", metav1.DeleteOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("a second time: %v", err)
	}
}

func TestCreateAndReplace(t *testing.T) {
	client := configMaps(t, New(nil))
	o := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Data: map[string]string{"a": "1"}}
	if _, err := client.Update(t.Context(), o, metav1.UpdateOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("replacing what is not there: %v", err)
	}
	first, err := client.Create(t.Context(), o, metav1.CreateOptions{FieldManager: "umbel"})
	if err != nil || first.UID == "" || first.Data["a"] != "1" || len(first.ManagedFields) != 1 {
		t.Fatalf("created %+v, %v", first, err)
	}
	if _, err := client.Create(t.Context(), o, metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
		t.Errorf("creating it again: %v", err)
	}
	changed := first.DeepCopy()
	changed.Data = map[string]string{"b": "2"}
	second, err := client.Update(t.Context(), changed, metav1.UpdateOptions{FieldManager: "umbel"})
	if err != nil || second.UID != first.UID || second.Data["a"] != "" || second.Data["b"] != "2" {
		t.Errorf("replaced: %+v, %v", second, err)
	}
	if _, err := client.Update(t.Context(), first, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("replacing an older version: %v", err)
	}
}

func TestNamespaces(t *testing.T) {
	s := New(nil)
	client := clients(t, s)
	body := []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"web","namespace":"shop"}}`)
	options := metav1.PatchOptions{FieldManager: "umbel"}
	if _, err := client.CoreV1().ConfigMaps("shop").Patch(t.Context(), "web", types.ApplyPatchType, body, options); !apierrors.IsNotFound(err) {
		t.Errorf("in a namespace that is not there: %v", err)
	}
	namespace := []byte(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop"}}`)
	if _, err := client.CoreV1().Namespaces().Patch(t.Context(), "shop", types.ApplyPatchType, namespace, options); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().ConfigMaps("shop").Patch(t.Context(), "web", types.ApplyPatchType, body, options); err != nil {
		t.Fatal(err)
	}
	if err := client.CoreV1().Namespaces().Delete(t.Context(), "shop", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().ConfigMaps("shop").Get(t.Context(), "web", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("in a namespace that is gone: %v", err)
	}
}

func TestDiscoveryAndVersion(t *testing.T) {
	client := clients(t, New(nil))
	_, lists, err := client.Discovery().ServerGroupsAndResources()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, list := range lists {
		for _, r := range list.APIResources {
			got = append(got, fmt.Sprintf("%s %s namespaced=%v", list.GroupVersion, r.Name, r.Namespaced))
		}
	}
	slices.Sort(got) // the client asks for the groups side by side
	want := []string{
		"about.k8s.io/v1beta1 clusterproperties namespaced=false",
		"rbac.authorization.k8s.io/v1 roles namespaced=true", "v1 configmaps namespaced=true", "v1 namespaces namespaced=false",
		"v1 secrets namespaced=true", "v1 serviceaccounts namespaced=true", "v1 services namespaced=true",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if v, err := client.Discovery().ServerVersion(); err != nil || v.GitVersion != Version {
		t.Errorf("version %v, %v", v, err)
	}
}

// next returns the next event of a watch, as its type, data and label.
func next(t *testing.T, w watch.Interface) string {
	t.Helper()
	select {
	case e, open := <-w.ResultChan():
		if o, ok := e.Object.(*metav1.PartialObjectMetadata); ok && open {
			return fmt.Sprintf("%s %s %s", e.Type, o.Name, o.Labels["tier"])
		}
		return fmt.Sprintf("open=%v %s %v", open, e.Type, e.Object)
	case <-time.After(time.Minute):
		t.Fatal("nothing came in a minute")
		return ""
	}
}

// The typed clients of Kubernetes write protobuf.
func TestTypedClients(t *testing.T) {
	secrets := clients(t, New(nil)).CoreV1().Secrets(v1alpha1.AgentNamespace)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "keys"}, Data: map[string][]byte{"a.key": {0, 255}}}
	made, err := secrets.Create(t.Context(), secret, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	made.Data["b.key"] = []byte("b")
	if _, err = secrets.Update(t.Context(), made, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err = secrets.Update(t.Context(), made, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("an update of an earlier version: %v, want a conflict", err)
	}
	got, err := secrets.Get(t.Context(), "keys", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string][]byte{"a.key": {0, 255}, "b.key": []byte("b")}, got.Data); diff != "" || got.UID != made.UID {
		t.Errorf("UID %q, then %q\n%s", made.UID, got.UID, diff)
	}
}

func TestWatch(t *testing.T) {
	s := New(nil)
	client, err := metadata.NewForConfig(s.Config())
	if err != nil {
		t.Fatal(err)
	}
	label := func(tier string) { // a change of the label, and of nothing else
		if _, err := applyAs(t, s, "umbel", false, map[string]string{"tier": tier}, nil); err != nil {
			t.Fatal(err)
		}
	}
	label("gold")
	list, err := client.Resource(configMapsResource).List(t.Context(), metav1.ListOptions{LabelSelector: "tier=gold"})
	if err != nil || len(list.Items) != 1 {
		t.Fatalf("the list has %v, %v", list, err)
	}
	label("silver")
	label("gold")
	initial := true
	for _, c := range []struct {
		reason  string
		options metav1.ListOptions
		want    []string
	}{
		{"from a version: what happened since, as the selector sees it",
			metav1.ListOptions{ResourceVersion: list.ResourceVersion}, []string{"DELETED web silver", "ADDED web gold"}},
		{"with what is there, up to a bookmark",
			metav1.ListOptions{SendInitialEvents: &initial, AllowWatchBookmarks: true, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan},
			[]string{"ADDED web gold", "BOOKMARK  "}},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		c.options.LabelSelector = "tier=gold"
		w, err := client.Resource(configMapsResource).Watch(ctx, c.options)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range c.want {
			if got := next(t, w); got != want {
				t.Errorf("%s: got %q, want %q", c.reason, got, want)
			}
		}
		w.Stop()
		cancel()
	}
	s.store.mu.Lock()
	left := len(s.store.watchers)
	s.store.mu.Unlock()
	if left != 0 {
		t.Errorf("%d watchers are left", left)
	}
}

func TestWatchEnds(t *testing.T) {
	s := New(nil)
	client, err := metadata.NewForConfig(s.Config())
	if err != nil {
		t.Fatal(err)
	}
	second := int64(1)
	w, err := client.Resource(configMapsResource).Watch(t.Context(), metav1.ListOptions{TimeoutSeconds: &second})
	if err != nil {
		t.Fatal(err)
	}
	if got := next(t, w); got != "open=false  <nil>" {
		t.Errorf("after its time: %s", got)
	}
	for i := range 2 * remembered {
		hold(t, s, "umbel", false, map[string]string{"i": fmt.Sprint(i)})
	}
	if _, err = client.Resource(configMapsResource).Watch(t.Context(), metav1.ListOptions{ResourceVersion: "2"}); !apierrors.IsResourceExpired(err) {
		t.Errorf("from a version that is forgotten: %v", err)
	}
}
