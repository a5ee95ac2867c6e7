package upgrade

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"umbel.dev/umbel/api/v1alpha1"
)

const (
	old  = "v0.1.0-aaaaaaaaaaaa"
	next = "v0.2.0-bbbbbbbbbbbb"
	hubs = "hub:7443/umbel/agent"
)

var start = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// scene is a fleet and its upgrade, and a clock.
type scene struct {
	t       *testing.T
	now     time.Time
	upgrade v1alpha1.AgentUpgrade
	members []v1alpha1.MemberCluster
}

func newScene(t *testing.T, clusters int) *scene {
	s := &scene{t: t, now: start}
	s.upgrade.Generation = 1
	s.upgrade.Spec = v1alpha1.AgentUpgradeSpec{
		Build: next, Canary: 1, Wave: intstr.FromString("40%"), Bake: metav1.Duration{Duration: time.Minute}, Intent: v1alpha1.UpgradeRun,
	}
	for i := range clusters {
		m := v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("c%d", i+1)}}
		m.Status.AgentVersion = "v0.1.0"
		m.Status.Agent = &v1alpha1.MemberAgent{Build: old, Image: hubs + ":" + old, Since: metav1.NewTime(start)}
		s.members = append(s.members, m)
		s.connected(m.Name, metav1.ConditionTrue, v1alpha1.ReasonProbeAnswered)
	}
	return s
}

func (s *scene) member(name string) *v1alpha1.MemberCluster {
	for i := range s.members {
		if s.members[i].Name == name {
			return &s.members[i]
		}
	}
	s.t.Fatalf("there is no %s", name)
	return nil
}

func (s *scene) connected(name string, status metav1.ConditionStatus, reason string) {
	m := s.member(name)
	meta.RemoveStatusCondition(&m.Status.Conditions, v1alpha1.ConditionConnected)
	meta.SetStatusCondition(&m.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionConnected, Status: status, Reason: reason, LastTransitionTime: metav1.NewTime(s.now),
	})
}

// arrives has an agent come back as the build that it was told.
func (s *scene) arrives(names ...string) {
	for _, name := range names {
		m := s.member(name)
		m.Status.Agent.Build, m.Status.Agent.Since = m.Spec.Agent.Build, metav1.NewTime(s.now)
		s.connected(name, metav1.ConditionTrue, v1alpha1.ReasonProbeAnswered)
	}
}

func (s *scene) says(name string, phase v1alpha1.UpgradePhase) {
	m := s.member(name)
	m.Status.Agent.Upgrade = &v1alpha1.MemberUpgrade{Build: m.Spec.Agent.Build, Attempt: m.Spec.Agent.Attempt, Phase: phase, Message: "because"}
}

// expect carries out what Next decides, and checks who was told, and the reason of Ready.
func (s *scene) expect(why string, told string, reason string) {
	s.t.Helper()
	s.expectOf(why, s.next(), told, reason)
}

func (s *scene) next() Decision {
	d := Next(&s.upgrade, Seen{Clusters: s.members, Repository: hubs, HubVersion: "v0.2.0"}, s.now)
	s.upgrade.Status = d.Status
	for _, order := range d.Orders {
		s.member(string(order.Cluster)).Spec.Agent = order.Program
	}
	return d
}

func (s *scene) expectOf(why string, d Decision, told, reason string) {
	s.t.Helper()
	var names []string
	for _, order := range d.Orders {
		name := string(order.Cluster)
		if order.Program == nil {
			name = "-" + name
		}
		names = append(names, name)
	}
	if got := strings.Join(names, " "); got != told {
		s.t.Errorf("%s: told %q, want %q", why, got, told)
	}
	for _, kind := range []string{v1alpha1.ConditionAdvancing, v1alpha1.ConditionUpgraded} {
		c := meta.FindStatusCondition(d.Status.Conditions, kind)
		if c.Status != metav1.ConditionTrue || kind == v1alpha1.ConditionUpgraded {
			if c.Reason != reason {
				s.t.Errorf("%s: %s: %s, want %s", why, c.Reason, c.Message, reason)
			}
			return
		}
	}
}

