package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	infra "umbel.dev/umbel/api/infrastructure/v1alpha1"
	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/lifecycle/ascent"
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
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*poll)
		defer cancel()
		if err := until(ctx, nil, func(context.Context) (bool, string, error) { return false, "", refused }); err == nil || !strings.Contains(err.Error(), "not in time: Get") {
			t.Errorf("of one that is gone: %v", err)
		}
	})
}

// TestAnAnswerThatIsCutOff: a hub that dies while it answers is asked again, by either HTTP.
func TestAnAnswerThatIsCutOff(t *testing.T) {
	for _, version := range []string{"HTTP/1.1", "HTTP/2.0"} {
		asked := 0
		hub := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Proto != version {
				t.Errorf("asked by %s, want %s", r.Proto, version)
			}
			w.Header().Set("Content-Type", "application/json")
			answer := `{"kind":"Status","apiVersion":"v1","status":"Success"}`
			if asked++; asked > 1 {
				fmt.Fprint(w, answer)
				return
			}
			fmt.Fprint(w, answer[:20])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}))
		hub.EnableHTTP2 = version == "HTTP/2.0"
		hub.StartTLS()
		defer hub.Close()
		client, err := rest.UnversionedRESTClientForConfigAndClient(&rest.Config{
			Host: hub.URL, ContentConfig: rest.ContentConfig{NegotiatedSerializer: scheme.Codecs, GroupVersion: &schema.GroupVersion{Version: "v1"}},
		}, hub.Client())
		if err != nil {
			t.Fatal(err)
		}
		err = until(t.Context(), nil, func(ctx context.Context) (bool, string, error) {
			err := client.Get().AbsPath("/").Do(ctx).Error()
			return err == nil, "", err
		})
		if err != nil || asked != 2 {
			t.Errorf("%s: asked %d times: %v", version, asked, err)
		}
	}
}

// TestWhoWritesWaitsForWebhooks that do not answer yet, and for nothing else, nor for ever.
func TestWhoWritesWaitsForWebhooks(t *testing.T) {
	silent := apierrors.NewInternalError(errors.New(`failed calling webhook "default.cluster.cluster.x-k8s.io": failed to call webhook: Post "https://127.0.0.1:1": connection refused`))
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "clusters"}, "dev", errors.New("admission webhook denied the request"))
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct {
			reason  string
			answers []error // the last one again and again
			asked   int
			want    error
		}{
			{"it is written", []error{nil}, 1, nil},
			{"it is written when they answer", []error{silent, silent, nil}, 3, nil},
			{"they refuse it", []error{silent, forbidden}, 2, forbidden},
			{"they never answer", []error{silent}, int(webhookPatience / poll), silent},
		} {
			asked := 0
			err := whenServed(t.Context(), func() error {
				asked++
				return test.answers[min(asked, len(test.answers))-1]
			})
			if !errors.Is(err, test.want) || asked < test.asked || asked > test.asked+1 {
				t.Errorf("%s: asked %d times, and got %v", test.reason, asked, err)
			}
		}
	})
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

// TestWhatIsRefusedIsNotWaitedFor: the part that a stage waits for says that what was ordered cannot be; what fails may come to be yet.
func TestWhatIsRefusedIsNotWaitedFor(t *testing.T) {
	for _, test := range []struct {
		part, status, reason string
		stage                stage
		want                 string
	}{
		{"InfrastructureReady", "False", infra.ReasonRefused, placeStage, "take other addresses"},
		{"ControlPlaneAvailable", "False", infra.ReasonRefused, planeStage, "take other addresses"},
		{"InfrastructureReady", "False", infra.ReasonFailing, placeStage, ""},
		{"InfrastructureReady", "Unknown", infra.ReasonRefused, placeStage, ""},
		{"ControlPlaneAvailable", "False", infra.ReasonRefused, placeStage, ""},
		{"", "False", infra.ReasonRefused, membersStage, ""},
	} {
		o := object("Cluster", "default", "dev", map[string]any{"status": map[string]any{"conditions": []any{
			map[string]any{"type": test.part, "status": test.status, "reason": test.reason, "message": "take other addresses"},
		}}})
		if got := test.stage.refused(&o); got != test.want {
			t.Errorf("%s %s, %s: of its %s it is said %q, want %q", test.part, test.status, test.reason, test.stage.name, got, test.want)
		}
	}
}

