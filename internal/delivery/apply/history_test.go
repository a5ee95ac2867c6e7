package apply

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
)

// past is what the history tells of an object, by its name, the earliest first.
func (s *station) past(name string) (all []v1alpha1.HistoryEntry) {
	s.t.Helper()
	err := s.engine.History(s.t.Context(), time.Time{}, func(entry v1alpha1.HistoryEntry) error {
		if strings.HasSuffix(entry.Object, "/"+name) {
			all = append(all, entry)
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// tells waits until the history tells of an object.
func (s *station) tells(name string) v1alpha1.HistoryEntry {
	s.t.Helper()
	var all []v1alpha1.HistoryEntry
	s.eventually("the history tells of "+name, func() error {
		if all = s.past(name); len(all) == 0 {
			return fmt.Errorf("nothing of %s yet", name)
		}
		return nil
	})
	return all[len(all)-1]
}

// TestWhatHappenedIsKnownAfterAStart: all of it, more than a status has room for, with fields and field managers; what a release
// deleted, each object with its name; and no value of a Secret.
func TestWhatHappenedIsKnownAfterAStart(t *testing.T) {
	s := newStation(t)
	const count, secret = 14, "dont-tell-anybody"
	objects := []string{
		annotated(s.configMap("left", map[string]string{"x": "1"}), v1alpha1.DriftAnnotation, "report"),
		fmt.Sprintf(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"key","namespace":%q},"stringData":{"password":"from-the-source"}}`, s.namespace),
	}
	var goes []string
	for i := range count {
		name := fmt.Sprintf("o-%02d", i)
		goes = append(goes, name)
		objects = append(objects, s.configMap(name, map[string]string{"x": "1"}))
	}
	s.start()
	all := &wire.Policy{DeleteBudget: &wire.Budget{Limit: &wire.Budget_Percent{Percent: 100}}}
	s.assign(under(s.release("shop/web", "r1", objects...), all, "all"))
	s.reaches("shop/web", "r1", wire.PackageStatus_APPLIED)
	for _, name := range goes {
		s.update(name, func(cm *corev1.ConfigMap) { cm.Data["x"] = "9" })
		s.hasData(name, map[string]string{"x": "1"})
	}
	s.update("left", func(cm *corev1.ConfigMap) { cm.Data["x"] = "9" })
	patch := []byte(fmt.Sprintf(`{"data":{"password":%q}}`, base64.StdEncoding.EncodeToString([]byte(secret))))
	if _, err := s.client.CoreV1().Secrets(s.namespace).Patch(t.Context(), "key", "application/merge-patch+json", patch, metav1.PatchOptions{FieldManager: "kubectl-edit"}); err != nil {
		t.Fatal(err)
	}
	s.remove("o-00")
	s.hasData("o-00", map[string]string{"x": "1"})
	s.eventually("the deletion is told", func() error {
		if got := s.past("o-00"); len(got) != 2 || !got[1].Deleted {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	s.assign(under(s.release("shop/web", "r2", objects[:2]...), all, "all"))
	s.reaches("shop/web", "r2", wire.PackageStatus_APPLIED)
	for name, want := range map[string]v1alpha1.Drift{
		"left": {Action: v1alpha1.DriftReported, By: "kubectl-edit", Fields: []string{"data.x"}},
		"key":  {Action: v1alpha1.DriftRepaired, By: "kubectl-edit", Fields: []string{"data.password"}},
	} {
		got := s.tells(name)
		if got.Package != "shop/web" || got.Action != want.Action || got.By != want.By || strings.Join(got.Fields, " ") != want.Fields[0] || got.Deleted {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
	deletion := s.engine.deletions.List()[0].ID

	s.stop()
	s.start()
	s.reaches("shop/web", "r2", wire.PackageStatus_APPLIED)
	if told := s.status("shop/web").GetDrifts(); len(told) > 1 {
		t.Errorf("after a start the status knows %v: there is nothing here to be remembered", told)
	}
	for i, name := range goes {
		got := s.past(name)
		want := 2
		if i == 0 {
			want = 3
		}
		if len(got) != want || got[0].Action != v1alpha1.DriftRepaired || got[0].By != "kubectl-edit" || strings.Join(got[0].Fields, " ") != "data.x" {
			t.Errorf("%s: got %+v", name, got)
			continue
		}
		end := got[want-1]
		if end.Action != v1alpha1.HistoryPruned || end.Release != "r2" || end.Cause != v1alpha1.DeletionWithinBudget || end.Deletion != deletion {
			t.Errorf("%s ends with %+v, want that r2 deleted it within the budget, as %s", name, end, deletion)
		}
	}
	s.eventually("what is left is found again", func() error {
		if st := s.status("shop/web"); st.GetDrifting() != 1 || len(st.GetDrifts()) != 1 {
			return fmt.Errorf("status: %v", st)
		}
		return nil
	})
	for _, name := range []string{"key", "left"} {
		if got := s.past(name); len(got) != 1 {
			t.Errorf("of %s there is %+v: what is found again after a start is no news", name, got)
		}
	}
	files, err := filepath.Glob(filepath.Join(s.dir, HistoryDir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, value := range []string{secret, "from-the-source"} {
			if bytes.Contains(raw, []byte(value)) || bytes.Contains(raw, []byte(base64.StdEncoding.EncodeToString([]byte(value)))) {
				t.Errorf("%s holds the value %q", file, value)
			}
		}
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info.Mode(), err)
		}
	}
}

// TestAHistoryTellsEachOnce: what the agent finds again when it is started is no news, also where nobody notes when it happened; what
// happens to an object that was put right meanwhile, without that being told, is.
func TestAHistoryTellsEachOnce(t *testing.T) {
	s := newStation(t)
	reported := func(name string, data map[string]string) string {
		return annotated(s.configMap(name, data), v1alpha1.DriftAnnotation, "report")
	}
	reports := func(name string, want int) (told []v1alpha1.HistoryEntry) {
		t.Helper()
		s.eventually("the history tells of "+name, func() error {
			if told = s.past(name); len(told) != want {
				return fmt.Errorf("there is %+v, want %d", told, want)
			}
			return nil
		})
		return told
	}
	s.start()
	shorter := reported("shorter", map[string]string{"x": "1", "y": "2"})
	s.assign(s.release("shop/web", "r1", shorter, reported("back", map[string]string{"x": "1"})))
	s.reaches("shop/web", "r1", wire.PackageStatus_APPLIED)
	s.update("shorter", func(cm *corev1.ConfigMap) { delete(cm.Data, "y") })
	s.remove("back")
	if first := reports("shorter", 1)[0]; first.Action != v1alpha1.DriftReported || strings.Join(first.Fields, " ") != "data.y" {
		t.Errorf("got %+v, want that data.y is gone", first)
	}
	first := reports("back", 1)[0]
	s.assign(s.release("shop/web", "r2", shorter, reported("back", map[string]string{"x": "2"})))
	s.reaches("shop/web", "r2", wire.PackageStatus_APPLIED)
	s.hasData("back", map[string]string{"x": "2"})

	s.stop()
	s.eventually("a second goes by", func() error {
		if now := time.Now(); now.Unix() <= first.Time.Unix() {
			return fmt.Errorf("it is %s", now)
		}
		return nil
	})
	s.start()
	s.eventually("what is left is found again", func() error {
		if st := s.status("shop/web"); st.GetDrifting() != 1 || len(st.GetDrifts()) != 1 {
			return fmt.Errorf("status: %v", st)
		}
		return nil
	})
	reports("shorter", 1)
	s.remove("back")
	if again := reports("back", 2)[1]; !again.Deleted || again.Action != v1alpha1.DriftReported {
		t.Errorf("got %+v, want that it was deleted again", again)
	}
}

// TestAHistoryThatCannotBeWritten stops nothing: drift is put back, and told in the status.
func TestAHistoryThatCannotBeWritten(t *testing.T) {
	s := newStation(t)
	if err := os.WriteFile(filepath.Join(s.dir, HistoryDir), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.assign(s.release("shop/web", "r1", s.configMap("a", map[string]string{"x": "1"})))
	s.reaches("shop/web", "r1", wire.PackageStatus_APPLIED)
	s.update("a", func(cm *corev1.ConfigMap) { cm.Data["x"] = "9" })
	s.hasData("a", map[string]string{"x": "1"})
	s.drifts("shop/web", func(d *wire.Drift) bool { return d.GetBy() == "kubectl-edit" })
	if err := s.engine.History(t.Context(), time.Time{}, func(v1alpha1.HistoryEntry) error { return nil }); err == nil {
		t.Error("a history that cannot be read looks like one of nothing")
	}
}