func TestWaves(t *testing.T) {
	s := newScene(t, 6)
	s.expect("the canary is first", "c1", v1alpha1.ReasonUpgrading)
	s.expect("and alone", "", v1alpha1.ReasonUpgrading)
	s.says("c1", v1alpha1.UpgradeSwitching)
	s.now = s.now.Add(10 * time.Second)
	s.connected("c1", metav1.ConditionUnknown, v1alpha1.ReasonSessionClosed)
	d := s.next()
	s.expectOf("while it is gone it may come back", d, "", v1alpha1.ReasonUpgrading)
	if d.Again != returnWithin {
		t.Errorf("it is looked at again in %s, want %s", d.Again, returnWithin)
	}
	s.now = s.now.Add(10 * time.Second)
	s.arrives("c1")
	d = s.next()
	s.expectOf("it has to be well for a while", d, "", v1alpha1.ReasonBaking)
	if d.Again != time.Minute {
		t.Errorf("it is looked at again in %s, want a minute", d.Again)
	}
	s.now = s.now.Add(time.Minute)
	s.connected("c3", metav1.ConditionUnknown, v1alpha1.ReasonProbeTimeout)
	s.expect("40% of 6 are 3, and who is offline has no part in it", "c2 c4 c5", v1alpha1.ReasonUpgrading)
	s.arrives("c2", "c4")
	s.expect("a wave waits for its last", "", v1alpha1.ReasonUpgrading)
	s.arrives("c5")
	s.now = s.now.Add(time.Minute)
	s.expect("the last", "c6", v1alpha1.ReasonUpgrading)
	s.arrives("c6")
	s.expect("who is offline holds up nothing", "", v1alpha1.ReasonUpgradeDone)
	s.now = s.now.Add(24 * time.Hour)
	s.connected("c3", metav1.ConditionTrue, v1alpha1.ReasonProbeAnswered)
	s.expect("and catches up", "c3", v1alpha1.ReasonUpgrading)
	s.arrives("c3")
	s.expect("all of them", "", v1alpha1.ReasonUpgradeDone)
	s.now = s.now.Add(24 * time.Hour)
	s.connected("c2", metav1.ConditionUnknown, v1alpha1.ReasonProbeTimeout)
	s.now = s.now.Add(time.Hour)
	s.expect("who goes offline long after has not failed", "", v1alpha1.ReasonUpgradeDone)
	if got := s.upgrade.Status; got.Done != 5 || got.Offline != 1 || got.Selected != 6 || got.Wave != 4 {
		t.Errorf("counted %+v", got)
	}
}

