package apply

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/bundle"
)

func TestDriftIsPutBack(t *testing.T) {
	s := newStation(t)
	s.start()
	s.assign(s.release("shop/web", "one", s.configMap("a", map[string]string{"k": "1"}), s.configMap("b", map[string]string{"k": "2"})))
	s.reaches("shop/web", "one", wire.PackageStatus_APPLIED)
	s.offline.Store(true) // from here on there is no hub

	s.remove("a")
	s.hasData("a", map[string]string{"k": "1"})

	s.update("b", func(cm *corev1.ConfigMap) { cm.Data["k"] = "other" })
	s.hasData("b", map[string]string{"k": "2"})

	s.update("b", func(cm *corev1.ConfigMap) { delete(cm.Labels, "umbel.dev/package") })
	s.eventually("the label is back", func() error {
		if cm, err := s.getConfigMap("b"); err != nil || cm.Labels["umbel.dev/package"] != "shop.web" {
			return fmt.Errorf("labels %v, %v", cm.Labels, err)
		}
		return nil
	})

	before := s.writes.Load()
	s.update("a", func(cm *corev1.ConfigMap) { cm.Data["theirs"] = "stays" })
	s.update("b", func(cm *corev1.ConfigMap) { cm.Data["k"] = "again" })
	s.hasData("b", map[string]string{"k": "2"})
	s.hasData("a", map[string]string{"k": "1", "theirs": "stays"})
	if got := s.writes.Load() - before; got != 1 {
		t.Errorf("%d writes, want 1: a field that somebody else added is none of ours", got)
	}
	s.eventually("the status tells of 4 repairs, the last one of a change by kubectl-edit", func() error {
		if st := s.status("shop/web"); st.GetRepairs() != 4 || !strings.Contains(st.GetLastRepair().GetCause(), "kubectl-edit") {
			return fmt.Errorf("it is %v", st)
		}
		return nil
	})
}

func TestRestartWritesNothing(t *testing.T) {
	s := newStation(t)
	s.start()
	s.assign(s.release("shop/web", "one", s.configMap("a", map[string]string{"k": "1"}), s.configMap("b", map[string]string{"k": "2"})))
	s.reaches("shop/web", "one", wire.PackageStatus_APPLIED)
	s.stop()

	s.remove("a") // while nobody looks
	s.offline.Store(true)
	s.writes.Store(0)
	s.start()
	s.reaches("shop/web", "one", wire.PackageStatus_APPLIED)
	s.hasData("a", map[string]string{"k": "1"})
	if got := s.writes.Load(); got != 1 {
		t.Errorf("%d writes after a restart, want 1: only the object that was deleted", got)
	}
}

// TestRestartFindsWhatHappenedMeanwhile: packages of the same kinds are taken up one after another, while the watches
// of their kinds run already; nothing that happened in between may be missed, and everything is seen to be healthy.
func TestRestartFindsWhatHappenedMeanwhile(t *testing.T) {
	s := newStation(t)
	s.start()
	const packages, each = 5, 100
	var names []string
	for p := range packages {
		var objects []string
		for i := range each {
			objects = append(objects, s.configMap(fmt.Sprintf("p%d-%d", p, i), map[string]string{"k": "v"}))
		}
		names = append(names, fmt.Sprintf("shop/p%d", p))
		s.assign(s.release(names[p], "one", objects...))
	}
	for _, name := range names {
		s.reaches(name, "one", wire.PackageStatus_APPLIED)
	}
	s.stop()
	for p := range packages {
		s.remove(fmt.Sprintf("p%d-%d", p, p))
		s.update(fmt.Sprintf("p%d-%d", p, p+10), func(cm *corev1.ConfigMap) { cm.Data["k"] = "drift" })
	}
	s.writes.Store(0)
	s.start()
	for p := range packages {
		s.hasData(fmt.Sprintf("p%d-%d", p, p), map[string]string{"k": "v"})
		s.hasData(fmt.Sprintf("p%d-%d", p, p+10), map[string]string{"k": "v"})
	}
	for _, name := range names {
		s.eventually(name+" is whole and healthy", func() error {
			if st := s.status(name); st.GetHealthy() != each || st.GetApplied() != each || st.GetPhase() != wire.PackageStatus_APPLIED {
				return fmt.Errorf("it is %v", st)
			}
			return nil
		})
	}
	if got := s.writes.Load(); got != 2*packages {
		t.Errorf("%d writes after a restart, want %d: only what was deleted or changed", got, 2*packages)
	}
}

