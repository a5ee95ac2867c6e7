package origin

import (
	"os"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"umbel.dev/umbel/internal/cli/adopt/member"
	"umbel.dev/umbel/internal/kube/kubetest"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

// A cluster that lacks the kind is told apart from one that lacks the object.
func TestWhatIsNotThere(t *testing.T) {
	cluster, err := member.Open(kubetest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	for resource, want := range map[schema.GroupVersionResource]string{
		{Group: "kustomize.toolkit.fluxcd.io", Version: "v1", Resource: "kustomizations"}: "there are no kustomizations.kustomize.toolkit.fluxcd.io in version v1",
		{Version: "v1", Resource: "configmaps"}:                                           `reading configmaps default/shop: configmaps "shop" not found`,
	} {
		if _, err := get(t.Context(), cluster, resource, "default", "shop"); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", resource.Resource, err, want)
		}
	}
}
