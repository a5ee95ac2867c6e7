package delivery

import (
	"context"
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/kubetest"
)

// largest is a Reader that notes how many clusters came in one answer.
type largest struct {
	client.Reader
	answer int
}

func (l *largest) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	err := l.Reader.List(ctx, list, options...)
	if members, ok := list.(*v1alpha1.MemberClusterList); ok {
		l.answer = max(l.answer, len(members.Items))
	}
	return err
}

// TestTheEndOfAPackageReadsClustersInPages: it looks past the cache at all of them, and no answer has more than a page.
func TestTheEndOfAPackageReadsClustersInPages(t *testing.T) {
	config := kubetest.Start(t)
	kubetest.InstallCRDs(t, config)
	config.QPS = -1
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	api, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	of := map[string]string{"made-by": "pages"}
	t.Cleanup(func() {
		err := api.DeleteAllOf(context.WithoutCancel(t.Context()), &v1alpha1.MemberCluster{}, client.MatchingLabels(of))
		if err != nil {
			t.Error(err)
		}
	})
	const clusters = pageOfClusters + 1
	last := v1alpha1.ClusterName(fmt.Sprintf("pages-%04d", clusters-1))
	for i := range clusters {
		m := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("pages-%04d", i), Labels: of}}
		if err := api.Create(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if m.Name != string(last) && i > 0 {
			continue
		}
		m.Status.Packages = []v1alpha1.MemberPackage{{Package: "a/web", Phase: v1alpha1.PackageApplied}}
		if err := api.Status().Update(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	from := &largest{Reader: api}
	members, err := membersPast(t.Context(), from, &visit{key: "a/web"})
	if err != nil {
		t.Fatal(err)
	}
	if len(members) != 2 || members[1].Name != last || members[1].Holds.Package != "a/web" {
		t.Errorf("found %v, want pages-0000 and %s", members, last)
	}
	if from.answer > pageOfClusters {
		t.Errorf("one answer had %d clusters", from.answer)
	}
}
