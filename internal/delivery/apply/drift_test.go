package apply

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/apply/member"
	"umbel.dev/umbel/internal/delivery/bundle"
)

// treated is the assignment with a policy, and what it may delete.
func treated(a *wire.Assignment, policy *wire.Policy) *wire.Assignment {
	policy = proto.CloneOf(policy)
	policy.DeleteApprovals = a.GetPolicy().GetDeleteApprovals()
	a = under(a, policy, policy.String())
	if policy.GetPlanned() != "" && a.GetContent() == nil {
		a.Content, a.Repository, a.Digest, a.Size = a.Where(), "", "", 0
	}
	return a
}

// annotated puts an annotation on a manifest.
func annotated(manifest, name, value string) string {
	var object map[string]any
	if err := json.Unmarshal([]byte(manifest), &object); err != nil {
		panic(err) // a manifest of a test
	}
	metadata := object["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	if annotations == nil {
		annotations = map[string]any{}
	}
	annotations[name] = value
	metadata["annotations"] = annotations
	raw, _ := json.Marshal(object)
	return string(raw)
}

// drifts waits until the status tells of a drift.
func (s *station) drifts(pkg string, is func(*wire.Drift) bool) *wire.Drift {
	s.t.Helper()
	var found *wire.Drift
	s.eventually("a drift is told", func() error {
		for _, d := range s.status(pkg).GetDrifts() {
			if is(d) {
				found = d
				return nil
			}
		}
		return fmt.Errorf("drifts: %v", s.status(pkg).GetDrifts())
	})
	return found
}

// TestWhoDriftedWhat: the status says which object, who, which fields, and that it was put back.
func TestWhoDriftedWhat(t *testing.T) {
	s := newStation(t)
	s.start()
	s.assign(s.release("shop/web", "r1", s.configMap("a", map[string]string{"x": "1", "y": "2"}), s.configMap("b", nil)))
	s.reaches("shop/web", "r1", wire.PackageStatus_APPLIED)
	s.update("a", func(cm *corev1.ConfigMap) { cm.Data["x"] = "9" })
	s.hasData("a", map[string]string{"x": "1", "y": "2"})
	d := s.drifts("shop/web", func(d *wire.Drift) bool { return strings.HasSuffix(d.GetObject(), "/a") })
	if d.GetBy() != "kubectl-edit" || strings.Join(d.GetFields(), " ") != "data.x" || d.GetAction() != wire.Drift_REPAIRED || d.GetDeleted() {
		t.Errorf("got %v, want data.x by kubectl-edit, repaired", d)
	}
	if ago := time.Since(time.Unix(d.GetTime(), 0)); ago > time.Minute || ago < -time.Minute {
		t.Errorf("it was %s ago", ago)
	}
	s.remove("b")
	d = s.drifts("shop/web", func(d *wire.Drift) bool { return d.GetDeleted() })
	if !strings.HasSuffix(d.GetObject(), "/b") || d.GetBy() != "" {
		t.Errorf("got %v, want the deletion of b by nobody knows whom", d)
	}
	s.update("a", func(cm *corev1.ConfigMap) { delete(cm.Data, "y") })
	s.drifts("shop/web", func(d *wire.Drift) bool {
		return strings.Join(d.GetFields(), " ") == "data.y" // who took a field away nobody notes
	})
}

