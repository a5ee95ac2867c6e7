package apply

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/delivery/outgoing"
	"umbel.dev/umbel/internal/delivery/preview"
)

// sees is what somebody who may do everything sees that objects change, as `umbel plan` does.
func (s *station) sees(objects ...string) *wire.Policy {
	s.t.Helper()
	return s.seesUnder(nil, objects...)
}

// seesUnder is sees of a package that leaves something to others.
func (s *station) seesUnder(ignore []*wire.DriftIgnore, objects ...string) *wire.Policy {
	s.t.Helper()
	rules, err := outgoing.RulesOf(ignore)
	if err != nil {
		s.t.Fatal(err)
	}
	var entries []bundle.Entry
	for _, o := range objects {
		entries = append(entries, bundle.Entry{File: "a.yaml", Object: json.RawMessage(o)})
	}
	content, err := preview.Prepare("planned/web", entries)
	if err != nil {
		s.t.Fatal(err)
	}
	member, err := preview.Open(s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	found, err := member.Of(s.t.Context(), content.Under(rules))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, c := range found.Changes {
		if c.Problem != "" {
			s.t.Fatalf("a plan with a problem is not saved: %+v", c)
		}
	}
	return &wire.Policy{Planned: found.Hash(), PlannedDeletes: found.Deletes(), DriftIgnore: ignore}
}

// refuses waits until a release is refused, and looks at why.
func (s *station) refuses(release, why string) {
	s.t.Helper()
	if st := s.reaches("planned/web", release, wire.PackageStatus_FAILED); !strings.Contains(st.GetMessage(), why) {
		s.t.Errorf("it says %q, want %q in it", st.GetMessage(), why)
	}
}

// TestOnlyWhatIsPlanned: a release that needs a plan changes what somebody has seen, whatever is on the member by then. When
// that would be something else it writes nothing, and the release before goes on.
func TestOnlyWhatIsPlanned(t *testing.T) {
	s := newStation(t)
	s.start()
	a := func(value string) string { return s.configMap("a", map[string]string{"x": value}) }
	old := s.configMap("old", nil)

	first := s.release("planned/web", "one", a("1"), old)
	s.assign(treated(first, &wire.Policy{Planned: "none"}))
	s.refuses("one", "no plan says what it changes on this cluster, and `umbel plan web -n planned --release one --save` makes one")
	s.lacks("a")
	s.assign(treated(first, s.sees(a("1"), old)))
	s.reaches("planned/web", "one", wire.PackageStatus_APPLIED)

	// The world moves: somebody puts there what the release would add.
	second := s.release("planned/web", "two", a("2"), s.configMap("b", map[string]string{"x": "2"}))
	planned := s.sees(a("2"), s.configMap("b", map[string]string{"x": "2"}))
	theirs := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "b"}, Data: map[string]string{"y": "theirs"}}
	if _, err := s.client.CoreV1().ConfigMaps(s.namespace).Create(t.Context(), theirs, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	s.assign(treated(second, planned))
	s.refuses("two", "the cluster is not as it was when its plan was made, and it would change ConfigMap "+s.namespace+"/a, change ConfigMap "+s.namespace+"/b, delete ConfigMap")
	s.hasData("a", map[string]string{"x": "1"})
	s.remove("old") // of the release before, which goes on, also after a start
	s.eventually("old is back", func() error { _, err := s.getConfigMap("old"); return err })
	s.stop()
	s.start()
	s.refuses("two", "the cluster is not as it was")
	s.update("a", func(cm *corev1.ConfigMap) { cm.Data["x"] = "drifted" })
	s.hasData("a", map[string]string{"x": "1"})

	// Nor is it begun when it would delete what nobody has seen go.
	unseen := s.sees(a("2"), s.configMap("b", map[string]string{"x": "2"}))
	unseen.PlannedDeletes = nil
	s.assign(treated(second, unseen))
	s.refuses("two", "the cluster is not as it was")
	s.hasData("a", map[string]string{"x": "1"})

	// Somebody looks again.
	s.assign(treated(second, s.sees(a("2"), s.configMap("b", map[string]string{"x": "2"}))))
	s.reaches("planned/web", "two", wire.PackageStatus_APPLIED)
	s.hasData("b", map[string]string{"x": "2", "y": "theirs"})
	s.lacks("old")

	// What is applied is not planned again: neither a drift nor a start needs a plan.
	s.assign(treated(second, &wire.Policy{Planned: "none"}))
	s.update("a", func(cm *corev1.ConfigMap) { cm.Data["x"] = "drifted" })
	s.hasData("a", map[string]string{"x": "2"})
	s.stop()
	s.start()
	s.reaches("planned/web", "two", wire.PackageStatus_APPLIED)
}

// TestAPlanLeavesToOthersWhatTheAgentDoes: what is left to others is in no plan, so a release is begun whatever they do to it.
func TestAPlanLeavesToOthersWhatTheAgentDoes(t *testing.T) {
	s := newStation(t)
	s.start()
	ignore := []*wire.DriftIgnore{{Group: "apps", Kind: "Deployment", JsonPointers: []string{"/spec/replicas"}}}
	web := func(replicas int32, image string) string { return fmt.Sprintf(scalable, s.namespace, replicas, image) }
	s.assign(treated(s.release("planned/web", "one", web(3, "a")), s.seesUnder(ignore, web(3, "a"))))
	s.reaches("planned/web", "one", wire.PackageStatus_APPLIED)
	planned := s.seesUnder(ignore, web(4, "b"))
	s.scale("web", 7)
	s.assign(treated(s.release("planned/web", "two", web(4, "b")), planned))
	s.reaches("planned/web", "two", wire.PackageStatus_APPLIED)
	s.is("web", 7, "b")
}

// TestAPlanIsLookedAtOnce: a release that was begun goes on after a crash, though the member is not as it was any more: that
// was its own doing.
func TestAPlanIsLookedAtOnce(t *testing.T) {
	s := newStation(t)
	s.start()
	objects := []string{s.configMap("a", nil), s.configMap("b", nil)}
	stop := s.meddling(http.MethodPatch, "b", func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if strings.Contains(r.URL.RawQuery, "dryRun") {
			return next.RoundTrip(r)
		}
		return nil, http.ErrHandlerTimeout
	})
	s.assign(treated(s.release("planned/web", "one", objects...), s.sees(objects...)))
	s.eventually("half of it is there", func() error { _, err := s.getConfigMap("a"); return err })
	s.stop()
	stop()
	s.start()
	s.reaches("planned/web", "one", wire.PackageStatus_APPLIED)
	if _, err := s.getConfigMap("b"); err != nil {
		t.Error(err)
	}
}
