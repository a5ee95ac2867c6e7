package apply

import (
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
)

// TestObjectsHaveTheLastWord of what becomes of them when they leave: by default what was there before stays, and what the package
// made goes; a label, in the source or on the member, says otherwise.
func TestObjectsHaveTheLastWord(t *testing.T) {
	for _, c := range []struct {
		reason string
		before bool   // it was there before the package
		word   string // of the object
		stays  bool
		data   map[string]string // of what stays
	}{
		{reason: "made here"},
		{reason: "made here, to be kept", word: v1alpha1.LeavingKeep, stays: true, data: map[string]string{"a": "1", "ours": "2"}},
		{reason: "made here, and nobody knows the word", word: "whatever"},
		{reason: "there before", before: true, stays: true, data: map[string]string{"a": "1"}},
		{reason: "there before, and given to us", before: true, word: v1alpha1.LeavingDelete},
		{reason: "there before, to be kept as it is", before: true, word: v1alpha1.LeavingKeep, stays: true, data: map[string]string{"a": "1", "ours": "2"}},
	} {
		for _, whole := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, whole package: %t", c.reason, whole), func(t *testing.T) {
				s := newStation(t)
				if c.before {
					theirs := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "thing"}, Data: map[string]string{"a": "1"}}
					if _, err := s.client.CoreV1().ConfigMaps(s.namespace).Create(t.Context(), theirs, metav1.CreateOptions{FieldManager: "helm"}); err != nil {
						t.Fatal(err)
					}
				}
				s.start()
				other := s.configMap("other", nil)
				s.assign(s.release("a/b", "one", s.configMap("thing", map[string]string{"a": "1", "ours": "2"}), other))
				s.reaches("a/b", "one", wire.PackageStatus_APPLIED)
				s.update("thing", func(cm *corev1.ConfigMap) {
					if c.word != "" {
						cm.Labels[v1alpha1.OnLeavingLabel], cm.Labels[v1alpha1.AdoptedFromLabel] = c.word, "helm.Update"
					}
				})
				uid := s.uid("thing")
				if whole {
					s.unassign("a/b")
					s.holdsNothing()
				} else {
					s.assign(s.release("a/b", "two", other))
					s.reaches("a/b", "two", wire.PackageStatus_APPLIED)
				}
				if !c.stays {
					s.lacks("thing")
					if all := s.deletions(); len(all) == 0 || !slices.ContainsFunc(all, func(d *wire.Deletion) bool { return slices.Contains(d.GetNames(), "ConfigMap "+s.namespace+"/thing") }) {
						t.Errorf("it is not in the journal: %v", all)
					}
					return
				}
				s.hasData("thing", c.data)
				left, err := s.getConfigMap("thing")
				if err != nil {
					t.Fatal(err)
				}
				if left.UID != uid || left.Labels[v1alpha1.PackageLabel] != "" {
					t.Errorf("it is %+v, and was %s", left.ObjectMeta, uid)
				}
				if c.word == v1alpha1.LeavingKeep && len(left.Labels) != 0 {
					t.Errorf("what Umbel noted is still there: %v", left.Labels)
				}
				for _, entry := range left.ManagedFields {
					if entry.Manager == v1alpha1.FieldManager {
						t.Errorf("it still has our entry: %v", entry)
					}
				}
			})
		}
	}
}