func TestReleaseChangesAndPrunes(t *testing.T) {
	s := newStation(t)
	s.start()
	s.assign(s.release("shop/web", "one", s.configMap("a", map[string]string{"k": "1"}), s.configMap("b", map[string]string{"k": "2"})))
	s.reaches("shop/web", "one", wire.PackageStatus_APPLIED)

	s.assign(s.release("shop/web", "two", s.configMap("b", map[string]string{"k": "3"}), s.configMap("c", map[string]string{"k": "4"})))
	s.reaches("shop/web", "two", wire.PackageStatus_APPLIED)
	s.lacks("a")
	s.hasData("b", map[string]string{"k": "3"})
	s.hasData("c", map[string]string{"k": "4"})

	s.update("b", func(cm *corev1.ConfigMap) { cm.Data["k"] = "drift" })
	s.assign(s.release("shop/web", "three", s.configMap("b", map[string]string{"k": "5"})))
	s.reaches("shop/web", "three", wire.PackageStatus_APPLIED)
	s.hasData("b", map[string]string{"k": "5"})
	s.lacks("c")

	if err := s.engine.Store(t.Context(), &wire.DesiredState{Remove: []string{"shop/web", "shop/never-heard-of"}}); err != nil {
		t.Fatal(err)
	}
	s.lacks("b")
	s.holdsNothing()
	if entries, err := os.ReadDir(filepath.Join(s.dir, "packages")); err != nil || len(entries) > 0 {
		t.Errorf("left on disk: %v, %v", entries, err)
	}
}

func TestNothingIsPrunedAfterAPartialApply(t *testing.T) {
	s := newStation(t)
	s.start()
	s.assign(s.release("shop/web", "one", s.configMap("a", nil), s.configMap("b", nil)))
	s.reaches("shop/web", "one", wire.PackageStatus_APPLIED)

	bad := strings.Replace(s.configMap("c", nil), `"data":null`, `"data":{"k":7}`, 1)
	s.assign(s.release("shop/web", "two", s.configMap("b", nil), bad))
	st := s.reaches("shop/web", "two", wire.PackageStatus_FAILED)
	if len(st.GetFailures()) != 1 || st.GetFailures()[0].GetFile() != "two/1.yaml" || !strings.Contains(st.GetFailures()[0].GetMessage(), ".data.k") {
		t.Errorf("the failure does not name file and field: %v", st)
	}
	if _, err := s.getConfigMap("a"); err != nil {
		t.Errorf("a was pruned although the release is not complete: %v", err)
	}
	s.assign(s.release("shop/web", "three", s.configMap("b", nil)))
	s.reaches("shop/web", "three", wire.PackageStatus_APPLIED)
	s.lacks("a")
}

// TestPruneFindsOurObjectUnderAnotherUID: a crash between making an object anew and writing that down leaves the uid of
// the one before in the inventory. What carries the package's label is ours all the same; what does not is not.
func TestPruneFindsOurObjectUnderAnotherUID(t *testing.T) {
	s := newStation(t)
	s.start()
	s.assign(s.release("shop/web", "one", s.configMap("a", nil), s.configMap("b", nil), s.configMap("c", nil)))
	s.reaches("shop/web", "one", wire.PackageStatus_APPLIED)
	s.stop()
	s.remove("a")
	ours := strings.Replace(s.configMap("a", nil), `"metadata":{`, `"metadata":{"labels":{"umbel.dev/package":"shop.web"},`, 1)
	_, err := s.client.CoreV1().ConfigMaps(s.namespace).Patch(t.Context(), "a", types.ApplyPatchType, []byte(ours), metav1.PatchOptions{FieldManager: v1alpha1.FieldManager})
	if err != nil {
		t.Fatal(err)
	}
	s.remove("b")
	again := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "b"}}
	if _, err := s.client.CoreV1().ConfigMaps(s.namespace).Create(t.Context(), again, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	d := s.folder("shop/web")
	o, err := d.ReadOrder()
	if err != nil {
		t.Fatal(err)
	}
	o.Removing = true
	if err := d.WriteOrder(o); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.lacks("a")
	s.lacks("c")
	s.holdsNothing()
	if _, err := s.getConfigMap("b"); err != nil {
		t.Errorf("somebody else's object of the same name was deleted: %v", err)
	}
}

