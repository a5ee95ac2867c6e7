package apply

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/apply/disk"
)

// deletions are what the agent tells of its journal.
func (s *station) deletions() []*wire.Deletion { return s.engine.journal().GetItems() }

// lost waits for a deletion of a package that has ended, with so many objects.
func (s *station) lost(pkg string, objects int) *wire.Deletion {
	s.t.Helper()
	var found *wire.Deletion
	s.eventually(fmt.Sprintf("%d objects of %s are in the journal", objects, pkg), func() error {
		for _, d := range s.deletions() {
			if d.GetPackage() == pkg && int(d.GetObjects()) == objects {
				found = d
				return nil
			}
		}
		return fmt.Errorf("there is %v", s.deletions())
	})
	return found
}

// undoes asks for a deletion to be undone, and waits until it is.
func (s *station) undoes(id string) *wire.Undo {
	s.t.Helper()
	if err := s.engine.Store(s.t.Context(), &wire.DesiredState{Undo: []string{id}}); err != nil {
		s.t.Fatal(err)
	}
	return s.undone(id)
}

func (s *station) undone(id string) *wire.Undo {
	s.t.Helper()
	var undo *wire.Undo
	s.eventually("deletion "+id+" is undone", func() error {
		for _, d := range s.deletions() {
			if undo = d.GetUndo(); d.GetId() == id && undo.GetDone() {
				return nil
			}
		}
		return fmt.Errorf("there is %v", s.deletions())
	})
	return undo
}

var namespaced = map[string]schema.GroupVersionResource{
	"ConfigMap": {Version: "v1", Resource: "configmaps"}, "Secret": {Version: "v1", Resource: "secrets"},
	"Service": {Version: "v1", Resource: "services"}, "Deployment": {Group: "apps", Version: "v1", Resource: "deployments"},
	"Role": {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"},
}

// lookAt returns the objects of the namespace without what a new object has anew.
func (s *station) lookAt() map[string]map[string]any {
	s.t.Helper()
	found := map[string]map[string]any{}
	uids := map[types.UID]string{}
	for kind, gvr := range namespaced {
		list, err := s.dynamic.Resource(gvr).Namespace(s.namespace).List(s.t.Context(), metav1.ListOptions{LabelSelector: "umbel.dev/package"})
		if err != nil {
			s.t.Fatal(err)
		}
		for _, o := range list.Items {
			uids[o.GetUID()] = kind + "/" + o.GetName()
			found[kind+"/"+o.GetName()] = o.Object
		}
	}
	for _, o := range found {
		u := unstructured.Unstructured{Object: o}
		owners := u.GetOwnerReferences()
		for i := range owners {
			owners[i].UID = types.UID(uids[owners[i].UID])
		}
		u.SetOwnerReferences(owners)
		for _, field := range []string{"uid", "resourceVersion", "creationTimestamp", "generation"} {
			unstructured.RemoveNestedField(o, "metadata", field)
		}
		delete(o, "status")
	}
	return found
}

// TestUndo: what a release deleted is there again as it was, for everybody who looks, and stays.
func TestUndo(t *testing.T) {
	s := newStation(t)
	s.start()
	ns := s.namespace
	objects := append(s.objects(0, 3, "1"),
		fmt.Sprintf(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"token","namespace":%q},"stringData":{"password":"correct horse"}}`, ns),
		fmt.Sprintf(`{"apiVersion":"v1","kind":"Service","metadata":{"name":"web","namespace":%q,"labels":{"tier":"front"}},"spec":{"selector":{"app":"web"},"ports":[{"port":80}]}}`, ns),
		s.deployment("web"),
		fmt.Sprintf(`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"reader","namespace":%q},"rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}]}`, ns))
	s.assign(s.release("shop/web", "one", append(objects, s.configMap("stays", nil))...))
	s.reaches("shop/web", "one", wire.PackageStatus_APPLIED)
	// Others have had a hand in it: an annotation, a scale, an owner.
	s.update("o-00", func(cm *corev1.ConfigMap) { cm.Annotations = map[string]string{"note": "by somebody"} })
	owner := metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "o-02", UID: s.uid("o-02")}
	s.update("o-01", func(cm *corev1.ConfigMap) { cm.OwnerReferences = []metav1.OwnerReference{owner} })
	scale := []byte(`{"spec":{"replicas":3}}`)
	if _, err := s.client.AppsV1().Deployments(ns).Patch(t.Context(), "web", types.MergePatchType, scale, metav1.PatchOptions{FieldManager: "autoscaler"}); err != nil {
		t.Fatal(err)
	}
	before := s.lookAt()

	two := s.release("shop/web", "two", s.configMap("stays", nil))
	s.assign(two)
	d := s.lost("shop/web", len(objects))
	s.reaches("shop/web", "two", wire.PackageStatus_APPLIED)
	if got := len(s.lookAt()); got != 1 {
		t.Fatalf("%d objects are left, want 1", got)
	}
	if d.GetCause() != causeApproved || d.GetRelease() != "two" || d.GetApproval() != "test" {
		t.Errorf("the journal does not say why: %v", d)
	}
	if undo := s.undoes(d.GetId()); int(undo.GetBack()) != len(objects) || len(undo.GetLeft()) > 0 {
		t.Errorf("undone: %v", undo)
	}
	if diff := cmp.Diff(before, s.lookAt()); diff != "" {
		t.Errorf("not as they were (-before +after):\n%s", diff)
	}

	// The release that wants them gone does not take them again, nor does a restart or the next release.
	held := &wire.DeletesHeld{Objects: uint32(len(objects)), Holds: uint32(len(objects)) + 1, Allowed: 3, Kept: uint32(len(objects))}
	s.holdsBack("shop/web", "two", held)
	s.stop()
	s.start()
	s.holdsBack("shop/web", "two", held)
	three := careful(s.release("shop/web", "three", s.configMap("stays", map[string]string{"k": "3"})))
	s.assign(three)
	s.holdsBack("shop/web", "three", held)
	if diff := cmp.Diff(len(before), len(s.lookAt())); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	// A release that has some of them again has them as before: nothing is a conflict, and they are repaired.
	s.assign(careful(s.release("shop/web", "four", append(objects[:4], s.configMap("stays", nil))...)))
	held = &wire.DeletesHeld{Objects: 3, Holds: 8, Allowed: 3, Kept: 3}
	s.holdsBack("shop/web", "four", held)
	s.remove("o-00")
	s.hasData("o-00", map[string]string{"k": "1"})
	// And once somebody approves it, the rest goes.
	approved := approving("four", 3, 0)
	approved.DeleteApprovals[0].Id = "given after the undo"
	s.assign(under(s.release("shop/web", "four", append(objects[:4], s.configMap("stays", nil))...), approved, "approved"))
	s.holdsBack("shop/web", "four", nil)
	if got := len(s.lookAt()); got != 5 {
		t.Errorf("%d objects are left, want 5", got)
	}
}

