package trust

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"umbel.dev/umbel/api/v1alpha1"
)

func TestNext(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	end := now.Add(5 * 365 * 24 * time.Hour)
	rotate := func(action v1alpha1.CAAction) v1alpha1.CARequest { return v1alpha1.CARequest{ID: "2", Action: action} }
	settled, announced, switched := v1alpha1.CASettled, v1alpha1.CAAnnounced, v1alpha1.CASwitched
	for _, c := range []struct {
		reason string
		s      standing
		want   decision
	}{
		{"nothing to do until the CA nears its end", standing{phase: settled, end: end}, decision{op: stay, until: end.Add(-rotateCA)}},
		{"a CA that nears its end is rotated without being asked", standing{phase: settled, end: now.Add(rotateCA)}, decision{op: announce}},
		{"asked for", standing{phase: settled, end: end, request: rotate(v1alpha1.CARotate)}, decision{op: announce, answers: true}},
		{"asked for and answered: once", standing{phase: settled, end: end, answered: "2", request: rotate(v1alpha1.CARotate)}, decision{op: stay, until: end.Add(-rotateCA)}},
		{"a stolen key", standing{phase: settled, end: end, request: rotate(v1alpha1.CARotateCompromised)}, decision{op: announce, compromised: true, answers: true}},
		{"a second one in the overlap of the first", standing{phase: switched, since: ago(time.Hour), end: end, request: rotate(v1alpha1.CARotate)}, decision{op: announce, answers: true}},
		{"announced, and nobody counted yet", standing{phase: announced, since: ago(time.Second), behind: 0}, decision{op: stay, until: now.Add(59 * time.Second)}},
		{"a hub that has just started has not heard of its members", standing{phase: announced, since: ago(time.Hour), watched: ago(time.Second)}, decision{op: stay, until: now.Add(59 * time.Second)}},
		{"everybody who is connected keeps it", standing{phase: announced, since: ago(time.Minute), connected: 50}, decision{op: switchOver}},
		{"one does not", standing{phase: announced, since: ago(time.Minute), connected: 50, behind: 1}, decision{op: stay, until: now.Add(59 * time.Minute)}},
		{"one does not, for an hour: it is endorsed", standing{phase: announced, since: ago(time.Hour), connected: 50, behind: 1}, decision{op: switchOver}},
		{"one does not, for a day, and nothing endorses", standing{phase: announced, since: ago(24 * time.Hour), compromised: true, connected: 50, behind: 1}, decision{op: stay}},
		{"one was away and comes back without it, and nothing endorses", standing{phase: announced, since: ago(24 * time.Hour), compromised: true, connected: 50, away: 1}, decision{op: stay}},
		{"all are away, as in an outage, and nothing endorses", standing{phase: announced, since: ago(24 * time.Hour), compromised: true, away: 50}, decision{op: stay}},
		{"all are away: they are endorsed", standing{phase: announced, since: ago(time.Hour), away: 50}, decision{op: switchOver}},
		{"everybody keeps it, who is away too, and nothing endorses", standing{phase: announced, since: ago(time.Hour), compromised: true, connected: 50}, decision{op: switchOver}},
		{"until somebody says so", standing{phase: announced, since: ago(time.Second), compromised: true, finishing: true, connected: 50, behind: 1}, decision{op: switchOver}},
		{"finish is noted first", standing{phase: announced, since: ago(time.Second), behind: 1, request: rotate(v1alpha1.CAFinish)}, decision{op: stay, answers: true, finish: true}},
		{"the overlap lasts", standing{phase: switched, since: ago(23 * time.Hour)}, decision{op: stay, until: now.Add(time.Hour)}},
		{"and ends", standing{phase: switched, since: ago(24 * time.Hour)}, decision{op: retire}},
		{"or is ended", standing{phase: switched, since: ago(time.Hour), finishing: true}, decision{op: retire}},
		{"cancelled", standing{phase: announced, since: ago(time.Hour), request: rotate(v1alpha1.CACancel)}, decision{op: cancel, answers: true}},
	} {
		got := next(c.s, DefaultPace, now)
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(decision{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.reason, diff)
		}
	}
	for _, c := range []struct {
		reason string
		phase  v1alpha1.CAPhase
		action v1alpha1.CAAction
		want   string
	}{
		{"begun twice", announced, v1alpha1.CARotate, "announced already"},
		{"stolen after all", announced, v1alpha1.CARotateCompromised, "--cancel"},
		{"nothing to finish", settled, v1alpha1.CAFinish, "no rotation is under way"},
		{"nothing to cancel", settled, v1alpha1.CACancel, "nothing to cancel"},
		{"too late to cancel", switched, v1alpha1.CACancel, "nothing to cancel"},
		{"of a later version", settled, "Reticulate", "Reticulate"},
	} {
		got := next(standing{phase: c.phase, end: end, since: now, request: rotate(c.action)}, DefaultPace, now)
		if got.op != stay || !got.answers || !strings.Contains(got.refused, c.want) {
			t.Errorf("%s: got %+v, want a refusal that says %q", c.reason, got, c.want)
		}
	}
}