func TestAFailureStops(t *testing.T) {
	for _, c := range []struct {
		reason string
		fail   func(*scene)
		words  string
	}{
		{"the rehearsal failed", func(s *scene) { s.says("c1", v1alpha1.UpgradeFailed) }, "Failed: because"},
		{"it was rolled back", func(s *scene) { s.says("c1", v1alpha1.UpgradeRolledBack) }, "RolledBack: because"},
		{"it does not come back", func(s *scene) {
			s.connected("c1", metav1.ConditionUnknown, v1alpha1.ReasonSessionClosed)
			s.now = s.now.Add(returnWithin)
		}, "not come back"},
		{"it is there and says nothing", func(s *scene) { s.now = s.now.Add(wordWithin) }, "has said nothing of it"},
		{"it was away, and says nothing since it is back", func(s *scene) {
			s.connected("c1", metav1.ConditionUnknown, v1alpha1.ReasonSessionClosed)
			s.now = s.now.Add(returnWithin - time.Second)
			s.connected("c1", metav1.ConditionTrue, v1alpha1.ReasonProbeAnswered)
			s.expect("it may speak yet", "", v1alpha1.ReasonUpgrading)
			s.now = s.now.Add(wordWithin)
		}, "has said nothing of it"},
		{"it came, and was lost while it had to be well", func(s *scene) {
			s.arrives("c1")
			s.now = s.now.Add(30 * time.Second)
			s.connected("c1", metav1.ConditionUnknown, v1alpha1.ReasonSessionClosed)
			s.now = s.now.Add(returnWithin)
		}, "not come back"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			s := newScene(t, 3)
			s.expect("the canary", "c1", v1alpha1.ReasonUpgrading)
			c.fail(s)
			s.expect("it stops", "", v1alpha1.ReasonStopped)
			first := s.upgrade.Status.Clusters[0]
			if first.Name != "c1" || first.Step != v1alpha1.StepFailed || !strings.Contains(first.Message, c.words) {
				t.Errorf("first in the list is %+v, want c1 and %q", first, c.words)
			}
			s.now = s.now.Add(time.Hour)
			s.expect("for as long as it takes", "", v1alpha1.ReasonStopped)

			s.upgrade.Spec.Attempt, s.upgrade.Generation = 1, 2
			s.connected("c1", metav1.ConditionTrue, v1alpha1.ReasonProbeAnswered)
			s.member("c1").Status.Agent.Build = old
			s.expect("another attempt begins with the canary", "c1", v1alpha1.ReasonUpgrading)
			s.expect("what the agent says of the attempt before says nothing of this one", "", v1alpha1.ReasonUpgrading)
			s.arrives("c1")
			s.now = s.now.Add(time.Minute)
			s.expect("and goes on", "c2 c3", v1alpha1.ReasonUpgrading)
		})
	}
}

// A cluster that is kept out by a decision is away, and has not failed.
func TestOneThatIsSuspendedWhileItChanges(t *testing.T) {
	s := newScene(t, 3)
	s.expect("the canary", "c1", v1alpha1.ReasonUpgrading)
	s.member("c1").Spec.Admission = v1alpha1.AdmissionSuspended
	s.connected("c1", metav1.ConditionFalse, v1alpha1.ReasonSuspended)
	s.now = s.now.Add(2 * returnWithin)
	s.expect("the others go on", "c2 c3", v1alpha1.ReasonUpgrading)
	if got := s.upgrade.Status; got.Offline != 1 || got.Failed != 0 {
		t.Errorf("counted %+v", got)
	}
	s.arrives("c2", "c3")
	s.expect("without it", "", v1alpha1.ReasonUpgradeDone)
	s.member("c1").Spec.Admission = v1alpha1.AdmissionAdmitted
	s.now = s.now.Add(time.Hour)
	s.connected("c1", metav1.ConditionTrue, v1alpha1.ReasonProbeAnswered)
	s.expect("and it carries on when it is back", "", v1alpha1.ReasonUpgrading)
	s.arrives("c1")
	s.expect("all of them", "", v1alpha1.ReasonUpgradeDone)
}

// Where the hub's images are is asked for only while somebody may be told.
func TestWanted(t *testing.T) {
	s := newScene(t, 2)
	wanted := func(why string, want bool) {
		t.Helper()
		if got := Wanted(&s.upgrade, s.members); got != want {
			t.Errorf("%s: %v, want %v", why, got, want)
		}
	}
	wanted("nobody was told", true)
	s.upgrade.Spec.Canary = 2
	s.expect("all", "c1 c2", v1alpha1.ReasonUpgrading)
	wanted("all were told", false)
	s.members = append(s.members, *s.member("c2").DeepCopy())
	s.members[2].Name, s.members[2].Spec.Agent = "c3", nil
	wanted("another one came", true)
	s.upgrade.Spec.Intent = v1alpha1.UpgradeAbort
	wanted("it is aborted", false)
	d := Next(&s.upgrade, Seen{Clusters: s.members}, s.now)
	s.expectOf("which needs no images", d, "-c1 -c2", v1alpha1.ReasonAborted)
	if d.Status.LeftOut != 0 {
		t.Errorf("left out are %d", d.Status.LeftOut)
	}
	s.upgrade.Spec.Intent = v1alpha1.UpgradeRun
	s.expectOf("and who waits needs them", Next(&s.upgrade, Seen{Clusters: s.members}, s.now), "", v1alpha1.ReasonHubNotReady)
}