// TestUndoOfARemoval: the package is not on the member any more, so the objects are nobody's, until it comes back.
func TestUndoOfARemoval(t *testing.T) {
	s := newStation(t)
	s.start()
	one := careful(s.release("shop/web", "one", s.objects(0, 10, "1")...))
	s.assign(one)
	s.reaches("shop/web", "one", wire.PackageStatus_APPLIED)
	s.unassign("shop/web")
	s.holdsNothing()
	d := s.lost("shop/web", 10)
	if d.GetCause() != causeRemoved || s.count() != 0 {
		t.Fatalf("%v, and %d objects are left", d, s.count())
	}
	s.stop()
	time.Sleep(2100 * time.Millisecond) // the API keeps times in whole seconds
	s.start()                           // the journal outlives the agent
	if undo := s.undoes(d.GetId()); undo.GetBack() != 10 {
		t.Errorf("undone: %v", undo)
	}
	if got := s.count(); got != 10 {
		t.Errorf("%d objects are back, want 10", got)
	}
	uid := s.uid("o-00")
	s.assign(one)
	s.reaches("shop/web", "one", wire.PackageStatus_APPLIED)
	if s.uid("o-00") != uid {
		t.Error("the object was made anew")
	}
	s.unassign("shop/web") // they are the package's again, to the end
	s.holdsNothing()
	if got := s.count(); got != 0 {
		t.Errorf("%d objects are left", got)
	}
}