// TestWhatWasThereBeforeStaysThroughRestarts: that an object was adopted must not be forgotten, whatever comes between.
func TestWhatWasThereBeforeStaysThroughRestarts(t *testing.T) {
	s := newStation(t)
	theirs := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Data: map[string]string{"more": "theirs"}}
	if _, err := s.client.CoreV1().ConfigMaps(s.namespace).Create(t.Context(), theirs, metav1.CreateOptions{FieldManager: "helm"}); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.assign(s.release("shop/web", "one", s.configMap("a", map[string]string{"k": "ours"})))
	s.reaches("shop/web", "one", wire.PackageStatus_APPLIED)
	bad := strings.Replace(s.configMap("c", nil), `"data":null`, `"data":{"k":7}`, 1)
	s.assign(s.release("shop/web", "two", s.configMap("a", map[string]string{"k": "ours"}), s.configMap("b", nil), bad))
	s.reaches("shop/web", "two", wire.PackageStatus_FAILED)
	s.stop()
	s.start()
	s.unassign("shop/web")
	s.lacks("b")
	s.hasData("a", map[string]string{"more": "theirs"})
}

func TestAnObjectHasOnePackage(t *testing.T) {
	s := newStation(t)
	s.start()
	s.assign(s.release("shop/first", "one", s.configMap("a", map[string]string{"by": "first"})))
	s.reaches("shop/first", "one", wire.PackageStatus_APPLIED)

	s.assign(s.release("shop/second", "one", s.configMap("a", map[string]string{"by": "second"}), s.configMap("own", nil)))
	st := s.reaches("shop/second", "one", wire.PackageStatus_FAILED)
	if len(st.GetFailures()) != 1 || !strings.Contains(st.GetFailures()[0].GetMessage(), "belongs to package shop/first") {
		t.Errorf("the second package does not say who holds the object: %v", st)
	}
	s.hasData("a", map[string]string{"by": "first"})
	before, _ := s.getConfigMap("a")

	s.assign(s.release("shop/first", "two", s.configMap("other", nil)))
	s.reaches("shop/first", "two", wire.PackageStatus_APPLIED)
	s.reaches("shop/second", "one", wire.PackageStatus_APPLIED)
	s.hasData("a", map[string]string{"by": "second"})
	if after, _ := s.getConfigMap("a"); after.UID != before.UID {
		t.Error("the object was deleted and made anew; it should have been handed over")
	}
}

func TestWhatWasThereBefore(t *testing.T) {
	s := newStation(t)
	theirs := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Data: map[string]string{"k": "theirs", "more": "theirs"}}
	if _, err := s.client.CoreV1().ConfigMaps(s.namespace).Create(t.Context(), theirs, metav1.CreateOptions{FieldManager: "helm"}); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.assign(s.release("shop/web", "one", s.configMap("a", map[string]string{"k": "ours"})))
	st := s.reaches("shop/web", "one", wire.PackageStatus_FAILED)
	if m := st.GetFailures()[0].GetMessage(); !strings.Contains(m, `.data.k`) || !strings.Contains(m, "helm") || !strings.Contains(m, "umbel.dev/take-over") {
		t.Errorf("the conflict does not name field, owner and the way out: %s", m)
	}
	s.hasData("a", map[string]string{"k": "theirs", "more": "theirs"})

	asked := strings.Replace(s.configMap("a", map[string]string{"k": "ours"}), `"metadata":{`, `"metadata":{"annotations":{"umbel.dev/take-over":"true"},`, 1)
	s.assign(s.release("shop/web", "two", asked))
	s.reaches("shop/web", "two", wire.PackageStatus_APPLIED)
	s.hasData("a", map[string]string{"k": "ours", "more": "theirs"})

	s.unassign("shop/web")
	s.hasData("a", map[string]string{"more": "theirs"})
	if cm, _ := s.getConfigMap("a"); cm.Labels["umbel.dev/package"] != "" {
		t.Error("an object that was there before keeps our label")
	}
}

