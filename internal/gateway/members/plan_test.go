package members

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/session"
)

var start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// at is the hub at a time after its start.
func at(d time.Duration) Hub {
	return Hub{Now: start.Add(d), Started: start, ProbeInterval: 5 * time.Second}
}

func known(assign ...string) Desired {
	set := session.DesiredSet{Assign: map[v1alpha1.PackageKey]*wire.Assignment{}}
	for _, a := range assign {
		name, release, _ := strings.Cut(a, "@")
		set.Assign[v1alpha1.PackageKey(name)] = &wire.Assignment{Package: name, Release: release}
	}
	return Desired{set, true}
}

// well are the facts of a member that is in session and holds packages, such as "a/web@1 APPLIED".
func well(packages ...string) Facts {
	f := Facts{InSession: true, Answered: true, Heard: true, Packages: map[v1alpha1.PackageKey]*wire.PackageStatus{}}
	for _, p := range packages {
		name, rest, _ := strings.Cut(p, "@")
		release, phase, _ := strings.Cut(rest, " ")
		f.Packages[v1alpha1.PackageKey(name)] = &wire.PackageStatus{
			Package: name, Release: release, Phase: wire.PackageStatus_Phase(wire.PackageStatus_Phase_value[phase]), Message: "why",
		}
	}
	return f
}

func joinedMember() *v1alpha1.MemberCluster {
	m := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "prod-eu", Generation: 3}}
	m.Status.Identity = &v1alpha1.MemberIdentity{KeyFingerprint: strings.Repeat("ab", 32)}
	return m
}

// show writes a status as Joined, Connected, Synced, Ready.
func show(s v1alpha1.MemberClusterStatus) string {
	short := map[string]string{}
	for _, c := range s.Conditions {
		short[c.Type] = string(c.Status) + "/" + c.Reason
	}
	return fmt.Sprintf("%s %s %s %s", short[v1alpha1.ConditionJoined], short[v1alpha1.ConditionConnected],
		short[v1alpha1.ConditionSynced], short[v1alpha1.ConditionReady])
}

func TestPlanOfOneMoment(t *testing.T) {
	lost := func(reason string, ago time.Duration) Facts {
		return Facts{Lost: &Loss{Reason: reason, At: start.Add(time.Hour - ago), LastSeen: start.Add(time.Hour - ago)}}
	}
	refused := func(reason string) Facts { return Facts{Refused: &Refusal{Reason: reason, Message: "because"}} }
	notStored := well()
	notStored.NotStored = "no space left on device"
	apiDown := well()
	apiDown.APIError = "connection refused"
	leaves := known()
	leaves.Set.Remove = []v1alpha1.PackageKey{"a/web"}
	for _, c := range []struct {
		reason  string
		joined  bool
		facts   Facts
		desired Desired
		want    string
	}{
		{"new", false, Facts{}, known(), "False/AwaitingAgent False/AwaitingAgent Unknown/AwaitingAgent False/AwaitingAgent"},
		{"a wrong token", false, refused("TokenRefused"), known(), "False/TokenRefused False/AwaitingAgent Unknown/AwaitingAgent False/TokenRefused"},
		{"has its certificate", true, Facts{}, known(), "True/KeyPinned False/AwaitingAgent Unknown/AwaitingAgent False/AwaitingAgent"},
		{"well, nothing to hold", true, well(), known(), "True/KeyPinned True/ProbeAnswered True/NoPackages True/NoPackages"},
		{"desired is not known yet", true, well(), Desired{}, "True/KeyPinned True/ProbeAnswered Unknown/Applying Unknown/Applying"},
		{"all applied", true, well("a/web@1 APPLIED"), known("a/web@1"), "True/KeyPinned True/ProbeAnswered True/AllApplied True/AllApplied"},
		{"an older release", true, well("a/web@1 APPLIED"), known("a/web@2"), "True/KeyPinned True/ProbeAnswered False/Applying False/Applying"},
		{"at work", true, well("a/web@1 APPLYING"), known("a/web@1"), "True/KeyPinned True/ProbeAnswered False/Applying False/Applying"},
		{"not there yet", true, well(), known("a/web@1"), "True/KeyPinned True/ProbeAnswered False/Applying False/Applying"},
		{"to be removed", true, well("a/web@1 REMOVING"), leaves, "True/KeyPinned True/ProbeAnswered False/Applying False/Applying"},
		{"one failed", true, well("a/web@1 FAILED", "b/db@1 APPLIED"), known("a/web@1", "b/db@1"), "True/KeyPinned True/ProbeAnswered False/PackageFailed False/PackageFailed"},
		{"not stored", true, notStored, known("a/web@1"), "True/KeyPinned True/ProbeAnswered False/PackageFailed False/PackageFailed"},
		{"its API server is down", true, apiDown, known(), "True/KeyPinned False/APIUnreachable Unknown/APIUnreachable False/APIUnreachable"},
		{"no probe came back", true, lost("ProbeTimeout", time.Second), known(), "True/KeyPinned Unknown/ProbeTimeout Unknown/ProbeTimeout Unknown/ProbeTimeout"},
		{"the connection ended", true, lost("SessionClosed", time.Minute), known(), "True/KeyPinned Unknown/SessionClosed Unknown/SessionClosed Unknown/SessionClosed"},
		{"refused", true, refused("CertificateRefused"), known(), "True/KeyPinned False/CertificateRefused Unknown/CertificateRefused False/CertificateRefused"},
	} {
		member := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "prod-eu", Generation: 3}}
		if c.joined {
			member = joinedMember()
		}
		status, _ := Plan(member, c.facts, c.desired, at(time.Hour))
		if got := show(status); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.reason, got, c.want)
		}
		member.Status = status
		again, _ := Plan(member, c.facts, c.desired, at(time.Hour+time.Minute))
		if !equality.Semantic.DeepEqual(status, again) {
			t.Errorf("%s: a minute later it would be written again:\n%s", c.reason, cmp.Diff(status, again))
		}
	}
}

