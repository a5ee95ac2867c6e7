package enrol

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
)

// adopted makes a Cluster that asks for nothing, and the member that `umbel cluster adopt` makes of it.
func (h *hub) adopted(name string, labels map[string]string) (*unstructured.Unstructured, *v1alpha1.MemberCluster) {
	h.Helper()
	cluster := h.object(clusterKind, map[string]any{"status": map[string]any{"initialization": map[string]any{"controlPlaneInitialized": true}}})
	cluster.SetName(name)
	cluster.SetLabels(labels)
	h.create(cluster)
	member := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{
		Name: name, Labels: map[string]string{"own": "yes"}, Annotations: map[string]string{v1alpha1.ManagedAnnotation: identityOf(cluster)},
	}}
	h.create(member)
	h.Cleanup(func() {
		for _, o := range []client.Object{cluster, member} {
			if err := client.IgnoreNotFound(h.Delete(context.WithoutCancel(h.Context()), o)); err != nil {
				h.Error(err)
			}
		}
	})
	return cluster, member
}

// changes has somebody write a Cluster.
func (h *hub) changes(cluster *unstructured.Unstructured, patch string) {
	h.Helper()
	if err := h.Patch(h.Context(), cluster, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		h.Fatal(err)
	}
}

// comesToHave waits until a member has these labels, and no others, and says whether it hibernates.
func (h *hub) comesToHave(member *v1alpha1.MemberCluster, hibernates bool, want map[string]string) {
	h.Helper()
	h.eventually("the member follows its Cluster", func() error {
		if err := h.Get(h.Context(), client.ObjectKeyFromObject(member), member); err != nil {
			return err
		}
		if diff := cmp.Diff(want, member.Labels); diff != "" {
			return fmt.Errorf("its labels (-want +got):\n%s", diff)
		}
		if v1alpha1.Hibernated(member.Annotations) != hibernates {
			return fmt.Errorf("its annotations are %v", member.Annotations)
		}
		return nil
	})
}

// TestAnAdoptedMemberFollowsItsCluster: it has the labels of that, as they are set, changed and taken away; its own stay. Nothing else of the
// Cluster is written than what the test does, and a member that is another cluster has none of them.
func TestAnAdoptedMemberFollowsItsCluster(t *testing.T) {
	h := newHub(t)
	cluster, member := h.adopted("shop", map[string]string{"env": "prod", "cluster.x-k8s.io/provider": "x"})
	stranger, other := h.adopted("stranger", map[string]string{"env": "prod"})
	h.comesToHave(other, false, map[string]string{"own": "yes", "env": "prod"})
	before := other.DeepCopy()
	other.Annotations = nil // it joined by itself, and is no Cluster's
	if err := h.Patch(t.Context(), other, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	// When what somebody does to a member after that is answered, that was heard of as well.
	h.comesToHave(member, false, map[string]string{"own": "yes", "env": "prod"})
	before = member.DeepCopy()
	delete(member.Labels, "env")
	if err := h.Patch(t.Context(), member, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	h.comesToHave(member, false, map[string]string{"own": "yes", "env": "prod"})
	h.changes(stranger, `{"metadata":{"labels":{"env":"dev"}}}`)

	h.changes(cluster, `{"metadata":{"labels":{"env":"dev","team":"a"}}}`)
	h.comesToHave(member, false, map[string]string{"own": "yes", "env": "dev", "team": "a"})
	h.changes(cluster, `{"metadata":{"labels":{"env":null},"annotations":{"`+v1alpha1.HibernatedAnnotation+`":"true"}},"spec":{"paused":true}}`)
	h.comesToHave(member, true, map[string]string{"own": "yes", "team": "a"})
	h.changes(cluster, `{"metadata":{"annotations":{"`+v1alpha1.HibernatedAnnotation+`":null}},"spec":{"paused":false}}`)
	h.comesToHave(member, false, map[string]string{"own": "yes", "team": "a"})

	written := cluster.GetResourceVersion()
	if err := h.Get(t.Context(), client.ObjectKeyFromObject(cluster), cluster); err != nil {
		t.Fatal(err)
	}
	if cluster.GetResourceVersion() != written || len(cluster.GetFinalizers()) > 0 {
		t.Errorf("somebody wrote the Cluster: %v", cluster.Object)
	}
	h.comesToHave(other, false, map[string]string{"own": "yes", "env": "prod"})
}

// TestAMemberThatWasTakenOutIsNotMadeAgain by whoever has yet to hear that it is gone.
func TestAMemberThatWasTakenOutIsNotMadeAgain(t *testing.T) {
	h := newBareHub(t)
	cluster, member := h.adopted("left", map[string]string{"env": "prod"})
	late := &controller{client: &late{h.Client, member.DeepCopy()}, given: map[types.UID]map[string]string{}}
	if err := h.Delete(t.Context(), member); err != nil {
		t.Fatal(err)
	}
	if err := late.follow(t.Context(), cluster); err != nil {
		t.Error(err)
	}
	if err := h.Get(t.Context(), client.ObjectKeyFromObject(member), member); !apierrors.IsNotFound(err) {
		t.Errorf("it is there again: %v", err)
	}
}

// late is a client whose cache has a member still.
type late struct {
	client.Client
	member *v1alpha1.MemberCluster
}

func (l *late) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	if member, ok := o.(*v1alpha1.MemberCluster); ok && key.Name == l.member.Name {
		l.member.DeepCopyInto(member)
		return nil
	}
	return l.Client.Get(ctx, key, o, opts...)
}
