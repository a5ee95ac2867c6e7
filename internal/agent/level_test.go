package agent

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/session"
)

func (f *fleet) stands(level v1alpha1.Level) {
	f.t.Helper()
	f.change(func(m *v1alpha1.MemberCluster) { m.Spec.Level = level })
	f.eventually("the agent goes so far", func() error {
		if raw, err := os.ReadFile(filepath.Join(f.dir, levelName)); err != nil || string(raw) != string(level) {
			return fmt.Errorf("it keeps %q, %v", raw, err)
		}
		return nil
	})
}

// TestALevelIsSetAndSetBack: a cluster that is observed keeps what it holds, unrepaired; so it does when its agent is
// started anew. Attached again, it is put right. The hub's own key does not write there either.
func TestALevelIsSetAndSetBack(t *testing.T) {
	f := newFleet(t)
	f.join()
	f.start()
	f.ready()
	f.stands(v1alpha1.LevelObserved)
	f.must(f.client.Delete(t.Context(), f.wanted.DeepCopy()))
	f.eventually("the drift is told", func() error {
		var member v1alpha1.MemberCluster
		f.must(f.client.Get(t.Context(), client.ObjectKey{Name: string(cluster)}, &member))
		if len(member.Status.Packages) != 1 || member.Status.Packages[0].Drifting != 1 || !slices.Contains(member.Status.AgentFeatures, wire.FeatureLevels) {
			return fmt.Errorf("it is %+v", member.Status)
		}
		return nil
	})
	f.kill()
	f.start()
	f.hears("level=INFO msg=\"in session with the hub\"")
	f.must(absent(f.object()))

	f.stands(v1alpha1.LevelAttached)
	f.eventually("it is put back", f.object)
	f.ready()

	f.stands(v1alpha1.LevelObserved)
	f.change(func(m *v1alpha1.MemberCluster) { m.Spec.DeletionPolicy = v1alpha1.DeletionPrune })
	f.leave()
	f.left()
	f.uninstalled()
	f.must(f.object()) // nothing was deleted there
}

// TestAClusterThatJoinsToBeObserved gets nothing, although this hub says what it is to hold, and says what it is, its properties too, of
// which it writes none.
func TestAClusterThatJoinsToBeObserved(t *testing.T) {
	f := newFleet(t)
	f.must(f.client.Create(t.Context(), &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: string(f.name)}, Spec: v1alpha1.MemberClusterSpec{Level: v1alpha1.LevelObserved}}))
	f.invite()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.AgentNamespace, Name: v1alpha1.AgeSecret}}
	f.must(client.IgnoreNotFound(f.client.Delete(t.Context(), secret.DeepCopy()))) // of a test before
	f.start()
	f.eventually("it says what it is", func() error {
		var member v1alpha1.MemberCluster
		f.must(f.client.Get(t.Context(), client.ObjectKey{Name: string(cluster)}, &member))
		named := slices.ContainsFunc(member.Status.Properties, func(p v1alpha1.MemberProperty) bool { return p.Value == string(cluster) })
		if !named || member.Status.KubernetesVersion == "" {
			return fmt.Errorf("it is %+v", member.Status)
		}
		return nil
	})
	f.hears("the cluster is observed: nothing is written there, so no package is taken")
	f.must(absent(f.object()))
	if err := f.client.Get(t.Context(), client.ObjectKeyFromObject(secret), secret); absent(err) != nil {
		t.Errorf("keys were made for what is not delivered there: %v", err)
	}
}

// TestHowFarAnAgentGoes by what it has on its disk, and by what a hub says.
func TestHowFarAnAgentGoes(t *testing.T) {
	const none = "no file"
	for _, c := range []struct {
		reason, file, said string
		holds              bool
		level              v1alpha1.Level // at its start
		known, anew        bool           // and whether the hub's word has it begin anew
		keeps              string
	}{
		{"a new agent waits for the hub's first word", none, "Attached", false, v1alpha1.LevelAttached, false, false, "Attached"},
		{"a new agent that is to observe", none, "Observed", false, v1alpha1.LevelAttached, false, true, "Observed"},
		{"a new agent, and a hub of before", none, "", false, v1alpha1.LevelAttached, false, false, none},
		{"an agent that was there before levels goes on", none, "Attached", true, v1alpha1.LevelAttached, true, false, none},
		{"it is to observe", none, "Observed", true, v1alpha1.LevelAttached, true, true, "Observed"},
		{"attached", "Attached\n", "Attached", true, v1alpha1.LevelAttached, true, false, "Attached\n"},
		{"attached again", "Observed", "Attached", true, v1alpha1.LevelObserved, true, true, "Attached"},
		{"a hub of before does not have it write", "Observed", "", true, v1alpha1.LevelObserved, true, false, "Observed"},
		{"an empty file", "", "Observed", true, v1alpha1.LevelObserved, true, false, ""},
		{"a level of a later version", "Attached", "Everything", true, v1alpha1.LevelAttached, true, true, "Observed"},
	} {
		o := Options{Dir: t.TempDir(), Log: (&fleet{t: t}).log()}
		file := filepath.Join(o.Dir, levelName)
		if c.file != none {
			if err := os.WriteFile(file, []byte(c.file), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if c.holds {
			if err := os.MkdirAll(filepath.Join(o.Dir, packagesDir, "some"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		m := &membership{Options: o, stands: o.stance()}
		if m.stands.level != c.level || m.stands.isKnown() != c.known {
			t.Errorf("%s: it is %s, and that is known: %v", c.reason, m.stands.level, m.stands.isKnown())
		}
		if err := m.stand(c.said); errors.Is(err, session.ErrOtherLevel) != c.anew || !c.anew && (err != nil || !m.stands.isKnown()) {
			t.Errorf("%s: the hub's word has it say %v", c.reason, err)
		}
		raw, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			raw = []byte(none)
		}
		if string(raw) != c.keeps {
			t.Errorf("%s: it keeps %q", c.reason, raw)
		}
	}
}

// nothing is an API server that nobody is to reach.
type nothing struct{ t *testing.T }

func (n nothing) RoundTrip(r *http.Request) (*http.Response, error) {
	n.t.Errorf("%s %s got through", r.Method, r.URL)
	return nil, http.ErrAbortHandler
}

func TestNothingIsWrittenByTheWayToRead(t *testing.T) {
	for _, method := range []string{http.MethodPost, http.MethodPatch, http.MethodPut, http.MethodDelete} {
		r, err := http.NewRequestWithContext(t.Context(), method, "https://192.0.2.1/api/v1/namespaces/shop/configmaps/a", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := (reading{nothing{t}}).RoundTrip(r); err == nil {
			t.Errorf("%s is done", method)
		}
	}
}