// TestUndoLeavesWhatIsThere: an object that somebody made again, and one that another package has.
func TestUndoLeavesWhatIsThere(t *testing.T) {
	s := newStation(t)
	s.start()
	s.assign(s.release("shop/web", "one", s.objects(0, 4, "1")...))
	s.reaches("shop/web", "one", wire.PackageStatus_APPLIED)
	s.assign(s.release("shop/web", "two", s.objects(0, 1, "1")...))
	d := s.lost("shop/web", 3)
	s.reaches("shop/web", "two", wire.PackageStatus_APPLIED)
	theirs := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "o-01"}, Data: map[string]string{"k": "theirs"}}
	if _, err := s.client.CoreV1().ConfigMaps(s.namespace).Create(t.Context(), theirs, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	s.assign(s.release("shop/other", "one", s.objects(2, 3, "other")...))
	s.reaches("shop/other", "one", wire.PackageStatus_APPLIED)
	undo := s.undoes(d.GetId())
	if undo.GetBack() != 1 || len(undo.GetLeft()) != 2 || !strings.Contains(strings.Join(undo.GetLeft(), "\n"), "shop/other") {
		t.Errorf("undone: %v", undo)
	}
	s.hasData("o-01", map[string]string{"k": "theirs"})
	s.hasData("o-02", map[string]string{"k": "other"})
	s.hasData("o-03", map[string]string{"k": "1"})
	s.holdsBack("shop/web", "two", &wire.DeletesHeld{Objects: 1, Holds: 2, Allowed: 1, Kept: 1})
	s.unassign("shop/web")
	s.lacks("o-03")
	s.hasData("o-01", map[string]string{"k": "theirs"})
}