const widgets = `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"widgets.%[1]s.test"},
"spec":{"group":"%[1]s.test","scope":"Namespaced","names":{"kind":"Widget","plural":"widgets"},"versions":[{"name":"v1","served":true,"storage":true,
"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","properties":{"size":{"type":"integer"}}}}}}}]}}`

func TestKindsAndTheirObjectsInOnePackage(t *testing.T) {
	s := newStation(t)
	s.start()
	widget := fmt.Sprintf(`{"apiVersion":"%[1]s.test/v1","kind":"Widget","metadata":{"name":"w","namespace":"%[1]s"},"spec":{"size":1}}`, s.namespace)
	s.assign(s.release("shop/widgets", "one", widget))
	st := s.reaches("shop/widgets", "one", wire.PackageStatus_FAILED)
	if m := st.GetFailures()[0].GetMessage(); !strings.Contains(m, "Widget") || !strings.Contains(m, "CustomResourceDefinition") {
		t.Errorf("an unknown kind is not explained: %s", m)
	}
	s.assign(s.release("shop/widgets", "two", fmt.Sprintf(widgets, s.namespace), widget))
	s.reaches("shop/widgets", "two", wire.PackageStatus_APPLIED)
	gvr := schema.GroupVersionResource{Group: s.namespace + ".test", Version: "v1", Resource: "widgets"}
	if err := s.dynamic.Resource(gvr).Namespace(s.namespace).Delete(t.Context(), "w", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	s.eventually("the widget is back", func() error {
		_, err := s.dynamic.Resource(gvr).Namespace(s.namespace).Get(t.Context(), "w", metav1.GetOptions{})
		return err
	})
	s.unassign("shop/widgets")
	s.holdsNothing()
}

func TestDamagedContentIsPulledAgain(t *testing.T) {
	s := newStation(t)
	s.start()
	a := s.release("shop/web", "one", s.configMap("a", map[string]string{"k": "1"}))
	s.assign(a)
	s.reaches("shop/web", "one", wire.PackageStatus_APPLIED)
	s.stop()

	s.damage("shop/web", a)
	s.offline.Store(true)
	s.start()
	st := s.reaches("shop/web", "one", wire.PackageStatus_FAILED)
	if !strings.Contains(st.GetMessage(), "the hub is away") {
		t.Errorf("the status does not say why: %v", st)
	}
	s.hasData("a", map[string]string{"k": "1"})
	s.offline.Store(false)
	s.reaches("shop/web", "one", wire.PackageStatus_APPLIED)
}

func TestRepairGoesOnWhileANewReleaseCannotBePulled(t *testing.T) {
	s := newStation(t)
	s.start()
	s.assign(s.release("shop/web", "one", s.configMap("a", map[string]string{"k": "1"})))
	s.reaches("shop/web", "one", wire.PackageStatus_APPLIED)
	s.offline.Store(true)
	s.assign(s.release("shop/web", "two", s.configMap("a", map[string]string{"k": "2"})))
	s.reaches("shop/web", "two", wire.PackageStatus_FAILED)
	s.remove("a")
	s.hasData("a", map[string]string{"k": "1"})
	s.stop()
	s.start() // also after a restart
	s.remove("a")
	s.hasData("a", map[string]string{"k": "1"})
	s.offline.Store(false)
	s.reaches("shop/web", "two", wire.PackageStatus_APPLIED)
	s.hasData("a", map[string]string{"k": "2"})
}

func TestAFightIsNotAHotLoop(t *testing.T) {
	s := newStation(t)
	s.start()
	s.assign(s.release("shop/web", "one", s.configMap("a", map[string]string{"k": "ours"}), s.configMap("b", nil)))
	s.reaches("shop/web", "one", wire.PackageStatus_APPLIED)
	s.writes.Store(0)
	patch, began := []byte(`{"data":{"k":"theirs"}}`), time.Now()
	var took time.Duration
	s.eventually("the status names the rival, after 3 s or more", func() error { // a controller that wants something else, as fast as it can
		_, err := s.client.CoreV1().ConfigMaps(s.namespace).Patch(t.Context(), "a", types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "rival"})
		if err != nil {
			t.Fatal(err)
		}
		st := s.status("shop/web")
		if took = time.Since(began); took < 3*time.Second || len(st.GetFailures()) != 1 || !strings.Contains(st.GetFailures()[0].GetMessage(), "rival") {
			return fmt.Errorf("after %s it is %v", took, st)
		}
		return nil
	})
	// The pauses are a second and more.
	if got := s.writes.Load(); got < fightBurst || got > fightBurst+1+int64(took.Seconds()) {
		t.Errorf("%d repairs in %s, want the burst of %d and two or three with growing pauses", got, took, fightBurst)
	}
	s.remove("b") // the other object is repaired at full speed
	s.hasData("b", nil)
}