func TestIntents(t *testing.T) {
	s := newScene(t, 3)
	s.expect("the canary", "c1", v1alpha1.ReasonUpgrading)
	s.upgrade.Spec.Intent = v1alpha1.UpgradePause
	s.arrives("c1")
	s.now = s.now.Add(time.Hour)
	s.expect("paused", "", v1alpha1.ReasonPaused)
	s.upgrade.Spec.Intent = v1alpha1.UpgradeRun
	s.expect("resumed", "c2 c3", v1alpha1.ReasonUpgrading)
	s.arrives("c2")
	s.upgrade.Spec.Intent = v1alpha1.UpgradeAbort
	s.expect("aborted: who has not done it is not asked any more", "-c3", v1alpha1.ReasonAborted)
	s.expect("once", "", v1alpha1.ReasonAborted)
	if s.member("c1").Spec.Agent.Build != next || s.member("c3").Spec.Agent != nil {
		t.Error("who runs the build does not keep it, or who does not is still asked to")
	}
}

func TestLeftOut(t *testing.T) {
	s := newScene(t, 4)
	s.member("c1").Status.Agent = nil
	s.member("c2").Status.Agent.Image = "registry.example.com/umbel/agent:v0.1.0"
	s.member("c3").Status.Agent.Image = "" // a process
	s.connected("c4", metav1.ConditionFalse, v1alpha1.ReasonProtocolMismatch)
	s.expect("who cannot be upgraded is left out", "c3", v1alpha1.ReasonUpgrading)
	if got := s.member("c3").Spec.Agent; got.Image != hubs+":"+next {
		t.Errorf("a process takes %s", got.Image)
	}
	s.arrives("c3")
	s.now = s.now.Add(time.Minute)
	s.expect("an agent that is too old for the hub is told when it knocks", "c4", v1alpha1.ReasonUpgrading)
	s.expect("and holds up nobody", "", v1alpha1.ReasonUpgradeDone)
	if got := s.upgrade.Status.LeftOut; got != 2 {
		t.Errorf("left out are %d, want 2", got)
	}
	s.upgrade.Spec.Image = "registry.example.com/umbel/agent:v0.2.0"
	s.expect("with an image of its own registry", "c2", v1alpha1.ReasonUpgrading)
	if diff := cmp.Diff(&v1alpha1.AgentProgram{Build: next, Image: s.upgrade.Spec.Image}, s.member("c2").Spec.Agent); diff != "" {
		t.Error(diff)
	}
}

func TestTooFar(t *testing.T) {
	for _, c := range []struct{ hub, build, words string }{
		{"v0.2.0", "v0.1.9-aaaaaaaaaaaa", ""},
		{"v0.2.0", "v0.3.0-rc1-aaaaaaaaaaaa", ""},
		{"v0.2.0", "v0.4.0-aaaaaaaaaaaa", "upgrade the hub first"},
		{"v0.2.0", "v0.0.1-aaaaaaaaaaaa", "nearer to the hub"},
		{"v1.0.0", "v0.9.0-aaaaaaaaaaaa", "nearer to the hub"},
		{"74527fe-dirty", "v0.9.0-aaaaaaaaaaaa", ""},
	} {
		got := tooFar(c.hub, c.build)
		if (got == "") != (c.words == "") || !strings.Contains(got, c.words) {
			t.Errorf("hub %s, build %s: %q, want %q", c.hub, c.build, got, c.words)
		}
	}
	s := newScene(t, 1)
	s.upgrade.Spec.Build = "v0.9.0-aaaaaaaaaaaa"
	s.expect("nobody is told", "", v1alpha1.ReasonTooFarApart)
}
