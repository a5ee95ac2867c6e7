package apply

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"

	"umbel.dev/umbel/api/wire"
)

// secret is a Secret whose values stand in its stringData, as people write it.
func (s *station) secret(name, stringData string) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":%q,"namespace":%q},"stringData":%s,"data":{"file":%q}}`,
		name, s.namespace, stringData, base64.StdEncoding.EncodeToString([]byte("marker-file")))
}

// values waits until a Secret has these.
func (s *station) values(name string, want map[string]string) {
	s.t.Helper()
	s.eventually("Secret "+name, func() error {
		got, err := s.client.CoreV1().Secrets(s.namespace).Get(s.t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		is := map[string]string{}
		for key, value := range got.Data {
			is[key] = string(value)
		}
		if diff := cmp.Diff(want, is); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
}

// TestTheStringDataOfASecret: the API server folds it into data, and what others do to it there is put back, whoever does it and
// however; what leaves it goes; and no value of it is told anywhere.
func TestTheStringDataOfASecret(t *testing.T) {
	s := newStation(t)
	var log strings.Builder
	s.log = &log
	s.start()
	s.assign(s.release("shop/web", "r1", s.secret("keys", `{"x":"marker-1","y":"marker-2"}`)))
	s.reaches("shop/web", "r1", wire.PackageStatus_APPLIED)
	want := map[string]string{"x": "marker-1", "y": "marker-2", "file": "marker-file"}
	s.values("keys", want)
	secrets := s.client.CoreV1().Secrets(s.namespace)
	edit := func(change func(*corev1.Secret)) {
		t.Helper()
		err := retry.RetryOnConflict(retry.DefaultRetry, func() error { // the engine may write it in between
			is, err := secrets.Get(t.Context(), "keys", metav1.GetOptions{})
			if err != nil {
				return err
			}
			change(is)
			_, err = secrets.Update(t.Context(), is, metav1.UpdateOptions{FieldManager: "kubectl-edit"})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	told := func(fields, by string) {
		t.Helper()
		s.drifts("shop/web", func(d *wire.Drift) bool {
			return strings.Join(d.GetFields(), " ") == fields && d.GetBy() == by && d.GetAction() == wire.Drift_REPAIRED
		})
	}
	edit(func(is *corev1.Secret) { is.Data["x"] = []byte("marker-theirs") })
	s.values("keys", want)
	told("data.x", "kubectl-edit")

	edit(func(is *corev1.Secret) { is.StringData = map[string]string{"y": "marker-theirs"} })
	s.values("keys", want)
	told("data.y", "kubectl-edit")

	edit(func(is *corev1.Secret) { delete(is.Data, "y") })
	s.values("keys", want)

	theirs := fmt.Sprintf(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"keys"},"data":{"x":%q}}`, base64.StdEncoding.EncodeToString([]byte("marker-theirs")))
	force := true
	if _, err := secrets.Patch(t.Context(), "keys", types.ApplyPatchType, []byte(theirs), metav1.PatchOptions{FieldManager: "another", Force: &force}); err != nil {
		t.Fatal(err)
	}
	s.values("keys", want)
	told("data.x", "another")

	edit(func(is *corev1.Secret) { is.Data["theirs"] = []byte("marker-5") }) // is nobody's business
	s.assign(s.release("shop/web", "r2", s.secret("keys", `{"x":"marker-3"}`)))
	s.reaches("shop/web", "r2", wire.PackageStatus_APPLIED)
	s.values("keys", map[string]string{"x": "marker-3", "file": "marker-file", "theirs": "marker-5"})

	s.assign(s.release("shop/web", "r3", s.secret("keys", `{"x":20260101777}`), s.configMap("beside", nil)))
	st := s.reaches("shop/web", "r3", wire.PackageStatus_FAILED)
	s.hasData("beside", nil)
	if failures := st.GetFailures(); len(failures) != 1 || !strings.Contains(failures[0].GetMessage(), "stringData.x: is not a string: put it in quotes") {
		t.Errorf("failures: %v", failures)
	}
	s.assign(s.release("shop/web", "r4", strings.Replace(s.secret("keys", `{}`), `"file":`, `"file":20260101777,"other":`, 1)))
	st = s.reaches("shop/web", "r4", wire.PackageStatus_FAILED)
	if len(st.GetFailures()) != 1 {
		t.Errorf("failures: %v", st.GetFailures())
	}
	s.stop()
	for _, where := range []string{s.status("shop/web").String(), st.String(), log.String()} {
		for _, value := range []string{"marker", "bWFya2Vy", "20260101777"} {
			if strings.Contains(where, value) {
				t.Errorf("%q is told: %s", value, where)
			}
		}
	}
}

// TestASecretThatWasThereBefore: by somebody who had what is in the source as data; the same values are no conflict.
func TestASecretThatWasThereBefore(t *testing.T) {
	s := newStation(t)
	there := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "keys"}, StringData: map[string]string{"x": "1", "file": "marker-file"}}
	if _, err := s.client.CoreV1().Secrets(s.namespace).Create(t.Context(), there, metav1.CreateOptions{FieldManager: "helm"}); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.assign(s.release("shop/web", "r1", s.secret("keys", `{"x":"1"}`)))
	s.reaches("shop/web", "r1", wire.PackageStatus_APPLIED)
	same := map[string]string{"x": "1", "file": "marker-file"}
	s.values("keys", same)

	s.assign(s.release("shop/web", "r2", s.secret("keys", `{"x":"2"}`)))
	st := s.reaches("shop/web", "r2", wire.PackageStatus_FAILED)
	if failures := st.GetFailures(); len(failures) != 1 || !strings.Contains(failures[0].GetMessage(), "field .data.x") || !strings.Contains(failures[0].GetMessage(), "helm") {
		t.Errorf("failures: %v", failures)
	}
	s.values("keys", maps.Clone(same))
}

// TestASecretOfAnEarlierAgent: one that sent stringData as it was written owned that, and nothing of data. The values are the agent's
// from its next apply on, without a conflict and without a change.
func TestASecretOfAnEarlierAgent(t *testing.T) {
	s := newStation(t)
	secrets := s.client.CoreV1().Secrets(s.namespace)
	before := strings.Replace(s.secret("keys", `{"x":"1","y":"2"}`), `"metadata":{`, `"metadata":{"labels":{"umbel.dev/package":"shop.web"},`, 1)
	was, err := secrets.Patch(t.Context(), "keys", types.ApplyPatchType, []byte(before), metav1.PatchOptions{FieldManager: "umbel-agent"})
	if err != nil {
		t.Fatal(err)
	}
	s.start()
	s.assign(s.release("shop/web", "r1", s.secret("keys", `{"x":"1","y":"2"}`)))
	s.reaches("shop/web", "r1", wire.PackageStatus_APPLIED)
	is, err := secrets.Get(t.Context(), "keys", metav1.GetOptions{})
	if err != nil || is.UID != was.UID {
		t.Fatalf("it is another one: %v, %v", is, err)
	}
	is.Data["x"] = []byte("theirs")
	if _, err := secrets.Update(t.Context(), is, metav1.UpdateOptions{FieldManager: "kubectl-edit"}); err != nil {
		t.Fatal(err)
	}
	s.values("keys", map[string]string{"x": "1", "y": "2", "file": "marker-file"})
	s.assign(s.release("shop/web", "r2", s.secret("keys", `{"x":"1"}`)))
	s.values("keys", map[string]string{"x": "1", "file": "marker-file"})
}