// TestADamagedNewReleaseDoesNotStopRepair: what was applied last is kept up, whatever became of what comes next.
func TestADamagedNewReleaseDoesNotStopRepair(t *testing.T) {
	s := newStation(t)
	s.start()
	s.assign(s.release("shop/web", "one", s.configMap("a", map[string]string{"k": "1"})))
	s.reaches("shop/web", "one", wire.PackageStatus_APPLIED)
	bad := strings.Replace(s.configMap("c", nil), `"data":null`, `"data":{"k":7}`, 1)
	two := s.release("shop/web", "two", s.configMap("a", map[string]string{"k": "1"}), bad)
	s.assign(two)
	s.reaches("shop/web", "two", wire.PackageStatus_FAILED)
	s.stop()
	s.damage("shop/web", two)
	s.remove("a")
	s.offline.Store(true)
	s.start()
	s.hasData("a", map[string]string{"k": "1"})
}

// TestTheMembersStoreGoesBack: after a restore from a backup the versions of objects begin anew at older ones. Nobody may
// take what is seen then for old news.
func TestTheMembersStoreGoesBack(t *testing.T) {
	s := newStation(t)
	s.start()
	s.assign(s.release("shop/web", "one", s.configMap("a", map[string]string{"k": "1"})))
	s.reaches("shop/web", "one", wire.PackageStatus_APPLIED)
	watch := s.engine.watches.of(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"})
	s.remove("a")
	s.hasData("a", map[string]string{"k": "1"})
	s.eventually("it was put back", func() error { // and not only sent
		if n := s.status("shop/web").GetRepairs(); n != 1 {
			return fmt.Errorf("%d repairs", n)
		}
		return nil
	})
	// An event of the store before would be one of the future: when the last one has come, so have those before it.
	last := bundle.Key{Kind: "ConfigMap", Namespace: s.namespace, Name: "last"}
	s.createConfigMap(strings.Replace(s.configMap(last.Name, nil), `"metadata":{`, `"metadata":{"labels":{"umbel.dev/package":"nobody.here"},`, 1))
	s.eventually("the last event has come", func() error {
		watch.mu.Lock()
		defer watch.mu.Unlock()
		if _, seen := watch.unclaimed[last]; !seen {
			return errors.New("not yet")
		}
		return nil
	})
	writes := s.writes.Load()
	if err := watch.Replace(nil, "1"); err != nil { // the first list after the restore: the object is not on it
		t.Fatal(err)
	}
	s.eventually("the object is applied again", func() error {
		if s.writes.Load() == writes {
			return errors.New("nothing was written")
		}
		return nil
	})
}