// TestDriftIsLeftWhenItIsOnlyReported: by the package and by an annotation; until the policy says otherwise, also across
// a restart, and a release that changes the object has the last word.
func TestDriftIsLeftWhenItIsOnlyReported(t *testing.T) {
	s := newStation(t)
	report := &wire.Policy{DriftMode: wire.Policy_REPORT}
	s.start()
	first := s.release("shop/web", "r1", s.configMap("a", map[string]string{"x": "1"}), s.configMap("gone", nil),
		annotated(s.configMap("kept", map[string]string{"x": "1"}), "umbel.dev/drift", "repair"))
	s.assign(treated(first, report))
	s.reaches("shop/web", "r1", wire.PackageStatus_APPLIED)
	s.update("a", func(cm *corev1.ConfigMap) { cm.Data["x"] = "9" })
	s.remove("gone")
	s.update("kept", func(cm *corev1.ConfigMap) { cm.Data["x"] = "9" })
	s.hasData("kept", map[string]string{"x": "1"})
	left := func() {
		t.Helper()
		s.eventually("two objects drift and are left", func() error {
			if st := s.status("shop/web"); st.GetDrifting() != 2 || !strings.Contains(st.GetMessage(), "2 of 3 objects drifted") && st.GetHealthy() == st.GetObjects() {
				return fmt.Errorf("status: %v", st)
			}
			return nil
		})
		s.hasData("a", map[string]string{"x": "9"})
		s.lacks("gone")
	}
	left()
	d := s.drifts("shop/web", func(d *wire.Drift) bool { return d.GetAction() == wire.Drift_REPORTED && !d.GetDeleted() })
	if d.GetBy() != "kubectl-edit" || strings.Join(d.GetFields(), " ") != "data.x" {
		t.Errorf("got %v, want data.x by kubectl-edit", d)
	}
	s.stop()
	s.start()
	left()

	s.assign(treated(first, &wire.Policy{}))
	s.hasData("a", map[string]string{"x": "1"})
	s.hasData("gone", nil)

	s.assign(treated(first, report))
	s.eventually("the policy is taken up", func() error {
		if s.engine.roster.get("shop/web").rules.Load().left.Report {
			return nil
		}
		return errors.New("not yet")
	})
	s.reaches("shop/web", "r1", wire.PackageStatus_APPLIED)
	s.update("a", func(cm *corev1.ConfigMap) { cm.Data["x"] = "8" })
	s.eventually("it is left", func() error {
		if st := s.status("shop/web"); st.GetDrifting() != 1 {
			return fmt.Errorf("status: %v", st)
		}
		return nil
	})
	s.assign(treated(s.release("shop/web", "r2", s.configMap("a", map[string]string{"x": "2"})), report))
	s.reaches("shop/web", "r2", wire.PackageStatus_APPLIED)
	s.hasData("a", map[string]string{"x": "2"})
}

const scalable = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":%q},
	"spec":{"replicas":%d,"selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"web","image":%q}]}}}}`

func (s *station) scale(name string, replicas int32) {
	s.t.Helper()
	scale := &autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: s.namespace}, Spec: autoscalingv1.ScaleSpec{Replicas: replicas}}
	if _, err := s.client.AppsV1().Deployments(s.namespace).UpdateScale(s.t.Context(), name, scale, metav1.UpdateOptions{FieldManager: "autoscaler"}); err != nil {
		s.t.Fatal(err)
	}
}

// is waits until a Deployment has so many replicas of an image.
func (s *station) is(name string, replicas int32, image string) *appsv1.Deployment {
	s.t.Helper()
	var got *appsv1.Deployment
	s.eventually("Deployment "+name, func() (err error) {
		if got, err = s.client.AppsV1().Deployments(s.namespace).Get(s.t.Context(), name, metav1.GetOptions{}); err != nil {
			return err
		}
		if *got.Spec.Replicas != replicas || got.Spec.Template.Spec.Containers[0].Image != image {
			return fmt.Errorf("%d of %s", *got.Spec.Replicas, got.Spec.Template.Spec.Containers[0].Image)
		}
		return nil
	})
	return got
}

// TestFieldsThatAreLeftToOthers: they are set once; whoever changes them then is let alone, and so are they by a new release.
// What is not left to others is put back as ever, and an object that was deleted comes back with all of it.
func TestFieldsThatAreLeftToOthers(t *testing.T) {
	s := newStation(t)
	policy := &wire.Policy{DriftIgnore: []*wire.DriftIgnore{{Group: "apps", Kind: "Deployment", JsonPointers: []string{"/spec/replicas"}}}}
	s.start()
	first := treated(s.release("shop/web", "r1", fmt.Sprintf(scalable, s.namespace, 3, "a")), policy)
	s.assign(first)
	s.reaches("shop/web", "r1", wire.PackageStatus_APPLIED)
	s.is("web", 3, "a")
	s.scale("web", 7)
	deployments := s.client.AppsV1().Deployments(s.namespace)
	patch := []byte(`{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"theirs"}]}}}}`)
	if _, err := deployments.Patch(t.Context(), "web", types.StrategicMergePatchType, patch, metav1.PatchOptions{FieldManager: "kubectl-edit"}); err != nil {
		t.Fatal(err)
	}
	got := s.is("web", 7, "a")
	for _, entry := range got.ManagedFields {
		if entry.Manager == "umbel-agent" && strings.Contains(string(entry.FieldsV1.GetRawBytes()), "replicas") {
			t.Errorf("the agent still owns the replicas: %s", entry.FieldsV1.GetRawBytes())
		}
	}
	d := s.drifts("shop/web", func(*wire.Drift) bool { return true })
	if len(s.status("shop/web").GetDrifts()) != 1 || strings.Join(d.GetFields(), " ") != "spec.template.spec.containers[name=web].image" {
		t.Errorf("got %v, want the image alone", s.status("shop/web").GetDrifts())
	}
	s.assign(treated(s.release("shop/web", "r2", fmt.Sprintf(scalable, s.namespace, 4, "b")), policy))
	s.reaches("shop/web", "r2", wire.PackageStatus_APPLIED)
	s.is("web", 7, "b")

	if err := deployments.Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	s.is("web", 4, "b")
	s.scale("web", 5)
	s.stop()
	s.start()
	s.reaches("shop/web", "r2", wire.PackageStatus_APPLIED)
	s.is("web", 5, "b")
	s.unassign("shop/web")
	s.holdsNothing()
	s.eventually("what we made goes, whoever owns a field of it", func() error {
		if _, err := deployments.Get(t.Context(), "web", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is there: %v", err)
		}
		return nil
	})
}