// TestNothingIsDeletedThatIsNotKept: a journal that cannot be written stops what it is for.
func TestNothingIsDeletedThatIsNotKept(t *testing.T) {
	s := newStation(t)
	s.start()
	s.assign(s.release("shop/web", "one", s.objects(0, 3, "1")...))
	s.reaches("shop/web", "one", wire.PackageStatus_APPLIED)
	journal := filepath.Join(s.dir, "deleted")
	if err := os.RemoveAll(journal); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(journal, []byte("a file is in the way"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.assign(s.release("shop/web", "two", s.objects(0, 1, "1")...))
	st := s.reaches("shop/web", "two", wire.PackageStatus_FAILED)
	if !strings.Contains(st.GetMessage(), "could not be kept") || s.count() != 3 {
		t.Errorf("%d objects are left of 3: %v", s.count(), st)
	}
	if err := os.Remove(journal); err != nil {
		t.Fatal(err)
	}
	s.reaches("shop/web", "two", wire.PackageStatus_APPLIED)
	if got := s.count(); got != 1 {
		t.Errorf("%d objects are left, want 1", got)
	}
}

// TestSecretsStayWithTheAgent: the journal has them whole, for its owner alone, and what is told of it has their names.
func TestSecretsStayWithTheAgent(t *testing.T) {
	s := newStation(t)
	s.start()
	secret := fmt.Sprintf(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"token","namespace":%q},"stringData":{"password":"correct horse"}}`, s.namespace)
	s.assign(s.release("shop/web", "one", secret, s.configMap("stays", nil)))
	s.reaches("shop/web", "one", wire.PackageStatus_APPLIED)
	s.assign(s.release("shop/web", "two", s.configMap("stays", nil)))
	d := s.lost("shop/web", 1)
	kept, err := s.engine.deletions.Read(d.GetId())
	if err != nil || len(kept) != 1 || !strings.Contains(string(kept[0].Object), "Y29ycmVjdCBob3JzZQ") {
		t.Fatalf("the journal has %v, %v", kept, err)
	}
	if told := s.engine.journal().String(); strings.Contains(told, "Y29ycmVjdCBob3JzZQ") || strings.Contains(told, "correct horse") {
		t.Errorf("the secret leaves the member: %s", told)
	}
	err = filepath.WalkDir(filepath.Join(s.dir, "deleted"), func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			return fmt.Errorf("%s can be read by others: %s", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestKilledWhileDeleting: whatever is gone from the member is in the journal, whenever the agent is killed; and it comes
// back, although the agent is killed while it brings it back.
func TestKilledWhileDeleting(t *testing.T) {
	s := newStation(t)
	writeKubeconfig(t, s.config, filepath.Join(s.dir, "kubeconfig"))
	const seed, count, rounds = 20261127, 120, 8
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	say := func(state *wire.DesiredState) {
		t.Helper()
		raw, err := json.Marshal(state)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.dir, "state.json"), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	one := s.release("shop/web", "one", s.objects(0, count, "1")...)
	two := s.release("shop/web", "two", s.objects(0, 1, "1")...)
	for _, a := range []*wire.Assignment{one, two} {
		if err := os.WriteFile(filepath.Join(s.dir, a.GetDigest()), s.blobs[a.GetDigest()], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.start()
	s.assign(one)
	s.reaches("shop/web", "one", wire.PackageStatus_APPLIED)
	s.stop()
	say(&wire.DesiredState{Assign: []*wire.Assignment{two}})
	for range rounds {
		killAfter(t, s.dir, time.Duration(60+random.IntN(240))*time.Millisecond)
		journal := disk.OpenDeletions(filepath.Join(s.dir, "deleted"), disk.DefaultLimits)
		kept := map[string]bool{}
		for _, d := range journal.List() {
			objects, err := journal.Read(d.ID)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range objects {
				kept[o.Key.Name] = true
			}
		}
		for i := range count {
			name := fmt.Sprintf("o-%02d", i)
			if _, err := s.getConfigMap(name); err != nil && !kept[name] {
				t.Fatalf("%s is gone, and not in the journal", name)
			}
		}
	}
	s.start()
	s.assign(two) // on a slow machine no process lived long enough to be told
	s.reaches("shop/web", "two", wire.PackageStatus_APPLIED)
	var ids []string
	for _, d := range s.deletions() {
		ids = append(ids, d.GetId())
	}
	s.stop()
	say(&wire.DesiredState{Assign: []*wire.Assignment{two}, Undo: ids})
	for range rounds / 2 {
		killAfter(t, s.dir, time.Duration(60+random.IntN(240))*time.Millisecond)
	}
	s.start()
	for _, id := range ids {
		s.undoes(id) // on a slow machine no process lived long enough to be told
	}
	s.eventually("everything is back, and whole", func() error {
		list, err := s.client.CoreV1().ConfigMaps(s.namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "umbel.dev/package"})
		if err != nil {
			return err
		}
		for _, cm := range list.Items {
			if cm.Annotations[v1alpha1.UndoAnnotation] != "" {
				return fmt.Errorf("%s is half restored", cm.Name)
			}
		}
		if len(list.Items) != count {
			return fmt.Errorf("%d objects, want %d", len(list.Items), count)
		}
		return nil
	})
	s.holdsBack("shop/web", "two", &wire.DeletesHeld{Objects: count - 1, Holds: count, Allowed: count / 10, Kept: count - 1})
}

// TestWhatIsStillGoing: an object that waits for a finalizer comes back when it is gone.
func TestWhatIsStillGoing(t *testing.T) {
	s := newStation(t)
	s.start()
	finalizer := fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"slow","namespace":%q,"finalizers":["example.com/wait"]},"data":{"k":"1"}}`, s.namespace)
	s.assign(s.release("shop/web", "one", finalizer, s.configMap("stays", nil)))
	s.reaches("shop/web", "one", wire.PackageStatus_APPLIED)
	s.assign(s.release("shop/web", "two", s.configMap("stays", nil)))
	d := s.lost("shop/web", 1)
	if err := s.engine.Store(t.Context(), &wire.DesiredState{Undo: []string{d.GetId()}}); err != nil {
		t.Fatal(err)
	}
	s.eventually("it says what it waits for", func() error {
		if undo := s.deletions()[0].GetUndo(); !strings.Contains(undo.GetWaits(), "still going") {
			return fmt.Errorf("%v", undo)
		}
		return nil
	})
	if _, err := s.client.CoreV1().ConfigMaps(s.namespace).Patch(t.Context(), "slow", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if undo := s.undone(d.GetId()); undo.GetBack() != 1 {
		t.Errorf("undone: %v", undo)
	}
	cm, err := s.getConfigMap("slow")
	if err != nil || len(cm.Finalizers) != 1 {
		t.Fatal(errors.Join(err, fmt.Errorf("it has finalizers %v", cm.Finalizers)))
	}
	if _, err := s.client.CoreV1().ConfigMaps(s.namespace).Patch(t.Context(), "slow", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}
