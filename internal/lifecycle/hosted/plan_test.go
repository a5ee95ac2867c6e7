package hosted

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infra "umbel.dev/umbel/api/infrastructure/v1alpha1"
	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/kubetest"
	"umbel.dev/umbel/internal/lifecycle/local"
)

func TestCheckStep(t *testing.T) {
	for _, c := range []struct{ reason, ran, wanted, want string }{
		{"nothing ran", "", "v1.36.3", ""},
		{"the same", "v1.36.3", "v1.36.3", ""},
		{"a newer patch", "v1.36.1", "v1.36.3", ""},
		{"an older patch", "v1.36.3", "v1.36.1", ""},
		{"one minor", "v1.35.4", "v1.36.3", ""},
		{"over a minor", "v1.34.9", "v1.36.3", "more than one minor: set the Cluster's version to one of 1.35 first"},
		{"back", "v1.36.3", "v1.35.4", "cannot go back to v1.35.4"},
		{"another major", "v1.36.3", "v2.0.0", "cannot go back"},
		{"none of Kubernetes", "v1.36.3", "newest", `"newest" is none of Kubernetes`},
	} {
		err := checkStep(c.ran, c.wanted)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.reason, err, c.want)
		}
		if err != nil && !refused(err) {
			t.Errorf("%s: nobody would be told that it is for them to change: %v", c.reason, err)
		}
	}
}

// TestTheClassSaysWhatIsTaken on the computer, and says it anew when that is something else.
func TestTheClassSaysWhatIsTaken(t *testing.T) {
	config := kubetest.Start(t)
	scheme, err := NewScheme()
	if err != nil {
		t.Fatal(err)
	}
	hub, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	installKinds(t, hub)
	if err := hub.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SystemNamespace}}); err != nil {
		t.Fatal(err)
	}
	host := &computer{}
	c := &class{client: hub, versions: []string{"v1.36.3"}, machine: local.Capacity{CPUs: 2, Memory: 4 << 30}, host: host, looks: 20 * time.Millisecond, log: slog.New(slog.DiscardHandler)}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Start(ctx) }()
	says := func(want string) {
		t.Helper()
		made := newObject(clusterKind.GroupVersion().WithKind("ClusterClass"))
		err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
			err := hub.Get(ctx, client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: "local"}, made)
			return err == nil && made.GetAnnotations()[infra.TakenAnnotation] == want, nil
		})
		if err != nil {
			t.Errorf("it says %v, want %s", made.GetAnnotations(), want)
		}
	}
	says("null")
	host.mu.Lock()
	host.taken = []infra.TakenRange{{Range: "10.66.0.0/16", Of: "the pods of cluster edge"}}
	host.mu.Unlock()
	says(`[{"range":"10.66.0.0/16","of":"the pods of cluster edge"}]`)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestTheClassHasAllVersions(t *testing.T) {
	objects, err := classObjects([]string{"v1.35.4", "v1.36.3"}, local.Capacity{CPUs: 2, Memory: 4 << 30})
	if err != nil {
		t.Fatal(err)
	}
	class := objects[len(objects)-1]
	if has := field[[]any](class, "spec", "kubernetesVersions"); len(has) != 2 || has[0] != "v1.35.4" || has[1] != "v1.36.3" {
		t.Errorf("it has %v", has)
	}
	if variables := field[[]any](class, "spec", "variables"); len(variables) != 1 || variables[0].(map[string]any)["name"] != "loadBalancer" {
		t.Errorf("its variables are %v", variables)
	}
	worker, _ := field[[]any](class, "spec", "workers", "machineDeployments")[0].(map[string]any)
	annotations, _, _ := unstructured.NestedStringMap(worker, "metadata", "annotations")
	for name, want := range map[string]string{"cpu": "2", "memory": "4294967296", "maxPods": "110"} {
		if got := annotations["capacity.cluster-autoscaler.kubernetes.io/"+name]; got != want {
			t.Errorf("of a machine that is not there yet it says %s %q, want %q", name, got, want)
		}
	}
	if budget, _, _ := unstructured.NestedString(worker, "healthCheck", "remediation", "triggerIf", "unhealthyInRange"); budget != "[1-2]" {
		t.Errorf("machines are replaced of %q that are ill", budget)
	}
}

// TestTheClassKeepsWhatClustersHave, when an update of the hub has brought another patch in its place.
func TestTheClassKeepsWhatClustersHave(t *testing.T) {
	cluster := func(class, version string) unstructured.Unstructured {
		return unstructured.Unstructured{Object: map[string]any{
			"spec": map[string]any{"topology": map[string]any{"version": version, "classRef": map[string]any{"name": class}}},
		}}
	}
	got := offered([]string{"v1.35.4", "v1.36.10"}, []unstructured.Unstructured{
		cluster("local", "v1.36.9"), cluster("local", "v1.35.4"), cluster("local", "v1.36.9"), cluster("another", "v1.34.1"), cluster("local", ""),
	})
	if diff := cmp.Diff([]string{"v1.35.4", "v1.36.9", "v1.36.10"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
