package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kube "sigs.k8s.io/controller-runtime/pkg/client"
)

var anAge = regexp.MustCompile(`\b\d+[sm]\b`)

// TestTheClustersThatTheHubMakes are listed: of one namespace, of all, by name, and with what is the matter.
func TestTheClustersThatTheHubMakes(t *testing.T) {
	d := newDesk(t)
	for _, name := range []string{"listed", "empty"} {
		if err := d.hub.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			t.Fatal(err)
		}
	}
	for name, status := range map[string]map[string]any{
		"well": {"phase": "Provisioned", "workers": map[string]any{"desiredReplicas": int64(2), "availableReplicas": int64(2)}, "conditions": available("True", "")},
		"ill":  {"phase": "Provisioned", "workers": map[string]any{"desiredReplicas": int64(2), "availableReplicas": int64(1)}, "conditions": available("False", "* WorkersAvailable: 1 of 2")},
	} {
		o := object("Cluster", "listed", name, map[string]any{"spec": map[string]any{"topology": map[string]any{
			"classRef": map[string]any{"name": "local"}, "version": "v1.36.3",
		}}})
		d.create(&o)
		o.Object["status"] = status
		if err := d.hub.Status().Update(t.Context(), &o); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ args, want string }{
		{"get -n listed", `
			NAME CLASS VERSION PHASE AVAILABLE WORKERS AGE
			ill local v1.36.3 Provisioned False 1/2 AGO
			well local v1.36.3 Provisioned True 2/2 AGO`},
		{"list -n listed well -o wide", `
			NAME CLASS VERSION PHASE AVAILABLE WORKERS AGE MESSAGE
			well local v1.36.3 Provisioned True 2/2 AGO -`},
		{"get -n listed -o wide ill", `
			NAME CLASS VERSION PHASE AVAILABLE WORKERS AGE MESSAGE
			ill local v1.36.3 Provisioned False 1/2 AGO WorkersAvailable: 1 of 2`},
		{"get -n listed -o name", `
			ill
			well`},
		{"get -n empty", ""},
		{"get -n empty -o json", "[]"},
	} {
		out, errs, err := d.umbel(strings.Fields(c.args)...)
		if err != nil {
			t.Errorf("%s: %v", c.args, err)
		}
		if diff := gocmp.Diff(lines(c.want), lines(anAge.ReplaceAllString(out, "AGO"))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.args, diff)
		}
		if next := "`umbel cluster create NAME`"; strings.Contains(errs, next) != (c.args == "get -n empty") {
			t.Errorf("%s: it says %q", c.args, errs)
		}
	}
	out, _, err := d.umbel("get", "-A")
	all := lines(anAge.ReplaceAllString(out, "AGO"))
	if err != nil || all[0] != "NAMESPACE NAME CLASS VERSION PHASE AVAILABLE WORKERS AGE" || !strings.Contains(strings.Join(all, "\n"), "\nlisted ill local v1.36.3 Provisioned False 1/2 AGO\n") {
		t.Errorf("of every namespace: %q (%v)", all, err)
	}
	out, _, err = d.umbel("get", "-n", "listed", "ill", "-o", "json")
	var object unstructured.Unstructured
	if err := errors.Join(err, json.Unmarshal([]byte(out), &object)); err != nil || object.GetName() != "ill" || object.GetKind() != "Cluster" || len(object.GetManagedFields()) > 0 {
		t.Errorf("as JSON: %s (%v)", out, err)
	}
	for args, want := range map[string]string{
		"get -n empty ill": `the hub makes no cluster "ill" in namespace empty: ` + "`umbel cluster get -A`",
		"get -A ill":       "give it with -n instead of -A",
	} {
		if _, _, err := d.umbel(strings.Fields(args)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", args, err, want)
		}
	}
}

func available(status, message string) []any {
	return []any{map[string]any{"type": "Available", "status": status, "reason": "Said", "message": message, "lastTransitionTime": "2026-11-29T00:00:00Z"}}
}

// lines are those of a text, with one space between words.
func lines(text string) (all []string) {
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) > 0 {
			all = append(all, strings.Join(words, " "))
		}
	}
	return all
}

// TestWhatAClassIsMadeOfNeverChanges: what a template says is refused to change, with what to do instead. Its labels may, and what Cluster
// API tries out without writing it.
func TestWhatAClassIsMadeOfNeverChanges(t *testing.T) {
	d := newDesk(t)
	for _, name := range []string{"HostedClusterTemplate", "HostedControlPlaneTemplate", "LocalMachineTemplate", "LocalBootstrapTemplate"} {
		o := object("Cluster", "default", "firm", map[string]any{"spec": map[string]any{"template": map[string]any{"spec": map[string]any{}}}})
		o.SetGroupVersionKind(schema.GroupVersionKind{Group: "infrastructure.umbel.dev", Version: "v1alpha1", Kind: name})
		d.create(&o)
		changed := 0
		change := func(ctx context.Context, options ...kube.PatchOption) error {
			changed++
			patch := fmt.Appendf(nil, `{"spec":{"template":{"metadata":{"labels":{"changed":"%d"}}}}}`, changed)
			return d.hub.Patch(ctx, o.DeepCopy(), kube.RawPatch("application/merge-patch+json", patch), options...)
		}
		d.eventually("the policy holds for "+name, func(ctx context.Context) error { // an API server takes a moment to learn of one
			err := change(ctx)
			if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), `the template "firm" cannot be changed: make one of another name`) {
				return errors.Join(errors.New("it does not"), err)
			}
			return nil
		})
		if err := change(t.Context(), kube.DryRunAll); err != nil {
			t.Errorf("%s: what is only tried out: %v", name, err)
		}
		if err := d.hub.Patch(t.Context(), &o, kube.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"a":"b"}}}`))); err != nil {
			t.Errorf("%s: its label: %v", name, err)
		}
		if label, _, _ := unstructured.NestedString(o.Object, "spec", "template", "metadata", "labels", "changed"); label == fmt.Sprint(changed) || label == fmt.Sprint(changed-1) {
			t.Errorf("%s has what was refused: %v", name, o.Object["spec"])
		}
	}
}