// The story of a member through a hub's restart and other losses: conditions change when something happened, and not
// before those who come back had the time to.
func TestPlanDoesNotFlap(t *testing.T) {
	member := joinedMember()
	step := func(reason string, facts Facts, hub Hub, want string, wantAgain time.Duration) {
		t.Helper()
		status, again := Plan(member, facts, known(), hub)
		if got := show(status); got != want || again != wantAgain {
			t.Errorf("%s:\n got %s, again in %v\nwant %s, again in %v", reason, got, again, want, wantAgain)
		}
		member.Status = status
	}
	const good = "True/KeyPinned True/ProbeAnswered True/NoPackages True/NoPackages"
	const restarted = "True/KeyPinned Unknown/HubRestarted Unknown/HubRestarted Unknown/HubRestarted"
	step("connected", well(), at(time.Hour), good, 0)
	closed := Facts{Lost: &Loss{Reason: "SessionClosed", At: start.Add(time.Hour), LastSeen: start.Add(time.Hour)}}
	step("the connection ended a second ago", closed, at(time.Hour+time.Second), good, 4*time.Second)
	step("it is back, the first probe is on its way", Facts{InSession: true}, at(time.Hour+2*time.Second), good, 0)
	step("and answers", well(), at(time.Hour+3*time.Second), good, 0)
	step("the hub has just started", Facts{}, at(time.Second), good, 24*time.Second)
	step("the grace is over", Facts{}, at(26*time.Second), restarted, 0)
	step("still nothing", Facts{}, at(time.Hour), restarted, 0)
	step("it is back", Facts{InSession: true}, at(time.Hour), restarted, 0)
	step("and answers", well(), at(time.Hour), good, 0)
	step("refused", Facts{Refused: &Refusal{Reason: "CertificateRefused"}}, at(time.Hour),
		"True/KeyPinned False/CertificateRefused Unknown/CertificateRefused False/CertificateRefused", 0)
	step("another hub takes over: the last word stands", Facts{}, at(time.Hour),
		"True/KeyPinned False/CertificateRefused Unknown/CertificateRefused False/CertificateRefused", 0)
}

func TestPlanKeepsWhatALostMemberHolds(t *testing.T) {
	member := joinedMember()
	member.Status, _ = Plan(member, well("a/web@1 APPLIED"), known("a/web@1"), at(time.Hour))
	before := member.Status.Packages
	for _, c := range []struct {
		reason string
		facts  Facts
	}{
		{"lost", Facts{Lost: &Loss{Reason: "ProbeTimeout", At: start, LastSeen: start}, Heard: false}},
		{"a new hub", Facts{}},
	} {
		status, _ := Plan(member, c.facts, known(), at(2*time.Hour))
		if diff := cmp.Diff(before, status.Packages); diff != "" {
			t.Errorf("%s: the packages changed (-before +after):\n%s", c.reason, diff)
		}
	}
	status, _ := Plan(member, well(), known(), at(2*time.Hour))
	if len(status.Packages) != 0 {
		t.Errorf("the agent says that it holds nothing, the status says %v", status.Packages)
	}
}

func TestSince(t *testing.T) {
	member := joinedMember()
	for i, c := range []struct {
		reason, state string
		want          time.Duration
	}{
		{"first heard of", "a/web@1 APPLYING", 0},
		{"the same", "a/web@1 APPLYING", 0},
		{"another phase", "a/web@1 APPLIED", 2 * time.Minute},
		{"the same", "a/web@1 APPLIED", 2 * time.Minute},
		{"another release", "a/web@2 APPLIED", 4 * time.Minute},
	} {
		member.Status, _ = Plan(member, well(c.state), known(), at(time.Duration(i)*time.Minute))
		if got := member.Status.Packages[0].Since.Sub(start); got != c.want {
			t.Errorf("%d %s: since %v after the start, want %v", i, c.reason, got, c.want)
		}
	}
}

