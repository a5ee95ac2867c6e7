package apply

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestJudge(t *testing.T) {
	want := desired{present: true, hash: 1}
	did := applied{hash: 1, uid: "u", owned: 7}
	is := seen{version: 5, uid: "u", owned: 7}
	tests := []struct {
		reason string
		want   desired
		did    applied
		is     seen
		do     action
	}{
		{"as it should be", want, did, is, actNothing},
		{"never applied", want, applied{}, seen{}, actApply},
		{"never applied, and there already", want, applied{}, is, actApply},
		{"a new release changes it", desired{present: true, hash: 2}, did, is, actApply},
		{"a new release changes it and asks for its fields", desired{present: true, hash: 2, takeOver: true}, did, is, actRestore},
		{"unknown is never drift", want, did, seen{}, actNothing},
		{"deleted", want, did, seen{version: 6, gone: true}, actRestore},
		{"somebody took a field of ours", want, did, seen{version: 6, uid: "u", owned: 8}, actRestore},
		{"somebody took all fields of ours", want, did, seen{version: 6, uid: "u"}, actRestore},
		{"deleted and made anew by somebody else", want, did, seen{version: 6, uid: "v", owned: 7}, actRestore},
		{"somebody changed other fields", want, did, seen{version: 6, uid: "u", owned: 7, by: "hpa"}, actNothing},
		{"not wanted and never applied", desired{}, applied{}, is, actNothing},
		{"not wanted any more", desired{}, did, is, actDelete},
		{"not wanted any more and not seen", desired{}, did, seen{}, actDelete},
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
	crd := Key{"apiextensions.k8s.io", "CustomResourceDefinition", "", "widgets.example.com"}
	ns := Key{Kind: "Namespace", Name: "shop"}
	hook := Key{"admissionregistration.k8s.io", "ValidatingWebhookConfiguration", "", "guard"}
	a, b := Key{Kind: "ConfigMap", Namespace: "shop", Name: "a"}, Key{Kind: "ConfigMap", Namespace: "shop", Name: "b"}
	inventory := map[Key]item{crd: {}, ns: {}, hook: {}, a: {}, b: {}}
	got := byStage(prunable(inventory, map[Key]bool{b: true}))
	want := [][]Key{{hook}, {a}, {ns, crd}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
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

// FuzzInventory: whatever stands in the file, reading it gives an inventory or an error, and what was read can be
// written and read again.
func FuzzInventory(f *testing.F) {
	f.Add([]byte(`{"k":{"Group":"","Kind":"ConfigMap","Namespace":"a","Name":"b"},"i":{"v":"v1","r":"configmaps","n":true,"h":1}}` + "\n"))
	f.Add([]byte("{}\n\n{"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		d := disk{t.TempDir()}
		if err := os.WriteFile(filepath.Join(d.dir, "inventory.jsonl"), raw, 0o600); err != nil {
			t.Fatal(err)
		}
		first, err := d.readInventory()
		if err != nil {
			return
		}
		if err := d.writeInventory(first); err != nil {
			t.Fatal(err)
		}
		second, err := d.readInventory()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(first, second); diff != "" {
			t.Error(diff)
		}
	})
}

// FuzzOrder: a damaged order is an error, never an order to remove something that the file does not say.
func FuzzOrder(f *testing.F) {
	f.Add([]byte(`{"package":"shop/web","current":{"digest":"sha256:00"}}`))
	f.Add([]byte(`{"package":"shop/web","removing":true}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		d := disk{t.TempDir()}
		if err := os.WriteFile(filepath.Join(d.dir, "order.json"), raw, 0o600); err != nil {
			t.Fatal(err)
		}
		o, err := d.readOrder()
		if err != nil && o.Removing {
			t.Errorf("an unreadable order asks for removal: %q", raw)
		}
	})
}
