package self

import (
	"strings"
	"testing"
	"time"

	"umbel.dev/umbel/api/wire"
)

const (
	buildA = "v0.1.0-aaaaaaaaaaaa"
	buildB = "v0.2.0-bbbbbbbbbbbb"
	buildC = "v0.3.0-cccccccccccc"
)

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func TestWeigh(t *testing.T) {
	order := &wire.Upgrade{Build: buildB, Attempt: 1}
	for _, c := range []struct {
		reason string
		record Record
		self   string
		want   step
	}{
		{"nothing was tried before", Record{}, buildA, rehearse},
		{"it is that program", Record{}, "v0.2.0+dirty-bbbbbbbbbbbb", arrived},
		{"it failed before", Record{Build: buildB, Attempt: 1, Phase: Failed}, buildA, nothing},
		{"it was rolled back before", Record{Build: buildB, Attempt: 1, Phase: RolledBack}, buildA, nothing},
		{"it failed in an earlier attempt", Record{Build: buildB, Attempt: 0, Phase: Failed}, buildA, rehearse},
		{"another build failed", Record{Build: buildC, Attempt: 1, Phase: RolledBack}, buildA, rehearse},
		{"the agent was killed in the rehearsal", Record{Build: buildB, Attempt: 1, Phase: Rehearsing}, buildA, rehearse},
		{"a guard has the next word", Record{Build: buildB, Attempt: 1, Phase: Armed}, buildA, nothing},
		{"another upgrade is under way", Record{Build: buildC, Attempt: 1, Phase: Switched}, buildA, nothing},
		{"it was done, and somebody went back", Record{Build: buildB, Attempt: 1, Phase: Done}, buildA, rehearse},
	} {
		if got := weigh(order, c.record, c.self); got != c.want {
			t.Errorf("%s: %s, want %s", c.reason, got, c.want)
		}
	}
}

func TestJudge(t *testing.T) {
	armed := Record{Build: buildB, Image: "b", From: buildA, FromImage: "a", Phase: Armed, Deadline: noon}
	switched := armed
	switched.Phase = Switched
	with := func(r Record, phase Phase) Record { r.Phase = phase; return r }
	before, after := noon.Add(-time.Minute), noon.Add(time.Second)
	for _, c := range []struct {
		reason string
		record Record
		seen   Sight
		now    time.Time
		want   Deed
		why    string
	}{
		{"the guard is there, so the switch may be", armed, Sight{Image: "a"}, before, Switch, ""},
		{"the guard comes too late", armed, Sight{Image: "a"}, after, RollBack, "too late"},
		{"somebody else changed the image first", armed, Sight{Image: "x"}, before, Yield, "image x"},
		{"the new agent has time", switched, Sight{Image: "b", Restarts: 1}, before, Wait, ""},
		{"it ends again and again", switched, Sight{Image: "b", Restarts: 3, Ended: "exit code 3"}, before, RollBack, "exit code 3"},
		{"it hangs", switched, Sight{Image: "b"}, after, RollBack, "not in session in time"},
		{"its image cannot be had on another node", switched, Sight{Image: "b", Waits: "ErrImagePull no such host"}, after, RollBack, "no such host"},
		{"somebody changed the image meanwhile", switched, Sight{Image: "x"}, after, Yield, "image x"},
		{"it proved itself at the last moment", with(switched, Done), Sight{Image: "b"}, after, Leave, ""},
		{"it was rolled back already", with(switched, RolledBack), Sight{Image: "a"}, after, Leave, ""},
		{"the agent gave up on its guard", with(armed, Failed), Sight{Image: "a"}, before, Leave, ""},
		{"the record is of a rehearsal that came after", with(armed, Rehearsing), Sight{Image: "a"}, before, Leave, ""},
	} {
		got := Judge(c.record, c.seen, c.now)
		if got.Do != c.want || !strings.Contains(got.Why, c.why) {
			t.Errorf("%s: %+v, want %s, %q", c.reason, got, c.want, c.why)
		}
	}
}

func TestBegin(t *testing.T) {
	for _, c := range []struct {
		reason string
		record Record
		self   string
		want   Course
		build  string
	}{
		{"nothing was ever upgraded", Record{}, buildA, Here, ""},
		{"a rehearsal was interrupted", Record{Build: buildB, From: buildA, Installed: buildA, Phase: Rehearsing}, buildA, Here, ""},
		{"the guard begins", Record{Build: buildB, From: buildA, Installed: buildA, Phase: Armed}, buildA, Guard, buildB},
		{"the upgrade is done", Record{Build: buildB, From: buildA, Installed: buildA, Phase: Done}, buildA, Become, buildB},
		{"and it became that", Record{Build: buildB, From: buildA, Installed: buildA, Phase: Done}, buildB, Here, ""},
		{"the upgrade was rolled back", Record{Build: buildB, From: buildA, Installed: buildA, Phase: RolledBack}, buildA, Here, ""},
		{"the second upgrade is guarded by the first one's program", Record{Build: buildC, From: buildB, Installed: buildA, Phase: Armed}, buildA, Become, buildB},
		{"which is it", Record{Build: buildC, From: buildB, Installed: buildA, Phase: Armed}, buildB, Guard, buildC},
		{"the second upgrade was rolled back", Record{Build: buildC, From: buildB, Installed: buildA, Phase: RolledBack}, buildA, Become, buildB},
		{"back to what is installed is guarded too", Record{Build: buildA, From: buildB, Installed: buildA, Phase: Armed}, buildA, Become, buildB},
		{"and done", Record{Build: buildA, From: buildB, Installed: buildA, Phase: Done}, buildA, Here, ""},
		{"somebody installed another program", Record{Build: buildB, From: buildA, Installed: buildA, Phase: Done}, buildC, Here, ""},
	} {
		got, build := Begin(c.record, c.self)
		if got != c.want || build != c.build {
			t.Errorf("%s: %s %s, want %s %s", c.reason, got, build, c.want, c.build)
		}
	}
}

func TestLost(t *testing.T) {
	record := Record{Build: buildB, From: buildA, Phase: Armed, Deadline: noon}
	if lost(record, buildA, noon.Add(time.Second)) || !lost(record, buildA, noon.Add(time.Minute)) || lost(record, buildB, noon.Add(time.Minute)) {
		t.Error("an upgrade is lost a while after its deadline, for the agent from before")
	}
}