// TestWhetherPoolsHaveTheirMachines: each for itself, since those of one that is to have fewer are counted with those of one that may have more.
func TestWhetherPoolsHaveTheirMachines(t *testing.T) {
	workers := map[string]any{"class": "worker", "name": "workers", "replicas": int64(2)}
	follows := map[string]any{"class": "worker", "name": "busy", "metadata": map[string]any{"annotations": map[string]any{v1alpha1.PoolMinAnnotation: "0", v1alpha1.PoolMaxAnnotation: "3"}}}
	pool := func(name string, wanted, there, has int64) unstructured.Unstructured {
		d := object("MachineDeployment", "default", "dev-"+name, map[string]any{
			"spec": map[string]any{"replicas": wanted}, "status": map[string]any{"observedGeneration": int64(4), "replicas": there, "availableReplicas": has},
		})
		d.SetGeneration(4)
		d.SetLabels(map[string]string{ascent.PoolLabel: name})
		return d
	}
	unseen := pool("workers", 2, 2, 2)
	unseen.SetGeneration(5)
	byHand := pool("", 1, 1, 0)
	const rest = ", and not all pools are as they are to be"
	for _, test := range []struct {
		reason     string
		pools      []any
		made       []unstructured.Unstructured
		has, there int64
		done       bool
		want       string
	}{
		{"it has no pools", nil, nil, 0, 0, true, "0 of 0 are available"},
		{"nothing is made yet", []any{workers}, nil, 0, 0, false, "0 of 2 are available"},
		{"a machine is missing", []any{workers}, []unstructured.Unstructured{pool("workers", 2, 2, 1)}, 1, 2, false, "1 of 2 are available"},
		{"all are there", []any{workers}, []unstructured.Unstructured{pool("workers", 2, 2, 2)}, 2, 2, true, "2 of 2 are available"},
		{"all are there, beside some that somebody made by hand", []any{workers}, []unstructured.Unstructured{pool("workers", 2, 2, 2), byHand}, 2, 2, true, "2 of 2 are available"},
		{"the Cluster does not count them yet", []any{workers}, []unstructured.Unstructured{pool("workers", 2, 2, 2)}, 1, 2, false, "1 of 2 are available"},
		{"its pool is told another number still", []any{workers}, []unstructured.Unstructured{pool("workers", 3, 3, 3)}, 3, 3, false, "3 of 2 are available"},
		{"its pool has not heard of the change", []any{workers}, []unstructured.Unstructured{unseen}, 2, 2, false, "2 of 2 are available" + rest},
		{"one is to go, and a pool that follows its pods could have it", []any{workers, follows}, []unstructured.Unstructured{pool("workers", 2, 3, 3), pool("busy", 0, 0, 0)}, 3, 3, false, "3 of 2 are available"},
		{"one has not gone, as the Cluster says", []any{workers, follows}, []unstructured.Unstructured{pool("workers", 2, 3, 3), pool("busy", 1, 0, 0)}, 3, 3, false, "3 of 3 are available" + rest},
		{"a pool follows its pods", []any{workers, follows}, []unstructured.Unstructured{pool("workers", 2, 2, 2), pool("busy", 1, 1, 1)}, 3, 3, true, "3 of 3 are available"},
		{"a pool was taken from it, and ends", []any{workers}, []unstructured.Unstructured{pool("workers", 2, 2, 2), pool("big", 0, 0, 0)}, 2, 2, false, "2 of 2 are available" + rest},
	} {
		c := object("Cluster", "default", "dev", map[string]any{
			"spec":   map[string]any{"topology": map[string]any{"workers": map[string]any{"machineDeployments": test.pools}}},
			"status": map[string]any{"workers": map[string]any{"availableReplicas": test.has, "replicas": test.there}},
		})
		if done, said := manned(&c, test.made); done != test.done || said != test.want {
			t.Errorf("%s: it says %t, %q, want %t, %q", test.reason, done, said, test.done, test.want)
		}
	}
}

// TestAMessageInOneLine: what is a list in a condition of Cluster API is one here too.
func TestAMessageInOneLine(t *testing.T) {
	for message, want := range map[string]string{
		"":                               "",
		"it starts":                      "it starts",
		"* it starts":                    "it starts",
		"* A: one\n* B: two":             "A: one; B: two",
		"A waits for:\n  * B\n  * C\n":   "A waits for: B; C",
		"it starts,\nand waits":          "it starts, and waits",
		"* A:\n  * B: 2 * 3\n* C":        "A: B: 2 * 3; C",
		"Health check failed: * no Node": "Health check failed: no Node",
	} {
		if got := inOneLine(message); got != want {
			t.Errorf("%q: got %q, want %q", message, got, want)
		}
	}
}
