package owner_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/adopt/owner"
)

func entry(manager string, operation metav1.ManagedFieldsOperationType, fields string) metav1.ManagedFieldsEntry {
	set := &metav1.FieldsV1{}
	set.SetRawBytes([]byte(fields))
	return metav1.ManagedFieldsEntry{Manager: manager, Operation: operation, APIVersion: "v1", FieldsType: "FieldsV1", FieldsV1: set}
}

const (
	apply  = metav1.ManagedFieldsOperationApply
	update = metav1.ManagedFieldsOperationUpdate
)

var (
	flux   = owner.Manager{Name: "kustomize-controller", Operation: apply}
	people = owner.Manager{Name: "kubectl-client-side-apply", Operation: update}
	ours   = entry(v1alpha1.FieldManager, apply, `{"f:data":{"f:a":{}},"f:metadata":{"f:labels":{"f:umbel.dev/package":{}}}}`)
	theirs = entry(flux.Name, apply, `{"f:data":{"f:a":{},"f:b":{}},"f:metadata":{"f:labels":{"f:kustomize.toolkit.fluxcd.io/name":{}}}}`)
	edit   = entry("kubectl-edit", update, `{"f:data":{"f:c":{}}}`)
)

func names(entries []metav1.ManagedFieldsEntry) (all []string) {
	for _, e := range entries {
		all = append(all, e.Manager+" "+string(e.FieldsV1.GetRawBytes()))
	}
	return all
}

func TestFieldsChangeHandsAndComeBack(t *testing.T) {
	managers := []owner.Manager{people, flux}
	left, had, err := owner.Take([]metav1.ManagedFieldsEntry{theirs, ours, edit}, managers)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(names([]metav1.ManagedFieldsEntry{ours, edit}), names(left)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	note := owner.Note(had)
	if note != "kustomize-controller.Apply" || len(note) > 63 {
		t.Errorf("the note is %q", note)
	}
	o := &metav1.ObjectMeta{ManagedFields: left, Labels: map[string]string{
		"kustomize.toolkit.fluxcd.io/name": "apps", v1alpha1.PackageLabel: "default.apps", v1alpha1.OnLeavingLabel: "delete", v1alpha1.AdoptedFromLabel: note,
	}}
	given, err := owner.GiveBack(o, owner.Noted(note, managers), metav1.NewTime(time.Unix(0, 0)))
	if err != nil {
		t.Fatal(err)
	}
	want := entry(flux.Name, apply, `{"f:data":{"f:a":{}},"f:metadata":{"f:labels":{"f:kustomize.toolkit.fluxcd.io/name":{}}}}`)
	if diff := cmp.Diff(names([]metav1.ManagedFieldsEntry{ours, edit, want}), names(given)); diff != "" {
		t.Errorf("given back (-want +got):\n%s", diff)
	}
	o.ManagedFields = given
	again, err := owner.GiveBack(o, []owner.Manager{flux}, metav1.Now())
	if diff := cmp.Diff(names(given), names(again)); diff != "" || err != nil {
		t.Errorf("a second time, %v (-want +got):\n%s", err, diff)
	}
}

func TestNothingIsTakenThatUmbelHasNot(t *testing.T) {
	if _, _, err := owner.Take([]metav1.ManagedFieldsEntry{theirs}, []owner.Manager{flux}); err == nil {
		t.Error("the fields would be nobody's")
	}
}

func TestWhatIsSetBeyondTheSource(t *testing.T) {
	got, err := owner.Beyond([]metav1.ManagedFieldsEntry{theirs, edit}, []metav1.ManagedFieldsEntry{theirs, ours, edit}, []owner.Manager{flux})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{".data.b"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNotesOfSeveral(t *testing.T) {
	all := []owner.Manager{people, flux, {Name: "kustomize-controller", Operation: update}}
	if diff := cmp.Diff(all, owner.Noted(owner.Note(all), all)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := owner.Noted("", all); got != nil {
		t.Errorf("an empty note names %v", got)
	}
}