// TestTheEchoOfARepairTellsNothing: what was found out of a drift stays when the repair itself is seen before it has answered, of an
// object of which fields are left to others as well. We have none of these, which is no drift of theirs.
func TestTheEchoOfARepairTellsNothing(t *testing.T) {
	s := newStation(t)
	policy := &wire.Policy{DriftIgnore: []*wire.DriftIgnore{{Group: "apps", Kind: "Deployment", JsonPointers: []string{"/spec/replicas"}}}}
	s.start()
	s.assign(treated(s.release("shop/web", "r1", fmt.Sprintf(scalable, s.namespace, 3, "a")), policy))
	s.reaches("shop/web", "r1", wire.PackageStatus_APPLIED)
	echo := s.is("web", 3, "a")
	r := s.engine.index.get(bundle.Key{Group: "apps", Kind: "Deployment", Namespace: s.namespace, Name: "web"})
	found := &clue{drift: &wire.Drift{Fields: []string{"spec.template.spec.containers[name=web].image"}, By: "kubectl-edit"}}
	r.mu.Lock()
	r.clue = found
	r.mu.Unlock()
	r.suspect(echo, member.Observe(echo), time.Now())
	if got := r.clueOf(time.Now()); got != found {
		t.Errorf("got %v, want what was found out before", got.drift)
	}
}

// TestAPolicyThatComesLater: a field that was ours is given up without being taken away.
func TestAPolicyThatComesLater(t *testing.T) {
	s := newStation(t)
	s.start()
	r := s.release("shop/web", "r1", fmt.Sprintf(scalable, s.namespace, 3, "a"))
	s.assign(r)
	s.reaches("shop/web", "r1", wire.PackageStatus_APPLIED)
	s.scale("web", 9)
	s.is("web", 3, "a") // an autoscaler would fight
	s.assign(treated(r, &wire.Policy{DriftIgnore: []*wire.DriftIgnore{{Kind: "Deployment", JsonPointers: []string{"/spec/replicas"}}}}))
	s.eventually("the replicas are nobody's", func() error {
		for _, entry := range s.is("web", 3, "a").ManagedFields {
			if entry.Manager == "umbel-agent" && strings.Contains(string(entry.FieldsV1.GetRawBytes()), "replicas") {
				return errors.New("the agent owns them")
			}
		}
		return nil
	})
	s.reaches("shop/web", "r1", wire.PackageStatus_APPLIED)
	repairs := s.status("shop/web").GetRepairs()
	s.scale("web", 9)
	s.createConfigMap(s.configMap("probe", nil))
	s.is("web", 9, "a")
	if now := s.status("shop/web").GetRepairs(); now != repairs {
		t.Errorf("%d repairs, there were %d", now, repairs)
	}
}