// TestWhatWaitsIsNotForgottenForARestart: an agent that starts anew applies a release again before it comes to what that would
// delete. Whoever approves in that moment finds what waits.
func TestWhatWaitsIsNotForgottenForARestart(t *testing.T) {
	member := joinedMember()
	for _, c := range []struct {
		reason, state string
		says, want    uint32
	}{
		{"it waits", "a/web@2 APPLIED", 8, 8},
		{"the agent starts anew", "a/web@2 APPLYING", 0, 8},
		{"and fails before it comes to that", "a/web@2 FAILED", 0, 0},
		{"it waits again", "a/web@2 APPLIED", 7, 7},
		{"and begins once more", "a/web@2 APPLYING", 0, 7},
		{"somebody approved", "a/web@2 APPLIED", 0, 0},
		{"it waits again", "a/web@2 APPLIED", 7, 7},
		{"another release is another question", "a/web@3 APPLYING", 0, 0},
	} {
		facts := well(c.state)
		if c.says > 0 {
			facts.Packages["a/web"].DeletesHeld = &wire.DeletesHeld{Objects: c.says, Holds: 13, Allowed: 3}
		}
		member.Status, _ = Plan(member, facts, known("a/web@2"), at(time.Minute))
		got := uint32(0)
		if held := member.Status.Packages[0].DeletesHeld; held != nil {
			got = uint32(held.Objects)
		}
		if got != c.want {
			t.Errorf("%s: %d objects wait, want %d", c.reason, got, c.want)
		}
	}
}

func TestLeaving(t *testing.T) {
	member := joinedMember()
	member.DeletionTimestamp = &metav1.Time{Time: start}
	status, _ := Plan(member, well(), known(), at(time.Hour))
	if got := show(status); !strings.HasSuffix(got, "False/Leaving") {
		t.Errorf("got %s", got)
	}
}

// What the hub's people decided shows from the spec alone, and goes when they decide otherwise.
func TestPlanOfConsent(t *testing.T) {
	revoked := func(m *v1alpha1.MemberCluster) { m.Spec.RevokedKeys = []string{m.Status.Identity.KeyFingerprint} }
	admission := func(a v1alpha1.Admission) func(*v1alpha1.MemberCluster) {
		return func(m *v1alpha1.MemberCluster) { m.Spec.Admission = a }
	}
	wrong := Facts{Refused: &Refusal{Reason: v1alpha1.ReasonTokenRefused, Message: "because"}}
	lost := Facts{Lost: &Loss{Reason: v1alpha1.ReasonSessionClosed, At: start, LastSeen: start}}
	for _, c := range []struct {
		reason string
		change func(*v1alpha1.MemberCluster)
		facts  Facts
		want   string
	}{
		{"waits", admission(v1alpha1.AdmissionPending), Facts{}, "False/PendingApproval False/PendingApproval Unknown/PendingApproval False/PendingApproval"},
		{"denied", admission(v1alpha1.AdmissionDenied), Facts{}, "False/Denied False/Denied Unknown/Denied False/Denied"},
		{"suspended, in session still", admission(v1alpha1.AdmissionSuspended), well(), "True/KeyPinned False/Suspended Unknown/Suspended False/Suspended"},
		{"suspended, lost", admission(v1alpha1.AdmissionSuspended), lost, "True/KeyPinned False/Suspended Unknown/Suspended False/Suspended"},
		{"revoked", revoked, lost, "False/KeyRevoked False/KeyRevoked Unknown/KeyRevoked False/KeyRevoked"},
		{"revoked, and came with a wrong token", revoked, wrong, "False/TokenRefused False/KeyRevoked Unknown/KeyRevoked False/TokenRefused"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			member := joinedMember()
			c.change(member)
			status, _ := Plan(member, c.facts, known(), at(time.Hour))
			if diff := cmp.Diff(c.want, show(status)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if gone := status.Identity == nil; gone != (len(member.Spec.RevokedKeys) > 0) {
				t.Errorf("the key has lost its place: %t", gone)
			}
			if c.facts.Lost != nil && status.LastSeen == nil {
				t.Error("when it was seen last is not told")
			}
		})
	}
	member := joinedMember()
	member.Spec.Admission = v1alpha1.AdmissionSuspended
	member.Status, _ = Plan(member, Facts{}, known(), at(time.Hour))
	member.Spec.Admission = v1alpha1.AdmissionAdmitted
	resumed, _ := Plan(member, Facts{}, known(), at(2*time.Hour))
	if diff := cmp.Diff("True/KeyPinned Unknown/SessionClosed Unknown/SessionClosed Unknown/SessionClosed", show(resumed)); diff != "" {
		t.Errorf("resumed by a hub that was started since (-want +got):\n%s", diff)
	}
	member.Status = resumed
	if again, _ := Plan(member, Facts{}, known(), at(3*time.Hour)); show(again) != show(resumed) {
		t.Errorf("it flaps: %s after %s", show(again), show(resumed))
	}
}
