package cluster

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// TestWhoWaitsOutlivesTheHub: a hub that does not answer is asked again, and what it answers ends the wait.
func TestWhoWaitsOutlivesTheHub(t *testing.T) {
	refused := &url.Error{Op: "Get", URL: "https://127.0.0.1:1", Err: errors.New("connection refused")}
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "clusters"}, "dev", nil)
	answers := []error{refused, apierrors.NewServiceUnavailable("it starts"), forbidden, nil, refused, nil, forbidden, forbidden, nil}
	asked := 0
	err := until(t.Context(), nil, func(context.Context) (bool, string, error) {
		asked++
		return asked == len(answers), "", answers[asked-1]
	})
	if err != nil || asked != len(answers) {
		t.Errorf("asked %d times: %v", asked, err)
	}
	for _, final := range []error{forbidden, apierrors.NewNotFound(schema.GroupResource{Resource: "clusters"}, "dev"), errors.New("it failed")} {
		if err := until(t.Context(), nil, func(context.Context) (bool, string, error) { return false, "", final }); !errors.Is(err, final) {
			t.Errorf("%v: got %v", final, err)
		}
	}
	synctest.Test(t, func(t *testing.T) { // somebody whose right was taken away meanwhile
		allowed := true
		err := until(t.Context(), nil, func(context.Context) (bool, string, error) {
			if allowed {
				allowed = false
				return false, "", nil
			}
			return false, "", forbidden
		})
		if !errors.Is(err, forbidden) {
			t.Errorf("who may not any more: %v", err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2*poll)
	defer cancel()
	if err := until(ctx, nil, func(context.Context) (bool, string, error) { return false, "", refused }); err == nil || !strings.Contains(err.Error(), "not in time: Get") {
		t.Errorf("of one that is gone: %v", err)
	}
}

// TestHowFarAClusterIs: each stage of its way says whether it is over, and otherwise why it is not, as far as that is known.
func TestHowFarAClusterIs(t *testing.T) {
	wants := map[string]any{"topology": map[string]any{
		"controlPlane": map[string]any{"replicas": int64(3)},
		"workers":      map[string]any{"machineDeployments": []any{map[string]any{"class": "worker", "name": "workers", "replicas": int64(2)}}},
	}}
	count := func(has, there int64) map[string]any {
		return map[string]any{"availableReplicas": has, "replicas": there}
	}
	for _, test := range []struct {
		reason     string
		stage      stage
		status     map[string]any
		conditions []string
		done       bool
		want       string
	}{
		{"its class does not render", placeStage, nil, []string{"TopologyReconciled=False no such path", "InfrastructureReady=Unknown not yet"}, false, "no such path"},
		{"its place is being made", placeStage, nil, []string{"TopologyReconciled=True", "InfrastructureReady=False no room"}, false, "no room"},
		{"it has a place", placeStage, map[string]any{"initialization": map[string]any{"infrastructureProvisioned": true}}, nil, true, ""},
		{"its API does not serve", planeStage, map[string]any{"initialization": map[string]any{"controlPlaneInitialized": false}}, []string{"ControlPlaneAvailable=False it starts"}, false, "it starts"},
		{"its API serves", planeStage, map[string]any{"initialization": map[string]any{"controlPlaneInitialized": true}}, nil, true, ""},
		{"a member is missing", membersStage, map[string]any{"controlPlane": count(2, 3)}, nil, false, "2 of 3 are available"},
		{"a member is to go still", membersStage, map[string]any{"controlPlane": count(3, 4)}, nil, false, "3 of 3 are available"},
		{"all members are there", membersStage, map[string]any{"controlPlane": count(3, 3)}, nil, true, "3 of 3 are available"},
		{"a machine is missing", workersStage, map[string]any{"workers": count(1, 2)}, nil, false, "1 of 2 are available"},
		{"all machines are there", workersStage, map[string]any{"workers": count(2, 2)}, nil, true, "2 of 2 are available"},
	} {
		o := object("Cluster", "default", "dev", map[string]any{"spec": wants})
		if test.status != nil {
			o.Object["status"] = test.status
		}
		o = says(o, test.conditions...)
		if done, said := test.stage.reached(&o); done != test.done || said != test.want {
			t.Errorf("%s: of its %s it says %t, %q, want %t, %q", test.reason, test.stage.name, done, said, test.done, test.want)
		}
	}
}