// createConfigMap writes an object that is nobody's: when it is there, so are the events before it.
func (s *station) createConfigMap(manifest string) {
	s.t.Helper()
	var cm corev1.ConfigMap
	if err := json.Unmarshal([]byte(manifest), &cm); err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.client.CoreV1().ConfigMaps(s.namespace).Create(s.t.Context(), &cm, metav1.CreateOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

// TestManagersThatAreLeftAlone: what they take stays theirs, across releases; what others take is put back.
func TestManagersThatAreLeftAlone(t *testing.T) {
	s := newStation(t)
	policy := &wire.Policy{DriftIgnore: []*wire.DriftIgnore{{Managers: []string{"autoscaler"}}}}
	s.start()
	s.assign(treated(s.release("shop/web", "r1", fmt.Sprintf(scalable, s.namespace, 3, "a")), policy))
	s.reaches("shop/web", "r1", wire.PackageStatus_APPLIED)
	s.scale("web", 8)
	s.createConfigMap(s.configMap("probe", nil))
	s.is("web", 8, "a")
	s.assign(treated(s.release("shop/web", "r2", fmt.Sprintf(scalable, s.namespace, 3, "b")), policy))
	s.reaches("shop/web", "r2", wire.PackageStatus_APPLIED)
	s.is("web", 8, "b")
	patch := []byte(`{"spec":{"replicas":2}}`)
	if _, err := s.client.AppsV1().Deployments(s.namespace).Patch(t.Context(), "web", types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "kubectl-edit"}); err != nil {
		t.Fatal(err)
	}
	s.assign(treated(s.release("shop/web", "r3", fmt.Sprintf(scalable, s.namespace, 4, "b")), policy))
	s.reaches("shop/web", "r3", wire.PackageStatus_APPLIED)
	s.is("web", 4, "b")
}

// TestAnObjectThatIsLeftToOthers: it is made when it is not there, and then nobody's, whatever a release says.
func TestAnObjectThatIsLeftToOthers(t *testing.T) {
	for annotation, value := range map[string]string{"umbel.dev/drift": "ignore", "client.lifecycle.config.k8s.io/mutation": "ignore"} {
		t.Run(annotation, func(t *testing.T) {
			s := newStation(t)
			s.start()
			s.assign(s.release("shop/web", "r1", annotated(s.configMap("a", map[string]string{"x": "1"}), annotation, value)))
			s.reaches("shop/web", "r1", wire.PackageStatus_APPLIED)
			s.hasData("a", map[string]string{"x": "1"})
			s.update("a", func(cm *corev1.ConfigMap) { cm.Data = map[string]string{"theirs": "2"} })
			s.assign(s.release("shop/web", "r2", annotated(s.configMap("a", map[string]string{"x": "3"}), annotation, value)))
			s.reaches("shop/web", "r2", wire.PackageStatus_APPLIED)
			s.hasData("a", map[string]string{"theirs": "2"})
			s.remove("a")
			s.hasData("a", map[string]string{"x": "3"})
			s.assign(s.release("shop/web", "r3", s.configMap("b", nil)))
			s.reaches("shop/web", "r3", wire.PackageStatus_APPLIED)
			s.lacks("a")
		})
	}
}

// TestAPointerIntoWhatIsOne: the API takes a selector as one, so a part of it cannot be left to others: that is said, with
// what can be.
func TestAPointerIntoWhatIsOne(t *testing.T) {
	s := newStation(t)
	s.start()
	s.assign(treated(s.release("shop/web", "r1", fmt.Sprintf(scalable, s.namespace, 3, "a")),
		&wire.Policy{DriftIgnore: []*wire.DriftIgnore{{JsonPointers: []string{"/spec/selector/matchLabels/app"}}}}))
	st := s.reaches("shop/web", "r1", wire.PackageStatus_FAILED)
	if len(st.GetFailures()) != 1 || !strings.Contains(st.GetFailures()[0].GetMessage(), "ignore /spec/selector") {
		t.Errorf("got %v, want what to ignore instead", st.GetFailures())
	}
}

// TestWhatAPolicyGetsWrongIsSaid, and the rest of it holds.
func TestWhatAPolicyGetsWrongIsSaid(t *testing.T) {
	s := newStation(t)
	s.start()
	s.assign(treated(s.release("shop/web", "r1", s.configMap("a", map[string]string{"x": "1"})), &wire.Policy{
		DriftMode: wire.Policy_REPORT, DriftIgnore: []*wire.DriftIgnore{{JsonPointers: []string{"/metadata/name"}}},
		Health: []*wire.HealthRule{{Group: "example.com", Kind: "Widget", Healthy: "self."}},
	}))
	st := s.reaches("shop/web", "r1", wire.PackageStatus_APPLIED)
	text := fmt.Sprint(st.GetFailures())
	for _, want := range []string{"spec.drift.ignore[0]", "/metadata/name", "spec.health of Widget.example.com"} {
		if !strings.Contains(text, want) {
			t.Errorf("got %s, want %q", text, want)
		}
	}
	s.update("a", func(cm *corev1.ConfigMap) { cm.Data["x"] = "9" })
	s.drifts("shop/web", func(d *wire.Drift) bool { return d.GetAction() == wire.Drift_REPORTED })
	s.hasData("a", map[string]string{"x": "9"})
}
