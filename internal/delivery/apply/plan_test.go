package apply

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"umbel.dev/umbel/internal/delivery/apply/member"
	"umbel.dev/umbel/internal/delivery/bundle"
)

func TestJudge(t *testing.T) {
	want := desired{present: true, hash: 1}
	did := applied{hash: 1, uid: "u", owned: 7}
	is := member.Seen{Version: 5, UID: "u", Owned: 7}
	tests := []struct {
		reason string
		want   desired
		did    applied
		is     member.Seen
		do     action
	}{
		{"as it should be", want, did, is, actNothing},
		{"never applied", want, applied{}, member.Seen{}, actApply},
		{"never applied, and there already", want, applied{}, is, actApply},
		{"a new release changes it", desired{present: true, hash: 2}, did, is, actApply},
		{"a new release changes it and asks for its fields", desired{present: true, hash: 2, takeOver: true}, did, is, actRestore},
		{"unknown is never drift", want, did, member.Seen{}, actNothing},
		{"deleted", want, did, member.Seen{Version: 6, Gone: true}, actRestore},
		{"somebody took a field of ours", want, did, member.Seen{Version: 6, UID: "u", Owned: 8}, actRestore},
		{"somebody took all fields of ours", want, did, member.Seen{Version: 6, UID: "u"}, actRestore},
		{"deleted and made anew by somebody else", want, did, member.Seen{Version: 6, UID: "v", Owned: 7}, actRestore},
		{"somebody changed other fields", want, did, member.Seen{Version: 6, UID: "u", Owned: 7, By: "hpa"}, actNothing},
		{"not wanted and never applied", desired{}, applied{}, is, actNothing},
		{"not wanted any more", desired{}, did, is, actNothing},
		{"not wanted any more and not seen", desired{}, did, member.Seen{}, actNothing},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			if got := judge(test.want, test.did, test.is); got != test.do {
				t.Errorf("judge says %v, want %v", got, test.do)
			}
		})
	}
}

func TestBout(t *testing.T) {
	start := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	tests := []struct {
		reason   string
		repairs  []time.Duration // after the start
		at       time.Duration
		pause    time.Duration
		fighting bool
	}{
		{reason: "the first repair starts at once"},
		{"a few repairs start at once", []time.Duration{0, 1, 2, 3}, 4, 0, false},
		{"past the burst, a pause", []time.Duration{0, 0, 0, 0, 0}, 0, time.Second, true},
		{"the pause runs from the last repair", []time.Duration{0, 0, 0, 0, 0}, 600 * time.Millisecond, 400 * time.Millisecond, true},
		{"it doubles", []time.Duration{0, 0, 0, 0, 0, time.Second, 3 * time.Second}, 3 * time.Second, 4 * time.Second, true},
		{"the pauses of a fight do not end it", []time.Duration{0, 0, 0, 0, 0, 1 * time.Second, 3 * time.Second, 7 * time.Second, 15 * time.Second, 31 * time.Second}, 31 * time.Second, 32 * time.Second, true},
		{"a handful within a minute is no fight", []time.Duration{0, 9 * time.Second, 18 * time.Second, 27 * time.Second, 36 * time.Second, 45 * time.Second, 54 * time.Second}, 54 * time.Second, 0, false},
		{"a quiet window ends the fight", []time.Duration{0, 0, 0, 0, 0, 5 * time.Minute}, 5 * time.Minute, 0, false},
		{"slow repairs are none", []time.Duration{0, 2 * time.Minute, 4 * time.Minute, 6 * time.Minute, 8 * time.Minute, 10 * time.Minute}, 10 * time.Minute, 0, false},
		{"the pause has a limit", repeated(40, 0), 0, fightLongestPause, true},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			var b bout
			for _, after := range test.repairs {
				b = b.repaired(start.Add(after))
			}
			now := start.Add(test.at)
			if got := b.next(now); got != test.pause {
				t.Errorf("the next repair waits %s, want %s", got, test.pause)
			}
			if got := b.fighting(now); got != test.fighting {
				t.Errorf("fighting is %t, want %t", got, test.fighting)
			}
		})
	}
}

func repeated(n int, d time.Duration) []time.Duration {
	all := make([]time.Duration, n)
	for i := range all {
		all[i] = d
	}
	return all
}

func TestPruneOrder(t *testing.T) {
	crd := bundle.Key{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition", Name: "widgets.example.com"}
	ns := bundle.Key{Kind: "Namespace", Name: "shop"}
	hook := bundle.Key{Group: "admissionregistration.k8s.io", Kind: "ValidatingWebhookConfiguration", Name: "guard"}
	a, b := bundle.Key{Kind: "ConfigMap", Namespace: "shop", Name: "a"}, bundle.Key{Kind: "ConfigMap", Namespace: "shop", Name: "b"}
	for _, tc := range []struct {
		reason string
		levels map[bundle.Key]int
		want   [][]bundle.Key
	}{
		{reason: "stages in reverse", want: [][]bundle.Key{{hook}, {a, b}, {ns, crd}}},
		{reason: "what depends on others goes before them", levels: map[bundle.Key]int{a: 1}, want: [][]bundle.Key{{hook}, {a}, {b}, {ns, crd}}},
	} {
		got := pruneOrder([]bundle.Key{crd, b, ns, hook, a}, func(key bundle.Key) int { return tc.levels[key] })
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s:\n%s", tc.reason, diff)
		}
	}
}

func TestStages(t *testing.T) {
	for gk, want := range map[schema.GroupKind]stage{
		{Kind: "Namespace"}: stageFoundations,
		{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}:                 stageFoundations,
		{Group: "rbac.authorization.k8s.io", Kind: "Role"}:                                stageObjects,
		{Group: "example.com", Kind: "Namespace"}:                                         stageObjects,
		{Group: "admissionregistration.k8s.io", Kind: "MutatingWebhookConfiguration"}:     stageGates,
		{Group: "admissionregistration.k8s.io", Kind: "ValidatingAdmissionPolicyBinding"}: stageGates,
		{Group: "apiregistration.k8s.io", Kind: "APIService"}:                             stageGates,
	} {
		if got := stageOf(gk); got != want {
			t.Errorf("%v is of stage %d, want %d", gk, got, want)
		}
	}
}
